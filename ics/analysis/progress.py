"""Alignment by training progress: what two networks of one seed measured when they had trained equally far."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

LEVELS = 100
"""Steps of equal size from the start of a training to the farthest that either network gets."""

SMOOTHED = 0.05
"""Share of the training that a smoothed value is the median of: half before it, half after."""


def by_progress(rows: pd.DataFrame, progress: pd.DataFrame, arms: Sequence[str], steps: int) -> pd.DataFrame:
    """A quantity by level of progress instead of step.

    Progress is smoothed, and counts as the best so far. Level 0 is the better of the two networks' first values, level
    `LEVELS` the better of their best, those between at equal distances. A network is at a level when it first gets
    there; its value is the first one measured from then on. Levels that one of the two never reaches have none.

    Args:
        rows: of one learning rate, as from `Measured`, with the column layer.
        progress: likewise, without layers; `value` grows as the network learns, such as −ln(loss).
        arms: the two to compare.
        steps: number of steps of the training.

    Returns:
        Rows of both networks at the levels that both reach; `step` is the level.
    """
    courses = {key: _best_so_far(own, steps) for key, own in progress.dropna(subset=["value"]).groupby(["arm", "seed"])}
    measured = dict(iter(rows.groupby(["arm", "seed"])))
    parts = [rows[:0]]
    for seed in rows["seed"].unique():
        keys = [(arm, seed) for arm in arms]
        if not all(key in courses and key in measured for key in keys):
            continue
        pair = [courses[key] for key in keys]
        start, end = (max(course.iloc[place] for course in pair) for place in (0, -1))
        if not start < end < np.inf:  # neither learns anything
            continue
        grid = np.linspace(start, end, LEVELS + 1)
        at = [_first_measured(courses[key], grid, measured[key]["step"].unique()) for key in keys]
        both = np.flatnonzero(np.isfinite(at).all(axis=0))
        for key, found in zip(keys, at, strict=True):
            levels = pd.DataFrame({"level": both, "step": found[both].astype(int)})
            joined = levels.merge(measured[key], on="step")
            parts.append(joined.drop(columns="step").rename(columns={"level": "step"})[list(rows.columns)])
    return pd.concat(parts, ignore_index=True)


def _best_so_far(own: pd.DataFrame, steps: int) -> "pd.Series[float]":
    """By step."""
    values = own.set_index(pd.to_timedelta(own["step"], unit="s"))["value"]  # pandas' windows of a width want time
    smooth = values.rolling(f"{max(int(SMOOTHED * steps), 1)}s", center=True, closed="both").median()
    return smooth.cummax().set_axis(own["step"])


def _first_measured(
    course: "pd.Series[float]", grid: NDArray[np.float64], measured: NDArray[np.int64]
) -> NDArray[np.float64]:
    """The step measured first from where a course reaches each level; nan where it does not, or nothing is."""
    there = np.append(course.index.to_numpy(dtype=float), np.inf)[np.searchsorted(course.to_numpy(), grid)]
    return np.append(measured.astype(float), np.nan)[np.searchsorted(measured, there)]
