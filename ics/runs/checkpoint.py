"""A run's whole state in one file, two generations deep."""

import io
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ics.files import path_beside, write_beside
from ics.runs.recorder import checksum

NEWEST, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
DAMAGED = (OSError, EOFError, RuntimeError, TypeError, ValueError, KeyError, zipfile.BadZipFile, pickle.UnpicklingError)


def save(folder: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint (tensors and plain data only); the one before it is kept as the previous generation."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    newest = folder / NEWEST
    beside = write_beside(newest, buffer.getvalue())
    if newest.exists():
        newest.replace(folder / PREVIOUS)
    beside.replace(newest)


def generations(folder: Path) -> "list[dict[str, Any]]":
    """The usable checkpoints of a run, newest first.

    One that is damaged, or whose rows are not what they were, is warned about and left out.
    """
    states = []
    for path in (folder / NEWEST, folder / PREVIOUS):
        if path.exists():
            try:
                with zipfile.ZipFile(path) as archive:  # torch.load alone does not check every byte
                    if damaged := archive.testzip():
                        raise ValueError(f"checksum of {damaged}")
                state = torch.load(path, map_location="cpu", weights_only=True)
                if not isinstance(state, dict):
                    raise ValueError("not a checkpoint")
                problem = _lost_rows(folder, **state)
            except DAMAGED as error:
                problem = f"{path} is damaged ({type(error).__name__})"
            if problem is None:
                states.append(state)
            else:
                warnings.warn(f"{problem}; {path.name} is left aside", stacklevel=2)
    return states


def _lost_rows(
    folder: Path, offsets: Mapping[str, int], checksums: Mapping[str, int] | None = None, **_: Any
) -> str | None:
    """Which of the CSV files is not what it was; checkpoints of an earlier version know only how long they were."""
    for table, length in offsets.items():
        path = folder / f"{table}.csv"
        try:
            found = checksum(path, length)
        except (OSError, ValueError) as error:
            return str(error)
        if checksums and found != checksums[table]:
            return f"{path} is not what it was when its checkpoint was taken"
    return None


def tidy(folder: Path, keep: bool) -> None:
    """Delete the checkpoints of a finished run, but the last where it is to be kept, and what a crash left of one."""
    for path in (folder / PREVIOUS, path_beside(folder / NEWEST), *([] if keep else [folder / NEWEST])):
        path.unlink(missing_ok=True)
