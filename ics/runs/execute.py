"""From settings to a finished run folder, whatever happens on the way."""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from ics.errors import UserError, one_line, summary
from ics.files import write_atomically, write_json
from ics.folder import CONFIG, FINISHED, PROVENANCE, TABLES, RunFolder, Status, flat
from ics.runs import checkpoint
from ics.runs.config import RunConfig
from ics.runs.folder import LOCK, OWNER, now, owned, read_status, write_settings, write_status
from ics.runs.provenance import provenance
from ics.runs.signals import Interrupted, Requests
from ics.runs.train import Training
from ics.shift import ProbeError
from ics.tables import to_json


def run(
    config: RunConfig, folder: Path, command: Sequence[str] = (), overwrite: bool = False, name: str | None = None
) -> Status:
    """Train as configured, into a folder; go on where an earlier process left off; skip what is finished.

    A finished run that is asked for with more steps goes on from its last state, and ends with the bytes of a run that
    had them from the start.

    Args:
        config: the settings.
        folder: of this run alone; made if need be.
        command: for the record.
        overwrite: start anew, whatever the folder holds.
        name: for progress; None shows none.

    Returns:
        The final status: done or diverged.

    Raises:
        UserError: the settings, the data or the folder do not allow it, or another process owns the folder.
        Interrupted: a signal asked to stop; the run is saved.
    """
    if not overwrite:
        with _writable(folder):
            check_folder(folder, config)
            before = read_status(folder)
        if before is not None and before.covers(config.steps):
            return before
    with _told(building=True):
        training = Training(config)  # first of all, so that a run that cannot begin leaves nothing behind
    with _writable(folder):
        made = [path for path in (folder, *folder.parents) if not path.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with owned(folder), Requests() as requests:
                return _run(training, folder, command, overwrite, name, requests)
        except UserError:
            if folder in made and training.step == 0:  # nor does one that fails before its first update
                shutil.rmtree(folder)
                with contextlib.suppress(OSError):  # others may have moved in
                    for path in made[1:]:
                        path.rmdir()
            raise
        finally:
            training.close()


def check_folder(folder: Path, config: RunConfig) -> None:
    """Refuse a folder that holds another run, or a shorter one that cannot be lengthened.

    How often a run saves itself may differ, and so may the number of steps, as long as none is to be taken back.
    """
    new = flat(config.model_dump(mode="json"))
    try:
        old = RunFolder(folder.name, folder).settings() if (folder / CONFIG).exists() else new
    except UserError as error:
        raise UserError(f"{error}; overwrite=true starts the run anew") from None
    before = read_status(folder)
    steps = old.get("steps")
    resized = isinstance(steps, int) and (steps <= config.steps or _made(folder, before) <= config.steps)
    differing = [
        f"{key} ({old.get(key, 'absent')} there, {new.get(key, 'absent')} asked for)"
        for key in sorted((old.keys() | new.keys()) - ({"steps"} if resized else set()))
        if not key.startswith("checkpoint.") and old.get(key) != new.get(key)  # an absent option is one left at null
    ]
    if differing:
        raise UserError(
            f"{folder} holds a run with other settings: {'; '.join(differing)}; "
            "choose another folder (runs=…) or overwrite=true"
        )
    if (
        before is not None
        and before.finished
        and not before.covers(config.steps)
        and not checkpoint.generations(folder)
    ):
        raise UserError(
            f"{folder} finished its {before.steps} steps without keeping its last state, or that or the rows are "
            f"damaged; it cannot be lengthened to {config.steps}: overwrite=true starts it anew"
        )


def _made(folder: Path, status: Status | None) -> int:
    """The number of steps that a run cannot have fewer of."""
    if status is not None and status.finished:
        return status.steps
    return max((state["step"] for state in checkpoint.generations(folder)), default=0)


def try_out(config: RunConfig) -> None:
    """Build a run, or say why it cannot be built, and keep nothing."""
    with _told(building=True):
        Training(config).close()


@contextlib.contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """Turns what a disk has against a folder into a `UserError`."""
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        reason = error.strerror or type(error).__name__
        raise UserError(f"{where}: {reason}; mend that and run again, what was written before is intact") from error


@contextlib.contextmanager
def _told(building: bool = False) -> Iterator[None]:
    """Turns what a person can mend into a `UserError`; all errors, where components are `building`."""
    try:
        yield
    except ProbeError as error:
        raise UserError(str(error)) from error
    except UserError:
        raise
    except Exception as error:
        full = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if full or (isinstance(error, RuntimeError) and "allocate" in str(error)):
            first_line = str(error).partition("\n")[0]
            raise UserError(f"not enough memory ({first_line}); take a smaller network or batch_size") from error
        if building:
            raise UserError(f"the run cannot be built: {summary(error)}") from error
        raise


def _run(
    training: Training, folder: Path, command: Sequence[str], overwrite: bool, name: str | None, requests: Requests
) -> Status:
    config = training.config
    if not overwrite:
        check_folder(folder, config)  # again, now that nobody else can change it
    before = None if overwrite else read_status(folder)
    started = before.started if before else now()

    def status(state: str, error: str | None = None) -> Status:
        seconds = round(training.seconds, 3)
        rows = None
        if state in FINISHED:  # so that a reader can tell that none was lost since
            files = {table.name: folder / f"{table.name}.csv" for table in training.tables}
            rows = {name: path.read_bytes().count(b"\n") - 1 for name, path in files.items()}
        final = Status(state, training.step, config.steps, seconds, started, now(), error, rows)  # type: ignore[arg-type]
        write_status(folder, final)
        return final

    try:
        if overwrite:
            for path in set(folder.iterdir()) - {folder / LOCK, folder / OWNER}:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        write_settings(folder, config.model_dump())
        write_json(folder / PROVENANCE, provenance(list(command), training.device, training.dataset.label))
        write_atomically(folder / TABLES, to_json(training.tables).encode())
        status("running")
        with _told():
            end = training.run(folder, name, requests, on_save=lambda: status("running"))
        final = status(end)
        checkpoint.tidy(folder, keep=config.checkpoint.keep)
        return final
    except (Interrupted, SystemExit):  # a batch scheduler's handler, which requeues the job, exits
        status("interrupted")
        raise
    except BaseException as error:
        with contextlib.suppress(OSError):  # a full disk may refuse even this; the first error is what counts
            status("failed", one_line(f"{type(error).__name__}: {error}"))
        raise
