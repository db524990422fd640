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

HEARTBEAT = 10.0  # seconds between signs of life
STALE = 60.0  # seconds without one after which an owner on another host counts as dead
PATIENCE = 5.0  # seconds to wait for the kernel to clean up after a dead owner on this host


class FolderLock:
    """Holds a run folder for this process. Use as a context manager.

    On one host the kernel's file lock decides, and falls with its process. Where the file system does not share that
    lock between hosts, the owner's heartbeat does: the lock file is touched every `HEARTBEAT` seconds.

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
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    owner = _read_owner(file)
                    if time.monotonic() > deadline or not _is_gone(owner):
                        raise self._held(owner) from None
                    os.close(file)  # a dead owner's child holds on to the file for an instant longer
                    time.sleep(0.02)
                    continue
                if not self._is_current(file):  # its owner released it, and deleted it, between our open and our lock
                    os.close(file)
                    continue
                owner = _read_owner(file)
                age = time.time() - os.fstat(file).st_mtime
                if owner.get("host") not in (None, socket.gethostname()) and age < STALE:
                    raise self._held(owner)
                return file
            except UserError:
                os.close(file)
                raise

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


def _is_gone(owner: dict[str, object]) -> bool:
    """Whether an owner on this host has died."""
    process = owner.get("process")
    if owner.get("host") != socket.gethostname() or not isinstance(process, int):
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False


def _read_owner(file: int) -> dict[str, object]:
    try:
        owner = json.loads(os.pread(file, 4096, 0) or b"{}")
    except ValueError:  # its owner died while writing it
        owner = {}
    return owner if isinstance(owner, dict) else {}
