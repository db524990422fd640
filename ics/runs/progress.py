"""How far a run or a sweep is, and how long it will take, judged by the finished runs that are most like it."""

import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from tqdm import tqdm

from ics.errors import UserError
from ics.folder import Status, find_runs, flat
from ics.runs.config import RunConfig
from ics.runs.folder import now, read_status

INTERVAL = 30.0  # seconds between plain lines
LOOK = 2.0  # seconds between looks at a sweep
# Settings that a step takes no time for.
TIMELESS = ("experiment", "scale", "seed", "steps", "optimizer.lr", "checkpoint.")

Pace = tuple[Mapping[str, Any], float]
"""Of a finished run: its settings with dotted keys, and seconds per step with all that was measured."""


@dataclass
class Outlook:
    """What is left to do of some runs, so many at a time (None: a cluster decides).

    `paces` are those of finished runs elsewhere; `anew` if runs start from the first step, whatever their folders hold.
    """

    runs: Mapping[Path, RunConfig]
    processes: int | None
    paces: Sequence[Pace] = ()
    anew: bool = False
    _began: str = field(default_factory=now)

    def left(self) -> tuple[int, float, int]:
        """How many runs are unfinished, seconds that they will take, and how many there is nothing to judge by."""
        statuses = {folder: read_status(folder) for folder in self.runs}
        if self.anew:
            statuses = {at: status for at, status in statuses.items() if status and status.updated >= self._began}
        runs = [(config, statuses.get(folder)) for folder, config in self.runs.items()]
        paces = [*self.paces, *(_pace(config.model_dump(mode="json"), s) for config, s in runs if s and s.finished)]
        each = [_seconds_left(run, s, paces) for run, s in runs if not (s and s.covers(run.steps))]
        known = [seconds for seconds in each if seconds is not None]
        return len(each), max([*known, sum(known) / (self.processes or 1)], default=0.0), len(each) - len(known)

    def __str__(self) -> str:
        _, seconds, unknown = self.left()
        if unknown == len(self.runs):
            return "no finished run to estimate the time from"
        count = self.processes
        processes = f"on {count} process{'es' * (count > 1)}" if count else "of computing in all"
        rest = f", and {unknown} runs without a finished one to estimate the time from" if unknown else ""
        return f"about {timedelta(seconds=round(seconds))} {processes}{rest}"


def finished_paces(root: Path) -> list[Pace]:
    """The speed of every finished run below a folder; what cannot be read is left out."""
    found = []
    for run in find_runs(root):
        try:
            if run.status is not None and run.finished and run.status.step > 0:
                found.append(_pace(run.settings(), run.status))
        except UserError:
            continue
    return found


def seconds_per_step(settings: Mapping[str, Any], paces: Sequence[Pace]) -> float | None:
    """The median speed of the runs whose settings (nested) differ least from these; None without one of its network."""
    wanted = _timed(settings)
    found: dict[int, list[float]] = {}  # number of differing settings → the speeds of such runs
    for other, seconds in paces:
        if other.get("model.name") == wanted.get("model.name"):
            differing = sum(wanted.get(key) != other.get(key) for key in wanted.keys() | other.keys())
            found.setdefault(differing, []).append(seconds)
    return median(found[min(found)]) if found else None


def _seconds_left(config: RunConfig, status: Status | None, paces: Sequence[Pace]) -> float | None:
    """What a run still needs; None where there is nothing to judge it by.

    By its own speed from a twentieth of its steps on, and where no run like it has finished. Before, that would
    mislead: the first step is measured by the definition too, and alone may take minutes.
    """
    done = status.step if status is not None else 0
    pace = seconds_per_step(config.model_dump(mode="json"), paces)
    if status is not None and done > 0 and (pace is None or done >= config.steps / 20):
        pace = status.seconds / done
    return None if pace is None else pace * (config.steps - done)


def _pace(settings: Mapping[str, Any], status: Status) -> Pace:
    return _timed(settings), status.seconds / max(1, status.step)


def _timed(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in flat(settings).items() if not key.startswith(TIMELESS)}


class _Lines:
    """Stderr for a bar that is no bar: each of its states on a line of its own."""

    def write(self, text: str) -> None:
        if text.strip():
            print(text.strip(), file=sys.stderr, flush=True)

    def flush(self) -> None:
        pass


def progress(name: str | None, total: int, done: int, unit: str = "step") -> "tqdm[Any]":
    """A bar to be updated by `update()`, a context manager; `done` of `total` steps are over, no name shows nothing."""
    shown: dict[str, Any] = {"desc": name, "total": total, "initial": done, "unit": unit, "disable": name is None}
    if sys.stderr is not None and sys.stderr.isatty():
        return tqdm(**shown, leave=False)
    words = f"{{desc}}: {unit} {{n_fmt}} of {{total_fmt}} ({{percentage:.0f}}%), {{remaining}} left{{postfix}}"
    return tqdm(**shown, leave=False, file=_Lines(), bar_format=words, mininterval=INTERVAL, delay=INTERVAL, miniters=0)


@contextmanager
def watched(outlook: Outlook, total: int) -> Iterator[None]:
    """Shows how many runs of a sweep are finished while it is held; `total` are they with those finished before."""
    over = threading.Event()

    def watch() -> None:
        with progress("sweep", total, total - len(outlook.runs), "run") as bar:
            bar.bar_format = "{desc}: {n_fmt} of {total_fmt} runs done{postfix}"
            while not over.wait(LOOK):
                unfinished, seconds, unknown = outlook.left()
                about = f"{'more than' if unknown else 'about'} {timedelta(seconds=round(seconds))} left"
                bar.set_postfix_str(about if seconds else "", refresh=False)
                bar.update(total - unfinished - bar.n)

    thread = threading.Thread(target=watch, name="sweep watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
