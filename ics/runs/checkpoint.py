"""A run's whole state in one file, two generations deep."""

import io
import pickle
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from ics.files import path_beside, write_beside

NEWEST, PREVIOUS = "checkpoint.pt", "checkpoint.previous.pt"
DAMAGED = (OSError, EOFError, RuntimeError, ValueError, KeyError, zipfile.BadZipFile, pickle.UnpicklingError)


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
    """The readable checkpoints of a run, newest first; a damaged one is warned about and left out."""
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
                states.append(state)
            except DAMAGED as error:
                warnings.warn(f"{path} is damaged ({type(error).__name__}) and left aside", stacklevel=2)
    return states


def tidy(folder: Path, keep: bool) -> None:
    """Delete the checkpoints of a finished run, but the last where it is to be kept, and what a crash left of one."""
    for path in (folder / PREVIOUS, path_beside(folder / NEWEST), *([] if keep else [folder / NEWEST])):
        path.unlink(missing_ok=True)
