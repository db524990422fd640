"""Writing files so that a reader, or a crash, never meets half of one."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def as_path(text: str | Path) -> Path:
    """A path as people write it: `~` is one's home, where there is such a one."""
    with contextlib.suppress(RuntimeError):
        return Path(text).expanduser()
    return Path(text)


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside the file, make it durable, then rename over it: the file is always the old one or the new one.

    A link stays one, and its target is written; a device or a pipe takes the content as it is.

    Raises:
        OSError: the disk is full, the folder not writable, …; the old file is intact and nothing is left beside it.
    """
    if path.exists() and not path.is_file():  # before a link is resolved: /dev/stdout leads to a pipe without a path
        path.write_bytes(content)
    else:
        path = path.resolve() if path.is_symlink() else path
        write_beside(path, content).replace(path)


def write_beside(path: Path, content: bytes) -> Path:
    """Write what is to become `path` into a file beside it, durable and whole, and return that file.

    Raises:
        OSError: as above; nothing is left beside.
    """
    beside = path_beside(path)
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error  # a failed write does not know its file
    return beside


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write files that belong together: all of them beside first, so that a full disk leaves the old ones all.

    Raises:
        OSError: as above.
    """
    beside: dict[Path, Path] = {}
    try:
        for path, content in contents.items():
            beside[path] = write_beside(path, content)
    except OSError:
        for written in beside.values():
            written.unlink(missing_ok=True)
        raise
    for path, written in beside.items():
        written.replace(path)


def path_beside(path: Path) -> Path:
    """Where `path` is being written; a crash in the middle of that leaves a file there."""
    return path.with_name(f".{path.name}.tmp")


def write_text(path: Path, text: str) -> None:
    """`write_atomically` for text: UTF-8, lines end as they do in it; the folder is made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())


def write_json(path: Path, data: Any) -> None:
    """`write_atomically` for JSON, indented for people."""
    write_text(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
