"""A sweep gives the same bytes under every launcher, says what it would do, and what is missing for it."""

import contextlib
import importlib.util
import json
import os
import re
import signal
from pathlib import Path

import pytest
from programs import python, train
from small_runs import PATIENCE, wait_for
from sweeps import SWEEP, csv_files, finish, start


def sweep(runs: Path, *words: str) -> str:
    """A small sweep; what it printed."""
    done = python("scripts/train.py", "-m", *SWEEP, "steps=40", "norm=none,noisy_batch", f"runs={runs}", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("serial")
    sweep(runs, "seed=0,1")
    assert len(csv_files(runs)) == 4 * 3
    return runs


local = pytest.mark.skipif(
    importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None,
    reason="joblib is missing: pip install -e '.[sweep]'",
)


@local
def test_local_gives_the_same_bytes(serial: Path, tmp_path: Path) -> None:
    sweep(tmp_path, "seed=0,1", "hydra/launcher=local", "hydra.launcher.n_jobs=2")
    assert csv_files(tmp_path) == csv_files(serial)


@local
def test_a_local_sweep_that_is_stopped_saves_its_runs_and_leaves_no_process(tmp_path: Path) -> None:
    endless = ["steps=10000000", "norm=none,batch", "seed=0", "checkpoint.every_minutes=null"]
    launcher = ["hydra/launcher=local", "hydra.launcher.n_jobs=2"]
    process = start(tmp_path, *endless, *launcher, start_new_session=True)
    wait_for(lambda: len([*tmp_path.rglob("training.csv")]) == 2 or process.poll() is not None, PATIENCE)
    os.killpg(process.pid, signal.SIGTERM)  # as `timeout` and schedulers do
    finish(process, -signal.SIGTERM)  # reads to the end of the pipes, which the workers hold as well

    def is_gone() -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 0)
            return False
        return True

    wait_for(is_gone, 100)  # workers without anything to do would stay for 300 s
    states = [json.loads(path.read_text())["state"] for path in tmp_path.rglob("status.json")]
    assert states == ["interrupted"] * 2
    assert len([*tmp_path.rglob("checkpoint.pt")]) == 2


def test_a_plan_estimates_from_finished_runs(serial: Path, tmp_path: Path) -> None:
    stdout = sweep(serial, "seed=0,1,2", "plan=true")
    assert "6 runs, 2 to do" in stdout
    assert stdout.count("done, step 40 of 40") == 4
    assert re.fullmatch(r"about \d+:\d\d:\d\d on 1 process", stdout.splitlines()[-1])
    stdout = sweep(tmp_path, "seed=0,1", "plan=true")
    assert stdout.splitlines()[-2:] == ["4 runs, 4 to do", "no finished run to estimate the time from"]


@pytest.mark.parametrize(
    ("launcher", "engine", "extra"),
    [("local", "joblib", "sweep"), ("slurm", "submitit", "sweep"), ("ray", "ray", "ray")],
)
def test_a_missing_engine_is_one_line_with_its_extra(
    launcher: str, engine: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, missing = importlib.util.find_spec, f"hydra_plugins.hydra_{engine}_launcher"
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == missing else find(name, *rest))
    done = train("-m", "seed=0,1", f"hydra/launcher={launcher}", f"runs={tmp_path}")
    assert done.returncode == 2
    assert done.stderr == f"error: hydra/launcher={launcher} needs more to be installed: pip install -e '.[{extra}]'\n"
    assert not any(tmp_path.iterdir())
