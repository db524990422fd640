"""Decoded images kept on disk."""

import hashlib
import logging
import os
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

NAME = ".ics-cache.npz"


def cached(root: Path, key: str, decode: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The array that `decode` gives for this folder, from disk if it was decoded before under the same key.

    It is kept in the folder itself or, where that cannot be written, under $XDG_CACHE_HOME/ics, by default
    ~/.cache/ics.

    Args:
        root: the folder that the array is decoded from.
        key: changes whenever the array would; a file with another key is decoded anew, as is a damaged one.
        decode: computes the array.
    """
    places = (root / NAME, _home() / f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]}.npz")
    for path in places:
        array = _read(path, key)
        if array is not None:
            return array
    array = decode()
    if not any(_write(path, key, array) for path in places):
        log.warning("the decoded images of %s cannot be kept and will be decoded again next time", root)
    return array


def _home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ics"


def _read(path: Path, key: str) -> NDArray[np.uint8] | None:
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["key"]) != key:
                return None
            array: NDArray[np.uint8] = file["array"]
            return array
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):  # missing or damaged
        return None


def _write(path: Path, key: str, array: NDArray[np.uint8]) -> bool:
    """Write beside and rename, so that another process sees the whole file or none."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=NAME, delete=False) as file:
            try:
                np.savez(file, key=np.array(key), array=array)
                file.close()
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink()
                raise
    except OSError:
        return False
    return True
