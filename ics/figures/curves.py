"""Curves over training steps, as every figure draws them: seaborn's lines on frames of medians, with their bands."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
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
    dashes: Mapping[str, tuple[float, ...] | str] | None = None,
    **line: Any,
) -> None:
    """Median and band over the seeds of every arm; a cross where a run diverged, a dot for a point on its own.

    The medians are taken here and not by seaborn, whose own take a hundred times as long and close the gaps.

    Args:
        axes: where to; its scale is set already.
        rows: one per run, step and curve; nothing is drawn where there are none.
        column: what is drawn.
        hue: the column that tells curves apart by colour.
        palette: its values -> colours.
        dash_by: a column that tells curves apart by their dashes.
        dashes: its values -> dashes, as of seaborn.
        line: changes to the lines' style.
    """
    if rows.empty:
        return
    by = list(dict.fromkeys([hue, dash_by or hue]))
    rows = rows[["run", "status", "step", *by, column]]  # what is done with many columns takes several times as long
    table = over_seeds(thinned(rows, by), column, by)
    for key, curve in table.groupby(hue, sort=False):
        for _, own in curve.groupby(by, sort=False):
            if axes.get_yscale() == "linear" or (own["high"] > 0).any():
                axes.fill_between(own["step"], own["low"], own["high"], color=palette[key], **style.BAND)
    semantics = {"hue": hue, "palette": palette, "legend": False, "ax": axes}
    _draw_lines(axes, table, by, semantics | ({"style": dash_by, "dashes": dashes} if dash_by else {}) | line)
    _mark_ends(axes, rows, column, semantics)


def draw_ranges(axes: Axes, rows: pd.DataFrame) -> None:
    """Ranges over training: between the medians of their edges over the seeds, and lighter as far as any seed goes."""
    if rows.empty:
        return
    rows = rows[["run", "status", "step", "arm", "low", "high"]]
    long = thinned(rows).melt(["run", "arm", "step"], ["low", "high"], "edge", "value")
    table = over_seeds(long, "value", ["arm", "edge"])
    for arm, own in table.groupby("arm", sort=False):
        low, high = own[own["edge"] == "low"], own[own["edge"] == "high"]
        shade: dict[str, Any] = {"color": style.COLOURS[str(arm)], "linewidth": 0}
        axes.fill_between(low["step"], low["low"], high["high"], alpha=0.13, **shade)
        axes.fill_between(low["step"], low["median"], high["median"], alpha=0.3, **shade)
    semantics = {"hue": "arm", "palette": style.COLOURS, "legend": False, "ax": axes}
    _draw_lines(axes, table, ["arm", "edge"], semantics | {"linewidth": 0.45})
    _mark_ends(axes, rows, "high", semantics)


def _draw_lines(axes: Axes, table: pd.DataFrame, by: Sequence[str], how: Mapping[str, Any]) -> None:
    """Lines that break where there is no median; what cannot be on a logarithmic axis is none."""
    if axes.get_yscale() == "log":
        table = table.assign(median=table["median"].where(table["median"] > 0))
    # seaborn leaves missing values out and would draw on over them: what lies between two of them is a line of its own.
    gaps = table["median"].isna().groupby([table[name] for name in by]).cumsum()
    table = table.assign(stretch=table.groupby([*by, gaps], sort=False).ngroup()).dropna(subset=["median"])
    if table.empty:
        return
    axes.set(xlabel=axes.get_xlabel() or " ", ylabel=axes.get_ylabel() or " ")  # else seaborn looks for words
    sns.lineplot(table, x="step", y="median", units="stretch", estimator=None, sort=False, **how)
    lonely = table[~table.duplicated("stretch", keep=False)]
    if len(lonely):
        colours = lonely[how["hue"]].map(how["palette"])
        axes.scatter(lonely["step"], lonely["median"], c=list(colours), s=7, linewidth=0, zorder=2.1)


def _mark_ends(axes: Axes, rows: pd.DataFrame, column: str, how: Mapping[str, Any]) -> None:
    """Crosses at the last finite values of runs that diverged."""
    ends = rows[(rows["status"] == "diverged") & np.isfinite(rows[column])].drop_duplicates("run", keep="last")
    if len(ends):
        sns.scatterplot(ends, x="step", y=column, marker="x", s=25, linewidth=1.4, **how)


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
