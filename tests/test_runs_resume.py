"""Killed at any instant and started again, a run ends with the bytes of one that was left alone."""

import itertools
import multiprocessing
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from small_runs import at_shift_row, config, finish, results, signal_at, start_child, wait_for

from ics import files
from ics.runs import checkpoint, recorder, signals
from ics.runs.config import RunConfig
from ics.runs.execute import run
from ics.runs.folder import read_status

KILLS_PER_RUN = 5
UNSAVED = config(checkpoint={"every_steps": None, "every_minutes": None, "keep": True})  # unless it is told to
LONG, LINES = 200, 12_000  # steps of a run, and no more lines of `ics.runs` than it takes
PACKAGE = str(Path(signals.__file__).parent)


def assert_ends_as(wanted: dict[str, bytes], folder: Path, settings: RunConfig = config()) -> None:  # noqa: B008
    assert finish(settings, folder) == 0
    assert results(folder) == wanted


def assert_interrupted(folder: Path, step: int) -> None:
    status = read_status(folder)
    assert status is not None
    assert (status.state, status.step) == ("interrupted", step)


def test_the_same_command_gives_the_same_bytes(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    run(config(), tmp_path)
    assert results(tmp_path) == undisturbed


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def die_at_line(number: int) -> None:
    """Die before the n-th line of `ics.runs`, of all that this thread runs."""
    lines = itertools.count(1)

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        if event == "line" and next(lines) == number:
            die()
        return trace

    sys.settrace(trace)


@pytest.fixture(scope="module")
def undisturbed_long(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    assert finish(config(steps=LONG), folder) == 0
    return results(folder)


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(s, marks=pytest.mark.full) for s in range(6, 30))])
def test_killed_at_random_moments(seed: int, undisturbed_long: dict[str, bytes], tmp_path: Path) -> None:
    draw, settings = random.Random(seed), config(steps=LONG)
    for _ in range(KILLS_PER_RUN):
        number = draw.randint(1, LINES // KILLS_PER_RUN)
        process = start_child(settings, tmp_path, before=partial(die_at_line, number))
        process.join()
        assert process.exitcode == -signal.SIGKILL
    assert_ends_as(undisturbed_long, tmp_path, settings)


def dying(
    nth: int,
    function: Callable[..., Any],
    last_act: Callable[..., object] = lambda *_: None,
    counts: Callable[..., bool] = lambda *_: True,
) -> Any:
    """The function, but its n-th call that counts does something else and dies."""
    calls = itertools.count(1)

    def called(*args: Any) -> Any:
        if counts(*args) and next(calls) == nth:
            last_act(*args)
            die()
        return function(*args)

    return called


def die_in_csv_write(nth: int) -> None:
    """Write half of the bytes, then die."""

    def half(of: recorder.Recorder, name: str, lines: list[list[str]]) -> None:
        of._files[name].write(",".join(lines[-1]).encode()[:5])

    recorder.Recorder._append = dying(nth, recorder.Recorder._append, half)  # type: ignore[method-assign]


def die_in_checkpoint_write(nth: int) -> None:
    """Leave half a file beside, then die."""

    def half(path: Path, content: bytes) -> None:
        path.with_name(f".{path.name}.tmp").write_bytes(content[: len(content) // 2])

    checkpoint.write_beside = dying(nth, files.write_beside, half)  # type: ignore[attr-defined]


def die_between_generations(nth: int) -> None:
    """Die after the previous generation is in place and before the newest is."""
    newest = lambda path, target: target.name == checkpoint.NEWEST  # noqa: E731
    Path.replace = dying(nth, Path.replace, counts=newest)  # type: ignore[method-assign]


@pytest.mark.parametrize("nth", [1, 3, 7])
@pytest.mark.parametrize("way", [die_in_csv_write, die_in_checkpoint_write, die_between_generations])
def test_killed_inside_a_write(
    way: Callable[[int], None], nth: int, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    process = start_child(config(), tmp_path, before=lambda: way(nth))
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert_ends_as(undisturbed, tmp_path)


def test_nothing_is_left_of_a_checkpoint_that_a_crash_cut_short(tmp_path: Path) -> None:
    start_child(config(), tmp_path, before=lambda: die_in_checkpoint_write(1)).join()
    assert list(tmp_path.glob(".*.tmp"))
    unsaved = {"every_steps": None, "every_minutes": None, "keep": False}
    assert finish(config(checkpoint=unsaved), tmp_path) == 0
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".pt", ".tmp")]


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes(byte ^ 0xFF for byte in data[middle : middle + 256]) + data[middle + 256 :]


def interrupted_run(folder: Path) -> None:
    """A run with both generations of checkpoints, killed."""
    start_child(config(), folder, before=lambda: die_in_checkpoint_write(5)).join()
    assert (folder / checkpoint.PREVIOUS).exists()


@pytest.mark.parametrize("damaged", [lambda data: data[: len(data) // 2], flipped, lambda data: b""])
@pytest.mark.parametrize("both", [False, True])
def test_a_damaged_checkpoint_is_warned_about_and_the_one_before_is_taken(
    damaged: Callable[[bytes], bytes], both: bool, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    interrupted_run(tmp_path)
    for name in (checkpoint.NEWEST, checkpoint.PREVIOUS)[: 1 + both]:
        (tmp_path / name).write_bytes(damaged((tmp_path / name).read_bytes()))
    with pytest.warns(UserWarning, match="checkpoint.pt is damaged"):
        run(config(), tmp_path)
    assert results(tmp_path) == undisturbed


def test_a_checkpoint_that_runs_code_is_not_loaded(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    interrupted_run(tmp_path)
    trace = tmp_path / "trace"

    class Evil:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return os.system, (f"touch {trace}",)

    for name in (checkpoint.NEWEST, checkpoint.PREVIOUS):
        torch.save({"step": Evil()}, tmp_path / name)
    with pytest.warns(UserWarning, match="damaged"):
        run(config(), tmp_path)
    assert not trace.exists()
    assert results(tmp_path) == undisturbed


@pytest.mark.parametrize(
    "edited",
    [
        lambda rows: rows[:100],
        lambda rows: rows.replace(b"\n", b"\r\n"),
        lambda rows: b"".join(line for i, line in enumerate(rows.splitlines(True)) if i != 2) + rows,
    ],
)
def test_lost_or_edited_rows_send_the_run_back_to_where_they_are_whole(
    edited: Callable[[bytes], bytes], undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    interrupted_run(tmp_path)
    (tmp_path / "shift.csv").write_bytes(edited((tmp_path / "shift.csv").read_bytes()))
    with pytest.warns(UserWarning, match="shift.csv is .* checkpoint.pt is left aside"):
        run(config(), tmp_path)
    assert results(tmp_path) == undisturbed


def test_checkpoints_of_the_version_that_summed_up_no_rows_are_taken(
    undisturbed: dict[str, bytes], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    interrupted_run(tmp_path)
    state = torch.load(tmp_path / checkpoint.NEWEST, weights_only=True)
    torch.save({key: value for key, value in state.items() if key != "checksums"}, tmp_path / checkpoint.NEWEST)
    run(config(), tmp_path)
    assert results(tmp_path) == undisturbed and not recwarn.list


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_on_request_saves(signum: int, code: int, undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    process = start_child(UNSAVED, tmp_path, before=lambda: signal_at(signum, 20))
    process.join()
    assert process.exitcode == code
    assert_interrupted(tmp_path, 21)
    assert_ends_as(undisturbed, tmp_path, UNSAVED)


def test_usr2_saves_and_calls_the_handler_that_was_there(undisturbed: dict[str, bytes], tmp_path: Path) -> None:
    called = tmp_path / "called"

    def before() -> None:
        signal.signal(
            signal.SIGUSR2, lambda signum, frame: called.write_text(str((tmp_path / "checkpoint.pt").exists()))
        )
        signal_at(signal.SIGUSR2, 8)

    process = start_child(UNSAVED, tmp_path, before)
    process.join()
    assert process.exitcode == 0
    assert called.read_text() == "True"
    assert results(tmp_path) == undisturbed


@pytest.mark.parametrize("signum", [signal.SIGUSR2, signal.SIGTERM])
def test_a_scheduler_that_requeues_the_job_leaves_it_interrupted(
    signum: int, undisturbed: dict[str, bytes], tmp_path: Path
) -> None:

    def before() -> None:
        signal.signal(signum, lambda signum, frame: sys.exit(3))
        signal_at(signum, 8)

    process = start_child(UNSAVED, tmp_path, before)
    process.join()
    assert process.exitcode == 3
    assert_interrupted(tmp_path, 9)
    assert_ends_as(undisturbed, tmp_path, UNSAVED)


def test_a_worker_stops_when_the_process_that_started_it_is_killed(
    undisturbed: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "PARENT_WATCH", 0.01)

    def lose_the_parent() -> None:
        os.kill(os.getppid(), signal.SIGKILL)
        (watch,) = [thread for thread in threading.enumerate() if thread.name == "parent watch"]
        watch.join()  # it has seen it

    def work() -> None:
        start_child(UNSAVED, tmp_path, before=partial(at_shift_row, 8, lose_the_parent)).join()

    parent = multiprocessing.get_context("fork").Process(target=work)
    parent.start()
    parent.join()
    assert parent.exitcode == -signal.SIGKILL
    wait_for(lambda: not (tmp_path / "lock").exists())
    assert_interrupted(tmp_path, 9)
    assert_ends_as(undisturbed, tmp_path, UNSAVED)
