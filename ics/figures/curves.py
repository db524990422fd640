"""Curves over training steps, as every figure draws them."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ics.analysis.scales import Scale
from ics.analysis.seeds import over_seeds
from ics.figures import style

POINTS = 200
"""At most so many points per curve, the paper's own density; single steps are left out, never averaged."""


def of_scale(scale: Scale, table: pd.DataFrame) -> pd.DataFrame:
    """The scale's rows of a table, with the column `arm`."""
    rows = table[table["run"].isin(scale.runs["run"])]
    return rows.assign(arm=rows["arm"].astype(str))


def thinned(rows: pd.DataFrame) -> pd.DataFrame:
    """The first recorded step of every stretch of 1, 2, 5, 10, … steps, so that at most `POINTS` remain."""
    last = max(int(rows["step"].max()), 1)
    lengths = (m * 10**k for k in range(12) for m in (1, 2, 5))
    length = next(length for length in lengths if last / length <= POINTS)
    return rows[~rows.assign(stretch=rows["step"] // length).duplicated(["run", "stretch"])]


def draw_curve(axes: Axes, rows: pd.DataFrame, column: str, colour: Any, **line: Any) -> None:
    """Median and band over the seeds; a cross where a run diverged.

    Args:
        axes: where to.
        rows: one per run and step; nothing is drawn where there are none.
        column: what is drawn.
        colour: of all of it.
        line: changes to the line's style.
    """
    if rows.empty:
        return
    table = over_seeds(thinned(rows), column)
    axes.fill_between(table["step"], table["low"], table["high"], color=colour, **style.BAND)
    axes.plot(table["step"], table["median"], color=colour, **(style.LINE | line))
    finite = rows[(rows["status"] == "diverged") & np.isfinite(rows[column])]
    ends = finite.drop_duplicates("run", keep="last")
    if len(ends):
        axes.plot(ends["step"], ends[column], color=colour, **style.DIVERGED)


def step_axis(axes: Axes, last_step: int, labelled: bool, ticks: int = 4, beside: bool = False) -> None:
    """Steps from 0 to the last; written out below the lowest axes only.

    Args:
        axes: of the panel.
        last_step: right end of the axis.
        labelled: whether the steps are written out.
        ticks: about so many intervals between ticks.
        beside: whether another panel follows so closely that the last step's number would touch its first.
    """
    axes.set_xlim(-0.02 * last_step, 1.01 * last_step)
    if beside:
        axes.set_xticks(_early_ticks(last_step, ticks))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    if labelled:
        axes.set_xlabel("training step")
    else:
        axes.tick_params(labelbottom=False)


def _early_ticks(last_step: int, ticks: int) -> list[float]:
    """Round steps from 0 on that stay away from the last one; 0 and another at least, where there is room."""
    early: list[float] = [0.0]
    for count in range(ticks, ticks + 4):
        found = MaxNLocator(count, integer=True, steps=[1, 2, 5, 10]).tick_values(0, last_step)
        early = [float(step) for step in found if 0 <= step <= 0.86 * last_step]
        if len(early) > 1:
            break
    return early


def arms_of(scale: Scale) -> list[str]:
    """The arms that a scale has runs of, in the order of `style.ARMS`."""
    present = set(scale.runs["arm"])
    return [arm for arm in style.ARMS if arm in present]


def seeds_of(runs: pd.DataFrame, arm: str) -> str:
    """An arm's label with its number of seeds."""
    count = runs[runs["arm"] == arm]["seed"].nunique()
    return f"{style.ARMS[arm].label} ({count} seed{'s' if count > 1 else ''})"


def draw_range(axes: Axes, rows: pd.DataFrame, colour: Any) -> None:
    """A range over training: between the medians of its two edges over the seeds, and lighter as far as any seed goes.

    Args:
        axes: where to.
        rows: one per run and step, with the columns low and high.
        colour: of all of it.
    """
    if rows.empty:
        return
    rows = thinned(rows)
    low, high = over_seeds(rows, "low"), over_seeds(rows, "high")
    axes.fill_between(low["step"], low["low"], high["high"], color=colour, alpha=0.13, linewidth=0)
    axes.fill_between(low["step"], low["median"], high["median"], color=colour, alpha=0.3, linewidth=0)
    for edge in (low, high):
        axes.plot(edge["step"], edge["median"], color=colour, **(style.LINE | {"linewidth": 0.45}))
    finite = rows[(rows["status"] == "diverged") & np.isfinite(rows["high"])].drop_duplicates("run", keep="last")
    if len(finite):
        axes.plot(finite["step"], finite["high"], color=colour, **style.DIVERGED)
