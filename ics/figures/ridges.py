"""Histograms over training as ridgelines: one outline per step, the first on top."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from ics.analysis.histograms import Pooled, pooled
from ics.figures.axes import inner_ticks, plain

RIDGES = 11
"""At most so many per panel, evenly spread over the steps there are."""

OVERLAP = 2.2
"""Height of a ridge in distances between two of them."""


def draw_ridges(axes: Axes, rows: pd.DataFrame, colour: str, labelled: bool) -> None:
    """One panel.

    Args:
        axes: where to.
        rows: of the table `histogram`: one arm, layer and learning rate, several seeds.
        colour: of the arm.
        labelled: whether the steps are written beside the ridges.
    """
    steps = evenly(rows["step"].unique(), RIDGES)
    ridges = [pooled(rows[rows["step"] == step]) for step in steps]
    low, high = common_range(ridges)
    x = np.linspace(low, high, 400)
    shades = sns.light_palette(colour, len(ridges) + 3)[3:]
    for number, (ridge, shade) in enumerate(zip(ridges, shades, strict=True)):
        base = len(ridges) - 1 - number
        y = ridge.at(x)
        top = base + OVERLAP * y / max(y.max(), 1e-300)
        axes.fill_between(x, base, top, color=shade, linewidth=0, zorder=2 + 0.01 * number)
        axes.plot(x, top, color="white", linewidth=0.6, zorder=2.005 + 0.01 * number)
    axes.set_xlim(low, high)
    axes.set_ylim(-0.15, len(ridges) - 1 + OVERLAP + 0.1)
    marks = sorted({0, len(steps) // 2, len(steps) - 1})
    axes.set_yticks([len(steps) - 1 - mark for mark in marks])
    axes.set_yticklabels([f"{steps[mark]:,}" for mark in marks] if labelled else [])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_xticks(inner_ticks(low, high))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))


def evenly(steps: Iterable[int], most: int) -> list[int]:
    """At most so many of the steps, evenly spread, the first and the last among them."""
    there = sorted(int(step) for step in steps)
    places = np.unique(np.linspace(0, len(there) - 1, min(most, len(there))).round().astype(int))
    return [there[place] for place in places]


def common_range(ridges: Sequence[Pooled]) -> tuple[float, float]:
    """A range in which most ridges are seen whole: the ends are medians over the ridges, and hold 99 % of each."""
    ends = np.array([ridge.quantiles(0.005, 0.995) for ridge in ridges])
    low, high = float(np.quantile(ends[:, 0], 0.3)), float(np.quantile(ends[:, 1], 0.7))
    room = 0.08 * (high - low) or 1.0
    return low - room, high + room
