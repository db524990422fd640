"""Random command lines through Hydra's own parser: each runs, or says in one line what is wrong."""

import math
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from programs import train

GROUPS = ["model", "norm", "data", "optimizer", "measure", "scale", "experiment"]
KEYS = [
    *GROUPS,
    "seed", "batch_size", "augment", "record_every", "device", "threads", "deterministic", "overwrite", "plugin",
    "nonsense", "model.hidden", "model.init", "model.init.name", "model.nonsense", "norm.eps", "norm.name",
    "data.limit", "data.scaling", "data.name", "optimizer.lr", "optimizer.momentum", "measure.shift",
    "measure.shift.every", "evaluation.every", "checkpoint", "checkpoint.every_steps", "hydra.verbose",
    "hydra.job.name", "",
]  # fmt: skip
VALUES = [
    "0", "1", "-1", "2", "0.5", "1e-3", "99999999999999999999", "null", "true", "nan", "inf", "none", "batch",
    "mlp", "sgd", "shift", "digits", "cpu", "''", "[]", "[1,2]", "{}", "[1", "{", "???", "${nope}", "${seed}", "ä",
    "1,2", "1,2", "range(2)", "range(2)", "choice(1,2)", "../..", "/", "\\", "'", "[[1]]", "a=b", "@x", "*", "",
    "{a: 1}", "a b", "{name: sgd}",
]  # fmt: skip
WORDS = st.text(string.printable.replace("\x0b", "").replace("\x0c", ""), max_size=8)
OVERRIDES = st.tuples(
    st.sampled_from(["", "", "", "+", "++", "~"]),
    st.sampled_from(KEYS) | WORDS,
    st.sampled_from(["=", "=", "=", "", "@"]),
    st.sampled_from(VALUES) | WORDS,
).map("".join)


def check(overrides: list[str], folder: Path) -> None:
    done = train(f"runs={folder}", *overrides)
    lines = [line for line in done.stderr.splitlines() if not line.startswith(("done", "diverged"))]
    if done.returncode:
        assert done.returncode in (1, 2), done.stderr
        error = [line for line in lines if "error: " in line]
        assert len(error) == 1, done.stderr
        assert "Traceback" not in done.stderr
    else:
        assert not any("error" in line for line in lines), done.stderr


def is_harmless(override: str) -> bool:
    """Flags are argparse's business, and these could run for long or elsewhere."""
    key = override.lstrip("+~").partition("=")[0].partition("@")[0]
    return not override.startswith("-") and key not in ("steps", "runs", "experiment") and "\x00" not in override


@settings(max_examples=60)
@given(overrides=st.lists(OVERRIDES.filter(is_harmless), min_size=1, max_size=2))
def test_a_command_line_runs_or_is_refused_in_one_line(overrides: list[str], tmp_path: Path) -> None:
    check(overrides, tmp_path / "runs")


@pytest.mark.full
@settings(max_examples=1000)
@given(overrides=st.lists(OVERRIDES.filter(is_harmless), min_size=1, max_size=3))
def test_many_command_lines(overrides: list[str], tmp_path: Path) -> None:
    check(overrides, tmp_path / "runs")


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("norm=foo", "error: In 'train': Could not find 'norm/foo' Available options in 'norm': batch, batch_by_hand"),
        ("optimizer.lr=0", "error: optimizer 'sgd': lr: Input should be greater than 0 (got 0)"),
        ("x=1", "error: unknown setting 'x'; known: plugin, experiment, "),
        ("lr=0.1", "error: unknown setting 'lr'; did you mean 'optimizer.lr'? known: "),
        ("SEED=1", "error: unknown setting 'SEED'; did you mean 'seed'? known: "),
        ("evaluation.evry=1", "error: unknown setting 'evaluation.evry'; did you mean 'every'? known: every, "),
        (
            "measure.shift={every: 1, layers: [fc1,nowhere]}",
            "error: there is no layer 'nowhere'; the measurable layers are 1 (fc1)",
        ),
        ("norm=null", "error: norm=null: leave it out, or choose from batch, batch_by_hand, "),
        ("norm:batch", "error: 'norm:batch' is no setting; write key=value without spaces around =, as norm=batch"),
        ("--norm=batch", "error: unrecognized arguments: --norm=batch; a setting is written without dashes"),
        ("model={", "error: model={: cannot be read; put a value with signs"),
        (
            "norm=[none,batch]",
            "error: norm=[none,batch] lays options on top of each other; a sweep over them is -m norm=",
        ),
        (
            "experiment=[fig1,fig2]",
            "error: experiment=[fig1,fig2] lays options on top of each other; a sweep over them",
        ),
        ("seed=0,1", "error: Ambiguous value for argument 'seed=0,1'"),
        ("seed=${nope}", "error: Interpolation key 'nope' not found"),
        ("optimizer.lr=", "error: optimizer 'sgd': lr"),
        ("~model", "error: setting model is missing"),
        ("data=image_folder", "error: data.root is missing; give it as data.root=…"),
        (
            "device=meta",
            "error: device='meta' cannot be used (Tensor.item() cannot be called on meta tensors); ",
        ),
        ("optimizer.lr=interval(0,1)", "error: Sweep parameters 'optimizer.lr=interval(0,1)' requires --multirun"),
        ("optimizer.lr='0.1", "error: optimizer.lr='0.1: cannot be read; put a value with signs of its own between"),
        ("note=\udcff", "error: 'note=\\udcff' is no text in this terminal's encoding; set PYTHONUTF8=1"),
        ("model.init=0", "error: the settings of a initialisation are its name and options, not 0"),
    ],
)
def test_the_line_says_what_is_wrong(override: str, line: str, tmp_path: Path) -> None:
    done = train(f"runs={tmp_path}", override)
    assert done.returncode == 2
    assert done.stderr.strip().startswith(line)
    assert len(done.stderr.strip().splitlines()) == 1


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
        (
            ["measure.shift.every=1", "measure.shift.layers=[fc1],[fc9]"],
            "measure.shift.layers=[fc9] would fail: there is no layer 'fc9'; ",
        ),
        (["optimizer.lr=5e-2,0.05"], "optimizer.lr=0.05 and optimizer.lr=0.05 are one run, "),
        (["seed=0,1", "~model"], "seed=0 would fail: setting model is missing"),
    ],
)
def test_a_sweep_that_cannot_do_all_does_nothing(words: list[str], line: str, tmp_path: Path) -> None:
    done = train("-m", f"runs={tmp_path / 'runs'}", *words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: nothing was started: {line}"), done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()


def test_a_sweep_needs_values() -> None:
    done = train("-m", "optimizer.lr=interval(0,1)")
    assert done.stderr == "error: optimizer.lr=interval(0,1): write the values out, or range(…)\n"


def test_a_file_of_ones_own_may_not_be_hidden_by_one_of_the_programs(tmp_path: Path) -> None:
    (tmp_path / "conf/experiment").mkdir(parents=True)
    for name in ("mine", "quick"):
        (tmp_path / f"conf/experiment/{name}.yaml").write_text("# @package _global_\nsteps: 1\n")
    words = f"--config-dir={tmp_path / 'conf'}", f"runs={tmp_path / 'runs'}"
    done = train(*words, "experiment=mine")
    assert done.stderr == (
        f"error: {tmp_path}/conf/experiment/quick.yaml has the name of a file that comes with the program; rename it\n"
    )
    (tmp_path / "conf/experiment/quick.yaml").unlink()
    assert train(*words, "experiment=mine", "plan=true").returncode == 0


def test_a_debugger_changes_no_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OC_CAUSE", "1")  # as OmegaConf behaves under one: it adds a cause without a traceback
    done = train(f"runs={tmp_path}", "x=1")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr


def test_a_bug_keeps_its_traceback() -> None:
    from hydra_plugins.ics_request import reading

    with pytest.raises(ZeroDivisionError), reading():
        math.floor(1 / 0)
