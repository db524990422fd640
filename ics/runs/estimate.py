"""How long a run will take, judged by the finished ones that are most like it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from ics.errors import UserError
from ics.folder import find_runs, flat

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


def finished_paces(root: Path) -> list[Pace]:
    """The speed of every finished run below a folder; what cannot be read is left out."""
    found = []
    for run in find_runs(root):
        try:
            if run.finished and run.status is not None and run.status.step > 0:
                found.append(Pace(_timed(run.settings()), run.status.seconds / run.status.step))
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
    distances = {
        index: sum(wanted.get(key) != pace.settings.get(key) for key in wanted.keys() | pace.settings.keys())
        for index, pace in enumerate(paces)
        if pace.settings.get("model.name") == wanted.get("model.name")
    }
    least = min(distances.values(), default=None)
    nearest = [paces[index].seconds for index, distance in distances.items() if distance == least]
    return median(nearest) if nearest else None


def _timed(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if not key.startswith(TIMELESS)}
