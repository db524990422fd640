"""One owner per run folder."""

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ics.errors import UserError
from ics.files import write_json
from ics.runs.folder import LOCK, OWNER, now

PATIENCE = 10.0  # seconds to wait for an owner; the system may take some to clean up after a dead one


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
