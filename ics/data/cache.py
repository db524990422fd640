"""Decoded images kept on disk."""

import hashlib
import logging
import os
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

log = logging.getLogger(__name__)

NAME = ".ics-cache.npz"
UNREADABLE = (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile)  # missing or damaged


def cached(root: Path, key: str, decode: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The array that `decode` gives for this folder, from disk if it was decoded before under the same key.

    It is kept in the folder itself or, where that cannot be written, under $XDG_CACHE_HOME/ics, by default
    ~/.cache/ics.

    Args:
        root: the folder that the array is decoded from.
        key: changes whenever the array would; a file with another key is decoded anew, as is a damaged one.
        decode: computes the array.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ics"
    places = (root / NAME, home / f"{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]}.npz")
    array: NDArray[np.uint8]
    for path in places:
        with suppress(*UNREADABLE), np.load(path, allow_pickle=False) as file:
            if str(file["key"]) == key:
                array = file["array"]
                return array
    array = decode()
    for path in places:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            # Written beside and renamed, so that another process sees the whole file or none.
            with TemporaryDirectory(prefix=NAME, dir=path.parent) as beside:
                written = Path(beside) / path.name
                np.savez(written, key=np.array(key), array=array)
                written.replace(path)
            return array
    log.warning("the decoded images of %s cannot be kept and will be decoded again next time", root)
    return array
