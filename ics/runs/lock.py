"""One owner per run folder."""

import contextlib
import fcntl
import json
import os
import socket
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from ics.errors import UserError
from ics.runs.process import is_alive

HEARTBEAT = 10.0  # seconds between signs of life
STALE = 60.0  # seconds without one after which an owner on another host counts as dead
PATIENCE = 5.0  # seconds to wait for the kernel to clean up after a dead owner on this host


class FolderLock:
    """Holds a run folder for this process. Use as a context manager.

    On one host the kernel's file lock decides, and falls with its process. Where the file system does not share that
    lock between hosts, the owner's heartbeat does: the lock file is touched every `HEARTBEAT` seconds. A heartbeat that
    has just stopped is waited for: a scheduler starts a job anew as soon as its node has died.

    Args:
        folder: an existing folder.

    Raises:
        UserError: (on entering) another process holds it; says which, where and since when.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "lock"
        self._file: int | None = None
        self._released = threading.Event()
        self._beat: threading.Thread | None = None

    def __enter__(self) -> "FolderLock":
        self._file = self._acquire()
        owner = {
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": datetime.now(UTC).isoformat("T", "seconds"),
        }
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(owner).encode(), 0)
        self._beat = threading.Thread(target=self._keep_beating, name="run-folder heartbeat", daemon=True)
        self._beat.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        if self._beat is not None:
            self._beat.join()
        if self._file is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
            self._file = None

    def _acquire(self) -> int:
        deadline = time.monotonic() + PATIENCE
        first_beat: float | None = None
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            locked = _try_lock(file)
            if locked and not self._is_current(file):  # its owner deleted it between our open and our lock
                os.close(file)
                continue
            owner, beat = _read_owner(file), os.fstat(file).st_mtime
            elsewhere = owner.get("host") not in (None, socket.gethostname())
            stale = time.time() - beat >= STALE
            if locked and (stale or not elsewhere):
                return file
            os.close(file)
            if elsewhere:
                first_beat = first_beat or beat
                waiting = beat == first_beat and not stale
            else:  # a dead owner's child holds on to the file for an instant longer
                waiting = _is_gone(owner) and time.monotonic() < deadline
            if not waiting:
                raise self._held(owner)
            time.sleep(0.5 if elsewhere else 0.02)

    def _is_current(self, file: int) -> bool:
        try:
            return os.path.samestat(os.fstat(file), self._path.stat())
        except FileNotFoundError:
            return False

    def _held(self, owner: dict[str, object]) -> UserError:
        return UserError(
            f"{self._path.parent} is in use by process {owner.get('process', '?')} on {owner.get('host', '?')} since "
            f"{owner.get('since', '?')}; wait for it or stop it"
        )

    def _keep_beating(self) -> None:
        while not self._released.wait(HEARTBEAT):
            with contextlib.suppress(OSError):  # a sign of life missed is no reason to lose the run
                os.utime(self._path)


def _try_lock(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_gone(owner: dict[str, object]) -> bool:
    """Whether an owner on this host has died."""
    process = owner.get("process")
    return owner.get("host") == socket.gethostname() and isinstance(process, int) and not is_alive(process)


def _read_owner(file: int) -> dict[str, object]:
    try:
        owner = json.loads(os.pread(file, 4096, 0) or b"{}")
    except ValueError:  # its owner died while writing it
        owner = {}
    return owner if isinstance(owner, dict) else {}
