"""The axes of a panel: training steps, logarithms, numbers as people write them, and heat maps."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backend_bases import FigureCanvasBase
from matplotlib.ticker import FixedLocator, Formatter, FuncFormatter, LogLocator, MaxNLocator, NullLocator

DECADES = 9
"""At most so many powers of ten on an axis; what lies above is cut off and said to be."""

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_ROUND = [1, 2, 5, 10]


def power_of_ten(value: float) -> str:
    """A number by its power of ten: 10⁻³, 2·10⁻⁴."""
    exponent = math.floor(math.log10(value) + 1e-9)
    mantissa = f"{value / 10.0**exponent:.3g}"
    ten = f"10{str(exponent).translate(_RAISED)}"
    return ten if mantissa == "1" else f"{mantissa}·{ten}"


def plain(value: float) -> str:
    """A number as people write it: 0.05, −200."""
    return Formatter.fix_minus(f"{value:g}")


def step_axis(axes: Axes, last_step: int, labelled: bool, ticks: int = 4, beside: bool = False) -> None:
    """Steps from 0 to the last, with about so many intervals between ticks; written out below the lowest axes only.

    With `beside` another panel follows so closely that the last step's number would touch its first.
    """
    axes.set_xlim(-0.02 * last_step, 1.01 * last_step)
    if beside:
        axes.set_xticks(_early_ticks(last_step, ticks))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=True, steps=_ROUND))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    axes.set_xlabel("training step" if labelled else "")
    axes.tick_params(labelbottom=labelled)


def _early_ticks(last_step: int, ticks: int) -> list[float]:
    """Round steps from 0 on that stay away from the last one; 0 and another at least, where there is room."""
    early: list[float] = [0.0]
    for count in range(ticks, ticks + 4):
        found = MaxNLocator(count, integer=True, steps=_ROUND).tick_values(0, last_step)
        early = [float(step) for step in found if 0 <= step <= 0.86 * last_step]
        if len(early) > 1:
            break
    return early


def plain_ticks(axis: Axis, values: Sequence[float]) -> None:
    """Ticks at some numbers of a logarithmic axis, and nowhere else."""
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: plain(value)))
    axis.set_minor_locator(NullLocator())


def log_ticks(axes: Axes) -> None:
    """Few and short numbers on a vertical axis whose range is set: powers of ten, or what lies between them."""
    low, high = axes.get_ylim()
    wide, room = high / low, min(max(axes.yaxis.get_tick_space() - 1, 3), 9)
    between = (1, 2, 5) if wide < 100 else (1, 3) if wide < 300 else (1,)
    even = [step for step in MaxNLocator(3, steps=_ROUND).tick_values(low, high) if low <= step <= high]
    steps = FixedLocator(even) if wide < 5 else LogLocator(subs=between, numticks=room)
    short = plain if low >= 1e-3 and high < 1e4 and wide < 300 else power_of_ten
    axes.yaxis.set_major_locator(steps)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.yaxis.set_minor_locator(NullLocator())


def fit(panels: Sequence[Axes]) -> None:
    """Gives logarithmic panels of one quantity one range, at most `DECADES` long, that shows nearly all lines."""
    heights = [np.asarray(line.get_ydata(), dtype=float) for axes in panels for line in axes.get_lines()]
    values = np.concatenate([np.zeros(0), *heights])
    values = values[np.isfinite(values) & (values > 0)]
    if not len(values):
        return
    low, wanted = float(values.min()), float(values.max())
    # Rare excesses do not set the scale: the upper end is where 99 % of the values lie, if that is much lower.
    bulk = float(np.quantile(values, 0.99))
    high = wanted if wanted < 30 * bulk and wanted / low < 10**DECADES else 3 * bulk
    low = max(low, high / 10**DECADES)
    for axes in panels:
        axes.set_ylim(low / 1.4, high * 1.4)


def inner_ticks(low: float, high: float) -> list[float]:
    """Two or three round numbers well inside a range, so that neighbouring panels' labels stay apart."""
    room = 0.12 * (high - low)
    for few in (3, 4, 5, 6):
        ticks = MaxNLocator(few, steps=_ROUND).tick_values(low, high)
        inside = [float(tick) for tick in ticks if low + room <= tick <= high - room]
        if len(inside) > 1:
            return inside if len(inside) < 4 else [inside[0], inside[-1]]
    return inside


def heat_map(table: pd.DataFrame, axes: Axes, **options: Any) -> None:
    """Seaborn's heat map without ticks and without its drawing the whole figure to see whether their labels overlap."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    canvas = figure.canvas
    FigureCanvasBase(figure)  # draws nothing
    sns.heatmap(table, ax=axes, xticklabels=False, yticklabels=False, **({"rasterized": True} | options))
    figure.set_canvas(canvas)
    axes.set(xlabel="", ylabel="")


def cell_ticks(axis: Axis, names: "pd.Index[Any]", about: int) -> None:
    """About so many of the cells of a heat map by name."""
    places = range(0, len(names), max(1, len(names) // about))
    axis.set_ticks([place + 0.5 for place in places], [f"{names[place]}" for place in places])
