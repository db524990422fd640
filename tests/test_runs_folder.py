"""What a run folder holds, who may write it, and what happens when writing fails."""

import errno
import json
import os
import re
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_runs import config, signal_at, start_child, wait_for

from ics import UserError, load_runs
from ics.runs import checkpoint, recorder
from ics.runs.config import parse
from ics.runs.execute import run
from ics.runs.folder import owned, read_status


def test_a_finished_run_holds_all_its_files_and_reads_back(tmp_path: Path) -> None:
    folder = tmp_path / "test" / "seed3"
    status = run(config(checkpoint__keep=False), folder, ["train.py", "seed=3"])
    assert (status.state, status.step) == ("done", 60)
    assert sorted(path.name for path in folder.iterdir()) == [
        "DONE", "config.yaml", "evaluation.csv", "provenance.json",
        "shift.csv", "status.json", "tables.json", "training.csv",
    ]  # fmt: skip
    runs = load_runs(tmp_path)
    assert runs["training"].step.tolist() == list(range(0, 60, 3))
    assert status.rows == {name: len(runs[name]) for name in runs}
    assert runs["evaluation"].step.unique().tolist() == [0, 20, 40, 60]
    assert sorted(runs["evaluation"].split.unique()) == ["test", "train"]
    shift = runs["shift"]
    assert shift.step.unique().tolist() == list(range(0, 60, 4))
    assert shift.layer.unique().tolist() == ["fc1", "fc2", "classifier"]
    first = shift[shift.layer_index == 1]
    assert (first.l2 == 0).all()
    assert (first.cosine == 1).all()
    assert (shift["optimizer.lr"] == 0.05).all()
    provenance = json.loads((folder / "provenance.json").read_text())
    assert provenance["command"] == "train.py seed=3"
    assert provenance["data_label"] == "digits"
    assert parse(yaml.safe_load((folder / "config.yaml").read_text())) == config(checkpoint__keep=False)


def test_a_quantity_is_due_every_so_many_steps_and_at_further_ones(tmp_path: Path) -> None:
    run(config(measure={"shift": {"every": 25, "also": [3, 50, 99]}}), tmp_path / "run")
    table = load_runs(tmp_path)["shift"]
    assert table["step"].unique().tolist() == [0, 3, 25, 50]


def test_a_finished_run_is_skipped(tmp_path: Path) -> None:
    run(config(), tmp_path)
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert run(config(), tmp_path).state == "done"
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_other_settings_are_refused_with_the_differing_keys_unless_overwrite(tmp_path: Path) -> None:
    run(config(), tmp_path)
    with pytest.raises(UserError, match=r"optimizer.lr \(0.05 there, 0.1 asked for\); steps \(60 there, 30"):
        run(config(optimizer__lr=0.1, steps=30), tmp_path)
    with pytest.raises(UserError, match=r"steps \(60 there, 30 asked for\)"):
        run(config(steps=30), tmp_path)
    assert run(config(checkpoint__every_steps=50), tmp_path).step == 60  # how often it saves itself may differ
    assert run(config(steps=30), tmp_path, overwrite=True).step == 30


def test_divergence_keeps_its_rows_and_counts_as_finished(tmp_path: Path) -> None:
    settings = config(optimizer__lr=1e25, norm={"name": "none"})
    assert run(settings, tmp_path / "a").state == "diverged"
    assert not (tmp_path / "a" / "DONE").exists()
    training = load_runs(tmp_path)["training"]
    assert training.status.unique().tolist() == ["diverged"]
    assert training.loss.notna().iloc[0]
    assert not training.loss.abs().lt(float("inf")).iloc[-1]
    assert run(settings, tmp_path / "a").state == "diverged"
    longer = config(optimizer__lr=1e25, norm={"name": "none"}, steps=90)
    assert run(longer, tmp_path / "a").steps == 60  # it has ended


# --- one owner ---------------------------------------------------------------------------------------------------


def test_the_second_process_is_told_who_holds_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ics.runs.folder.PATIENCE", 0.2)
    process = start_child(config(steps=100000), tmp_path)
    wait_for(lambda: (tmp_path / "config.yaml").exists())
    holder = rf"in use by process {process.pid} on {socket.gethostname()} since 2"
    with pytest.raises(UserError, match=holder):
        run(config(steps=100000), tmp_path)
    assert re.match(rf"waiting 0 s for {tmp_path}: {holder}", capsys.readouterr().err)
    process.kill()
    process.join()


def test_a_dead_owner_is_taken_over_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start_child(config(), tmp_path, before=lambda: signal_at(signal.SIGKILL, 8)).join()
    assert (tmp_path / "lock").exists() and (tmp_path / "owner.json").exists()
    assert run(config(), tmp_path).state == "done"
    assert not (tmp_path / "lock").exists() and not (tmp_path / "owner.json").exists()
    assert "waiting" not in capsys.readouterr().err


def test_what_another_host_left_hours_ahead_is_taken_over_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "owner.json").write_text(json.dumps({"host": "elsewhere", "process": 1, "since": "2099-01-01"}))
    (tmp_path / "lock").touch()
    os.utime(tmp_path / "lock", (4e9, 4e9))
    with owned(tmp_path):
        assert json.loads((tmp_path / "owner.json").read_text())["host"] == socket.gethostname()
    assert capsys.readouterr().err == ""


# --- writing fails -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("what", ["row", "checkpoint"])
def test_a_failed_write_is_one_line_and_costs_no_earlier_row(
    code: int, what: str, undisturbed_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"

    class Full:
        """A file on a disk that fills up in the middle of a row."""

        def __init__(self, file: Any) -> None:
            self.file = file

        def write(self, data: memoryview) -> int:
            if self.file.tell() > 1500:
                self.file.write(data[: len(data) // 2])
                raise OSError(code, os.strerror(code))
            return int(self.file.write(data))

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

    with monkeypatch.context() as patch:
        if what == "row":
            original = open
            patch.setattr(recorder, "open", lambda *a, **k: Full(original(*a, **k)), raising=False)
        else:

            def failing(path: Path, content: bytes) -> Path:
                raise OSError(code, os.strerror(code), str(path))

            patch.setattr(checkpoint, "write_beside", failing)
        with pytest.raises(UserError, match=os.strerror(code)) as error:
            run(config(), folder)
    assert "\n" not in str(error.value)
    status = read_status(folder)
    assert status is not None
    assert status.state == "failed"
    assert status.error is not None
    assert os.strerror(code) in status.error
    for name in ("training.csv", "shift.csv"):
        kept = (folder / name).read_bytes()
        assert kept.endswith(b"\n")
        assert (undisturbed_folder / name).read_bytes().startswith(kept)
    assert run(config(), folder).state == "done"
    assert (folder / "shift.csv").read_bytes() == (undisturbed_folder / "shift.csv").read_bytes()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Not a directory"):
        run(config(), tmp_path / "file" / "run")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"):
        run(config(), tmp_path / "run")
