"""The table of what has become of the runs."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from filelock import FileLock
from programs import program

from ics import UserError
from ics.analysis.status import listed, run_states, summary


def write(folder: Path, state: str, **more: object) -> None:
    folder.mkdir(parents=True)
    hours_ago = (datetime.now(UTC) - timedelta(hours=3, minutes=1)).isoformat("T", "seconds")
    status = {"state": state, "step": 5, "steps": 9, "seconds": 1.5, "updated": hours_ago, "error": None}
    (folder / "status.json").write_text(json.dumps(status | more))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    arm = tmp_path / "a" / "cpu" / "vgg_batch"
    write(arm / "seed0", "done", seconds=5400)
    write(arm / "seed1", "failed", error="UserError: " + "the disk is full " * 20)
    for seed in (2, 3):
        write(arm / f"seed{seed}", "running")
        (arm / f"seed{seed}" / "lock").touch()
    (arm / "seed4").mkdir()
    (arm / "seed4" / "status.json").write_text("{half")
    (tmp_path / "b" / ("long_" * 30) / "seed0").mkdir(parents=True)
    (tmp_path / "b" / ("long_" * 30) / "seed0" / "config.yaml").write_text("")
    return tmp_path


def test_states_signs_of_life_and_damage(runs: Path) -> None:
    with FileLock(runs / "a" / "cpu" / "vgg_batch" / "seed2" / "lock"):
        states = run_states(runs)
    assert states.run.tolist()[:5] == [f"a/cpu/vgg_batch/seed{i}" for i in range(5)]
    assert states.state.tolist() == ["done", "failed", "running", "killed", "unreadable", "no status"]
    assert summary(states) == "6 runs: 1 done, 1 failed, 1 killed, 1 no status, 1 running, 1 unreadable"


@pytest.mark.parametrize("width", [60, 100])
def test_the_list_fits_the_terminal_and_stands_under_its_header(runs: Path, width: int) -> None:
    lines = listed(run_states(runs), width).splitlines()
    assert max(map(len, lines)) <= width
    header, *rest = lines
    assert rest[:3] == ["a/cpu", "  vgg_batch", "    seed0  done        5 of 9  90 min  3 h 1 min ago"]
    for words, value in {"state": "done", "step": "5 of 9", "took": "90 min", "updated": "3 h 1 min ago"}.items():
        assert header.index(words) == rest[2].index(value)
    assert rest[4].strip().startswith("UserError: the disk") and len(rest[4:]) > 8  # on lines of its own


def test_the_program_counts_and_fails_where_a_run_did(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert program("status")([str(runs)]) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("6 runs: 1 done, 1 failed")


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no folder .*nowhere"):
        run_states(tmp_path / "nowhere")
