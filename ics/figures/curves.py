"""Curves over training steps, as every figure draws them: medians over the seeds with their bands."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from ics.analysis.seeds import over_seeds
from ics.figures import style

POINTS = 200
"""At most so many points per curve, the paper's own density; single steps are left out, never averaged."""


def thinned(rows: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """The first recorded step of every stretch of 1, 2, 5, 10, … steps, so that at most `POINTS` remain."""
    last = max(int(rows["step"].max()), 1)
    lengths = (m * 10**k for k in range(12) for m in (1, 2, 5))
    length = next(length for length in lengths if last / length <= POINTS)
    return rows[~rows[["run", *by]].assign(stretch=rows["step"] // length).duplicated()]


def draw_curves(
    axes: Axes,
    rows: pd.DataFrame,
    column: str = "value",
    hue: str = "arm",
    palette: Mapping[Any, Any] = style.COLOURS,
    dash_by: str | None = None,
    dashes: Mapping[Any, tuple[float, ...]] = MappingProxyType({}),
    **line: Any,
) -> None:
    """Median and band over the seeds of every arm; a cross where a run diverged, a dot for a point on its own.

    Not seaborn's: its medians take a hundred times as long, and its lines go on over gaps.

    Args:
        axes: where to; its scale is set already.
        rows: one per run, step and curve; nothing is drawn where there are none.
        column: what is drawn.
        hue: the column that tells curves apart by colour.
        palette: its values -> colours.
        dash_by: a column that tells curves apart by their dashes.
        dashes: its values -> lengths of dashes and gaps in widths of the line; nothing for a solid one.
        line: changes to the lines' style.
    """
    if rows.empty:
        return
    by = list(dict.fromkeys([hue, dash_by or hue]))
    rows = rows[["run", "status", "step", *by, column]]  # what is done with many columns takes several times as long
    log = axes.get_yscale() == "log"
    for key, curve in over_seeds(thinned(rows, by), column, by).groupby(by, sort=False):
        colour = palette[key[0]]
        if not log or (curve["high"] > 0).any():
            axes.fill_between(curve["step"], curve["low"], curve["high"], color=colour, **style.BAND)
        dash = {"linestyle": (0, dashes[key[-1]])} if dash_by and dashes[key[-1]] else {}
        _draw_line(axes, curve["step"], curve["median"], color=colour, **dash, **line)
    _mark_ends(axes, rows, column, hue, palette)


def draw_ranges(axes: Axes, rows: pd.DataFrame) -> None:
    """Ranges over training: between the medians of their edges over the seeds, and lighter as far as any seed goes."""
    if rows.empty:
        return
    rows = rows[["run", "status", "step", "arm", "low", "high"]]
    for arm, own in thinned(rows).groupby("arm"):
        low, high = (over_seeds(own, edge, ["arm"]) for edge in ("low", "high"))
        colour = style.COLOURS[str(arm)]
        axes.fill_between(low["step"], low["low"], high["high"], color=colour, alpha=0.13, linewidth=0)
        axes.fill_between(low["step"], low["median"], high["median"], color=colour, alpha=0.3, linewidth=0)
        for edge in (low, high):
            _draw_line(axes, edge["step"], edge["median"], color=colour, linewidth=0.45)
    _mark_ends(axes, rows, "high", "arm", style.COLOURS)


def _draw_line(axes: Axes, steps: pd.Series, medians: pd.Series, **line: Any) -> None:
    """A line that breaks where there is no median; what cannot be on a logarithmic axis is none."""
    there = (medians > 0 if axes.get_yscale() == "log" else medians.notna()).to_numpy()
    ends = np.flatnonzero(np.diff(there, prepend=False, append=False))
    for start, stop in zip(ends[::2], ends[1::2], strict=True):
        x, y = steps.iloc[start:stop], medians.iloc[start:stop]
        axes.plot(x, y, **line)
        if len(x) == 1:
            axes.scatter(x, y, color=line["color"], s=7, linewidth=0, zorder=2.1)


def _mark_ends(axes: Axes, rows: pd.DataFrame, column: str, hue: str, palette: Mapping[Any, Any]) -> None:
    """Crosses at the last finite values of runs that diverged."""
    ends = rows[(rows["status"] == "diverged") & np.isfinite(rows[column])].drop_duplicates("run", keep="last")
    if len(ends):
        axes.scatter(ends["step"], ends[column], c=list(ends[hue].map(palette)), marker="x", s=25, linewidth=1.4)


def draw_paper(axes: Axes, rows: pd.DataFrame, column: str, last_step: int) -> None:
    """The paper's curves up to a step, one for each arm, on axes whose scale is set already."""
    log = axes.get_yscale() == "log"
    rows = rows[rows[column] > 0] if log else rows.dropna(subset=[column])
    for arm, own in rows.groupby("arm", sort=False):
        steps, values = clipped(own["step"].to_numpy(), own[column].to_numpy(), last_step, log)
        axes.plot(steps, values, color=style.darker(style.COLOURS[str(arm)]), **style.PAPER)


def clipped(
    steps: NDArray[np.int64], values: NDArray[np.float64], last_step: int, log: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """A curve up to a step, where its line is cut: lines are straight as drawn."""
    end = min(last_step, int(steps[-1]))
    cut = np.interp(end, steps, np.log(values) if log else values)
    inside = steps < end
    return np.append(steps[inside], end), np.append(values[inside], np.exp(cut) if log else cut)
