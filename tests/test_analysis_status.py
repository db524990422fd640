"""The table of what has become of the runs."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ics import UserError
from ics.analysis.status import SILENT, run_states, summary


def write(folder: Path, state: str, **more: object) -> None:
    folder.mkdir(parents=True)
    (folder / "status.json").write_text(json.dumps({"state": state, "step": 5, "steps": 9, "seconds": 1.5} | more))


def test_states_signs_of_life_and_damage(tmp_path: Path) -> None:
    write(tmp_path / "a" / "seed0", "done")
    write(tmp_path / "a" / "seed1", "failed", error="UserError: the disk is full")
    for seed, age in ((2, -1e6), (3, SILENT + 5)):  # however long the test takes
        write(tmp_path / "a" / f"seed{seed}", "running")
        lock = tmp_path / "a" / f"seed{seed}" / "lock"
        lock.write_text("{}")
        os.utime(lock, (time.time() - age, time.time() - age))
    write(tmp_path / "a" / "seed4", "running")
    (tmp_path / "a" / "seed5").mkdir()
    (tmp_path / "a" / "seed5" / "status.json").write_text("{half")
    states = run_states(tmp_path)
    assert states.run.tolist() == [f"a/seed{i}" for i in range(6)]
    assert states.state.tolist() == ["done", "failed", "running", "killed", "killed", "unreadable"]
    assert summary(states) == "6 runs: 1 done, 1 failed, 2 killed, 1 running, 1 unreadable"

    shown = subprocess.run([sys.executable, "scripts/status.py", tmp_path], capture_output=True, text=True, check=False)
    assert shown.returncode == 1
    assert "the disk is full" in shown.stdout
    assert shown.stdout.rstrip().endswith("1 unreadable")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no runs in"):
        run_states(tmp_path / "nowhere")
