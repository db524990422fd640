"""Stopping and saving on request of the user or of a batch scheduler."""

import multiprocessing
import os
import signal
import threading
import time
from types import FrameType
from typing import Any

PARENT_WATCH = 1.0  # seconds between looks at whether the parent process lives


class Interrupted(Exception):
    """The run was asked to stop, has saved itself, and goes on when it is started again.

    Attributes:
        exit_code: 128 + the signal's number, the usual exit status.
    """

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.exit_code = 128 + signum


class Requests:
    """Turns signals into requests that the training loop answers between two steps. Use as a context manager.

    SIGINT and SIGTERM ask for a save and a stop; a second one of them acts at once. SIGUSR2 asks for a save; then the
    handler that was there before (a batch scheduler's, which requeues the job) is called. The same goes for SIGTERM
    where a scheduler has set a handler: it knows whether the job is to stop or to wait for its end and be requeued.

    A process that another one started to do its work (a worker of a local sweep) is asked to stop when that one dies.
    """

    def __init__(self) -> None:
        self.stop: int | None = None
        self.save: int | None = None
        self._earlier: dict[int, Any] = {}
        self._released = threading.Event()
        self._parent = Parent()

    def __enter__(self) -> "Requests":
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            scheduled = callable(signal.getsignal(signal.SIGTERM))
            for signum, handler in {
                signal.SIGINT: self._ask_to_stop,
                signal.SIGTERM: self._ask_to_save if scheduled else self._ask_to_stop,
                signal.SIGUSR2: self._ask_to_save,
            }.items():
                self._earlier[signum] = signal.signal(signum, handler)
        if multiprocessing.parent_process() is not None:
            threading.Thread(target=self._watch, name="parent watch", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._released.set()
        for signum, handler in self._earlier.items():
            signal.signal(signum, handler)
        self._earlier.clear()

    def saved(self) -> None:
        """To be called after a save: passes a signal that asked for it on to the earlier handler."""
        signum, self.save = self.save, None
        handler = self._earlier.get(signum) if signum is not None else None
        if callable(handler):
            handler(signum, None)

    def _ask_to_stop(self, signum: int, frame: FrameType | None) -> None:
        if self.stop is not None:
            signal.signal(signum, self._earlier[signum])
            signal.raise_signal(signum)
        self.stop = signum

    def _ask_to_save(self, signum: int, frame: FrameType | None) -> None:
        self.save = signum

    def _watch(self) -> None:
        while not self._released.wait(PARENT_WATCH):
            if self._parent.is_gone():
                self.stop = signal.SIGTERM
                return


class Parent:
    """The process that started this one to do its work, as a sweep does its workers; noted when this is made."""

    def __init__(self) -> None:
        process = multiprocessing.parent_process()
        self._process = process.pid if process is not None else None
        self._above = os.getppid()

    def is_gone(self, within: float = 0) -> bool:
        """Whether it has ended, or ends within some seconds; false in a process that nobody started for work."""
        end = time.monotonic() + within
        while self._process is not None:
            try:
                os.kill(self._process, 0)  # only asks; for one that had ended before this was made
            except ProcessLookupError:
                return True
            if os.getppid() != self._above:  # one that has ended answers until somebody has waited for it
                return True
            if time.monotonic() >= end:
                break
            time.sleep(0.05)
        return False
