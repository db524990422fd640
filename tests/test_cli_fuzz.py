"""Random command lines through Hydra's own parser: each runs, or says in one line what is wrong."""

import contextlib
import io
import math
import runpy
import string
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).parents[1]
SMALL = [
    "model=mlp",
    "data=digits",
    "data.limit=40",
    "batch_size=8",
    "steps=2",
    "measure=none",
    "evaluation.every=null",
    "checkpoint.every_minutes=null",
]
GROUPS = ["model", "norm", "data", "optimizer", "measure", "scale", "experiment"]
KEYS = [
    *GROUPS,
    *("seed", "batch_size", "augment", "record_every", "device", "threads", "deterministic", "overwrite", "plugin"),
    *(
        "model.hidden",
        "model.init",
        "model.init.name",
        "norm.eps",
        "norm.name",
        "data.limit",
        "data.scaling",
        "data.name",
    ),
    *("optimizer.lr", "optimizer.momentum", "optimizer", "measure.shift", "measure.shift.every", "evaluation.every"),
    *("checkpoint.every_steps", "checkpoint", "nonsense", "model.nonsense", "hydra.verbose", "hydra.job.name", ""),
]
VALUES = [
    *(
        "0",
        "1",
        "-1",
        "2",
        "0.5",
        "1e-3",
        "null",
        "true",
        "nan",
        "inf",
        "",
        "''",
        "[]",
        "[1,2]",
        "{}",
        "{a: 1}",
        "[1",
        "{",
    ),
    *(
        "none",
        "batch",
        "mlp",
        "sgd",
        "shift",
        "digits",
        "cpu",
        "???",
        "${nope}",
        "${seed}",
        "a b",
        "ä",
        "1,2",
        "range(2)",
    ),
    *(
        "1,2",
        "range(2)",
        "../..",
        "/",
        "\\",
        "'",
        "99999999999999999999",
        "choice(1,2)",
        "[[1]]",
        "{name: sgd}",
        "a=b",
        "@x",
        "*",
    ),
]
WORDS = st.text(string.printable.replace("\x0b", "").replace("\x0c", ""), max_size=8)
OVERRIDES = st.tuples(
    st.sampled_from(["", "", "", "+", "++", "~"]),
    st.sampled_from(KEYS) | WORDS,
    st.sampled_from(["=", "=", "=", "", "@"]),
    st.sampled_from(VALUES) | WORDS,
).map("".join)
ALLOWED: dict[str, Any] = {
    "deadline": None,
    "derandomize": True,
    "suppress_health_check": [HealthCheck.function_scoped_fixture],
}


def call(arguments: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """(exit status, what stands on stderr) of scripts/train.py."""
    monkeypatch.setattr(sys, "argv", ["train.py", *SMALL, f"runs={folder}", *arguments])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    told = io.StringIO()
    status: Any = 0
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        try:
            runpy.run_path(str(ROOT / "scripts" / "train.py"), run_name="__main__")
        except SystemExit as stop:
            status = stop.code
        finally:
            GlobalHydra.instance().clear()
    return status or 0, told.getvalue()


def check(overrides: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, told = call(overrides, folder, monkeypatch)
    lines = [line for line in told.splitlines() if not line.startswith(("done", "diverged"))]
    if status:
        assert status in (1, 2), told
        error = [line for line in lines if "error: " in line]
        assert len(error) == 1, told
        assert "Traceback" not in told
    else:
        assert not any("error" in line for line in lines), told


def is_harmless(override: str) -> bool:
    """Flags are argparse's business, and these could run for long or elsewhere."""
    key = override.lstrip("+~").partition("=")[0].partition("@")[0]
    return not override.startswith("-") and key not in ("steps", "runs", "experiment") and "\x00" not in override


@settings(max_examples=60, **ALLOWED)
@given(overrides=st.lists(OVERRIDES.filter(is_harmless), min_size=1, max_size=2))
def test_a_command_line_runs_or_is_refused_in_one_line(
    overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(overrides, tmp_path / "runs", monkeypatch)


@pytest.mark.full
@settings(max_examples=1000, **ALLOWED)
@given(overrides=st.lists(OVERRIDES.filter(is_harmless), min_size=1, max_size=3))
def test_many_command_lines(overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check(overrides, tmp_path / "runs", monkeypatch)


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("norm=foo", "error: In 'train': Could not find 'norm/foo' Available options in 'norm': batch, batch_by_hand"),
        ("optimizer.lr=0", "error: optimizer 'sgd': lr: Input should be greater than 0 (got 0)"),
        ("x=1", "error: Could not override 'x'. To append to your config use +x=1"),
        ("model={", "error: model={: no viable alternative at input '{'; put a value with signs"),
        (
            "norm=[none,batch]",
            "error: norm=[none,batch] lays options on top of each other; a sweep over them is -m norm=",
        ),
        ("seed=0,1", "error: Ambiguous value for argument 'seed=0,1'"),
        ("seed=${nope}", "error: Interpolation key 'nope' not found"),
        ("optimizer.lr=", "error: optimizer 'sgd': lr"),
        ("~model", "error: setting model is missing"),
    ],
)
def test_the_line_says_what_is_wrong(override: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, told = call([override], tmp_path, monkeypatch)
    assert status == 2
    assert told.strip().startswith(line)
    assert len(told.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["seed=abc,0"], "seed=abc would fail: setting seed: Input should be a valid integer"),
        (["norm=none,nil"], "norm=nil would fail: In 'train': Could not find 'norm/nil'"),
        (["model.hidden=32,[16]"], "model.hidden=32 would fail: network 'mlp': hidden: Input should be a valid tuple"),
        (
            ["optimizer.lr=0.1,-1", "seed=0,1"],
            "optimizer.lr=-1 seed=0 would fail: optimizer 'sgd': lr: Input should be",
        ),
        (
            ["data=digits,mnist", "++data.root=/nowhere"],
            "data=digits would fail: data set 'digits' has no option 'root'",
        ),
        (["model.hidden=[8],[9]", "norm=none,[none,batch]"], "model.hidden=[8] norm=[none,batch] would fail: norm=["),
        (["optimizer.lr=5e-2,0.05"], "optimizer.lr=0.05 and optimizer.lr=0.05 are one run, "),
        (["seed=0,1", "~model"], "seed=0 would fail: setting model is missing"),
    ],
)
def test_a_sweep_that_cannot_do_all_does_nothing(
    words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, told = call([*words, "-m"], tmp_path / "runs", monkeypatch)
    assert status == 2, told
    assert told.startswith(f"error: nothing was started: {line}"), told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_bug_keeps_its_traceback() -> None:
    from hydra_plugins.ics_request import reading

    with pytest.raises(ZeroDivisionError), reading():
        math.floor(1 / 0)
