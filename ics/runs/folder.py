"""Writing a run folder, which has one owner; `ics.folder` says what it holds, and reads it."""

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock, Timeout

from ics.errors import UserError
from ics.files import write_atomically, write_json
from ics.folder import CONFIG, STATUS, RunFolder, Status

LOCK, OWNER = "lock", "owner.json"
"""The file that the owner of a folder holds locked, and the one that says who it is."""
PATIENCE = 10.0  # seconds to wait for an owner; the system may take some to clean up after a dead one


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat("T", "seconds")


def read_status(folder: Path) -> Status | None:
    """The status of a run; None where none was written, or it cannot be read."""
    try:
        return RunFolder(folder.name, folder).status
    except UserError:
        return None


def write_status(folder: Path, status: Status) -> None:
    """Write `status.json`, and `DONE` when the run is done; a run that is being lengthened is not."""
    write_json(folder / STATUS, asdict(status))
    if status.state == "done":
        write_atomically(folder / "DONE", b"")
    else:
        (folder / "DONE").unlink(missing_ok=True)


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write `config.yaml`."""
    text = yaml.safe_dump(json.loads(json.dumps(settings)), sort_keys=False, allow_unicode=True)
    write_atomically(folder / CONFIG, text.encode())


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Holds a run folder for this process.

    The file system's own lock decides: it falls with its process, however that ends, and knows no clock. It holds
    between hosts where their file system shares it (local disks, NFS 4, Lustre with flock), elsewhere on one host only.

    Raises:
        UserError: another process holds it and does not let go; says which, where and since when.
    """
    lock, owner = FileLock(folder / LOCK), folder / OWNER
    try:
        lock.acquire(blocking=False)
    except Timeout:
        print(f"waiting {PATIENCE:.0f} s for {folder}: {_held(owner)}", file=sys.stderr, flush=True)
        try:
            lock.acquire(timeout=PATIENCE, poll_interval=0.1)
        except Timeout:
            raise UserError(
                f"{folder} is {_held(owner)}; wait for it or stop it, and start this again: it goes on from there"
            ) from None
    try:
        write_json(owner, {"host": socket.gethostname(), "process": os.getpid(), "since": now()})
        yield
    finally:
        owner.unlink(missing_ok=True)
        (folder / LOCK).unlink(missing_ok=True)
        lock.release()


def _held(owner: Path) -> str:
    try:
        who = json.loads(owner.read_text(encoding="utf-8"))
        return f"in use by process {who['process']} on {who['host']} since {who['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "in use by another process"
