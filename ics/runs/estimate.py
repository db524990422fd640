"""How long runs will take, judged by the finished ones that are most like them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from statistics import median
from typing import Any

from ics.errors import UserError
from ics.folder import Status, find_runs, flat
from ics.runs.config import RunConfig
from ics.runs.folder import now, read_status

# Settings that a step takes no time for.
TIMELESS = ("experiment", "scale", "seed", "steps", "optimizer.lr", "checkpoint.")


@dataclass(frozen=True)
class Pace:
    """The speed of a finished run.

    Attributes:
        settings: with dotted keys, those that may matter for it.
        seconds: per step, with all that was measured.
    """

    settings: Mapping[str, Any]
    seconds: float


@dataclass
class Outlook:
    """What is left to do of some runs.

    Attributes:
        runs: their folders and settings.
        processes: how many go on at a time; None where a cluster decides.
        paces: of finished runs elsewhere.
        anew: they start from the first step, whatever their folders hold.
    """

    runs: Mapping[Path, RunConfig]
    processes: int | None
    paces: Sequence[Pace] = ()
    anew: bool = False
    _began: str = field(default_factory=now)

    def finished(self) -> int:
        """How many have finished since this was made."""
        statuses = self._statuses()
        return sum(s is not None and s.covers(self.runs[at].steps) for at, s in statuses.items())

    def left(self) -> tuple[float, int]:
        """Seconds that the rest will take, and how many runs there are without a finished one to judge that by."""
        runs = [(self.runs[at], status) for at, status in self._statuses().items()]
        finished = (_pace(flat(run.model_dump(mode="json")), s) for run, s in runs if s and s.finished)
        paces = [*self.paces, *finished]
        each = [_seconds_left(run, s, paces) for run, s in runs if not (s and s.covers(run.steps))]
        known = [seconds for seconds in each if seconds is not None]
        return max([*known, sum(known) / (self.processes or 1)], default=0.0), len(each) - len(known)

    def __str__(self) -> str:
        seconds, unknown = self.left()
        if unknown == len(self.runs):
            return "no finished run to estimate the time from"
        processes = (
            f"on {self.processes} process{'es' * (self.processes > 1)}" if self.processes else "of computing in all"
        )
        rest = f", and {unknown} runs without a finished one to estimate the time from" if unknown else ""
        return f"about {timedelta(seconds=round(seconds))} {processes}{rest}"

    def _statuses(self) -> dict[Path, Status | None]:
        found = {folder: read_status(folder) for folder in self.runs}
        return {at: s if s and (not self.anew or s.updated >= self._began) else None for at, s in found.items()}


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
    """The median speed of the runs whose settings differ least from these.

    Args:
        settings: of a run, complete and nested.
        paces: of finished runs.

    Returns:
        Seconds per step; None where no run with this kind of network has finished.
    """
    wanted = _timed(flat(settings))
    found: dict[int, list[float]] = {}  # number of differing settings → the speeds of such runs
    for pace in paces:
        if pace.settings.get("model.name") == wanted.get("model.name"):
            keys = wanted.keys() | pace.settings.keys()
            found.setdefault(sum(wanted.get(key) != pace.settings.get(key) for key in keys), []).append(pace.seconds)
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
    return Pace(_timed(settings), status.seconds / max(1, status.step))


def _timed(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if not key.startswith(TIMELESS)}
