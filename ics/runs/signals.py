"""Stopping and saving on request of the user or of a batch scheduler."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


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
    handler that was there before (a batch scheduler's, which requeues the job) is called.
    """

    def __init__(self) -> None:
        self.stop: int | None = None
        self.save = False
        self._earlier: dict[int, Any] = {}

    def __enter__(self) -> "Requests":
        if threading.current_thread() is threading.main_thread():  # elsewhere Python allows no handlers
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._earlier[signum] = signal.signal(signum, self._ask_to_stop)
            self._earlier[signal.SIGUSR2] = signal.signal(signal.SIGUSR2, self._ask_to_save)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._earlier.items():
            signal.signal(signum, handler)
        self._earlier.clear()

    def saved(self) -> None:
        """To be called after a save: passes a SIGUSR2 on to the earlier handler."""
        if self.save:
            self.save = False
            handler = self._earlier.get(signal.SIGUSR2)
            if callable(handler):
                handler(signal.SIGUSR2, None)

    def _ask_to_stop(self, signum: int, frame: FrameType | None) -> None:
        if self.stop is not None:
            signal.signal(signum, self._earlier[signum])
            signal.raise_signal(signum)
        self.stop = signum

    def _ask_to_save(self, signum: int, frame: FrameType | None) -> None:
        self.save = True
