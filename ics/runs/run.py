"""From settings to a finished run folder, whatever happens on the way."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import torch

from ics.errors import UserError
from ics.files import write_atomically, write_json
from ics.folder import FINISHED, PROVENANCE, TABLES, Status
from ics.runs import checkpoint
from ics.runs.config import RunConfig
from ics.runs.folder import check_settings, clear, count_rows, now, read_status, write_settings, write_status
from ics.runs.lock import FolderLock
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
        name: for progress; the folder by default.

    Returns:
        The final status: done or diverged.

    Raises:
        UserError: the settings, the data or the folder do not allow it, or another process owns the folder.
        Interrupted: a signal asked to stop; the run is saved.
    """
    before = read_status(folder)
    if before is not None and before.finished and not overwrite:
        check_settings(folder, config.model_dump())
        if before.state == "diverged" or before.steps >= config.steps:
            return before
        if not checkpoint.exists(folder):
            raise UserError(
                f"{folder} finished its {before.steps} steps without keeping its last state, so that it cannot be "
                f"lengthened to {config.steps}; overwrite=true starts it anew"
            )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FolderLock(folder), Requests() as requests:
            return _run(config, folder, command, overwrite, name or str(folder), requests)
    except OSError as error:
        where = error.filename or folder
        reason = error.strerror or type(error).__name__
        raise UserError(f"{where}: {reason}; mend that and run again, what was written before is intact") from error


def _run(
    config: RunConfig, folder: Path, command: Sequence[str], overwrite: bool, name: str, requests: Requests
) -> Status:
    if not overwrite:
        check_settings(folder, config.model_dump())
    before = None if overwrite else read_status(folder)
    started = before.started if before else now()
    training: Training | None = None

    def status(state: str, error: str | None = None) -> Status:
        step, seconds = (training.step, training.seconds) if training else (0, 0.0)
        rows = count_rows(folder, training.tables) if training and state in FINISHED else None
        final = Status(state, step, config.steps, round(seconds, 3), started, now(), error, rows)  # type: ignore[arg-type]
        write_status(folder, final)
        return final

    try:
        training = Training(config)
        if overwrite:  # not before the new run can be built
            clear(folder)
        write_settings(folder, config.model_dump())
        write_json(folder / PROVENANCE, provenance(list(command), training.device, training.dataset.label))
        write_atomically(folder / TABLES, to_json(training.tables).encode())
        status("running")
        final = status(training.run(folder, name, requests, on_save=lambda: status("running")))
        checkpoint.tidy(folder, keep=config.checkpoint.keep)
        return final
    except (Interrupted, SystemExit):  # a batch scheduler's handler, which requeues the job, exits
        status("interrupted")
        raise
    except BaseException as error:
        with contextlib.suppress(OSError):  # a full disk may refuse even this; the first error is what counts
            status("failed", f"{type(error).__name__}: {error}")
        if isinstance(error, ProbeError):
            raise UserError(str(error)) from error
        if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate" in str(error):
            first_line = str(error).splitlines()[0]
            raise UserError(f"not enough memory ({first_line}); take a smaller network or batch_size") from error
        raise
    finally:
        if training is not None:
            training.close()
