"""How far a run is: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from datetime import timedelta
from types import TracebackType

from tqdm import tqdm

INTERVAL = 30.0  # seconds between plain lines


class Progress:
    """Shows the steps of a run and the time left, on stderr. Use as a context manager.

    Args:
        name: of the run.
        total: number of steps.
        start: steps done already.
    """

    def __init__(self, name: str, total: int, start: int = 0) -> None:
        self._name, self._total, self._start = name, total, start
        self._began = self._last = time.monotonic()
        self._bar = tqdm(total=total, initial=start, desc=name, unit="step", disable=None, leave=False, miniters=1)
        self._step = start

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()

    def update(self, step: int) -> None:
        """Tell that `step` steps are done. Cheap enough to call often."""
        if not self._bar.disable:
            self._bar.update(step - self._step)
            self._step = step
            return
        now = time.monotonic()
        if now - self._last >= INTERVAL and step > self._start:
            self._last = now
            left = (now - self._began) / (step - self._start) * (self._total - step)
            print(
                f"{self._name}: step {step} of {self._total} ({step / self._total:.0%}), "
                f"{timedelta(seconds=round(left))} left",
                file=sys.stderr,
                flush=True,
            )
