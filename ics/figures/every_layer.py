"""Every layer at every step: the cosine and ‖G − G′‖₂ of both networks as heat maps, and their difference."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Patch, Rectangle

from ics.analysis.load import Runs
from ics.figures import style
from ics.figures.axes import rate as written
from ics.figures.catalogue import Figure
from ics.figures.runs import PAIR, BesidePaper, PaperRuns
from ics.figures.sheet import Sheet

HOW_TO_READ = (
    "How to read: one row per layer, from the start of the training to its end; medians over the seeds. Left: both "
    "networks, darker where the gradient turns less or moves less far. Right: BatchNorm minus standard, over pairs of "
    "runs with the same seed; blue where the shift is smaller with BatchNorm, orange where it is larger, hatched where "
    "the seeds do not all agree on which. The first layer is left out: it has no shift."
)
RATES = {"vgg": (0.1, 0.01), "deep_linear": (1e-6, 1e-7)}
HATCH: dict[str, Any] = {"hatch": "/////", "edgecolor": "#555555", "linewidth": 0}
COLUMNS = 50
"""At most so many along the steps; a cell is the median of its steps."""

LESS, MORE = style.COLOURS["batch"], style.COLOURS["standard"]
DIVERGING = LinearSegmentedColormap.from_list("more-less", [MORE, "#F6B27F", "#FFFFFF", "#9DB4DA", LESS, "#0B1F45"])


def _figure(runs: PaperRuns) -> Sheet:
    layers = int(runs.measured.curve("ics_l2")["layer"].nunique())
    title = f"Every layer: {runs.scale.title}"
    height = 0.36 + 0.055 * max(layers, 9)
    hatched = Patch(facecolor="white", label="seeds disagree on the sign", **HATCH | {"linewidth": 0.5})
    sheet = Sheet(title, [[hatched]], HOW_TO_READ, body=2 * height * len(runs.rates), above=0.3)
    ratios = [1, 1, 0.045, 0.24, 1, 0.045]  # two networks and their scale, a gap, the difference and its scale
    grid = sheet.grid(2 * len(runs.rates), 6, left=0.115, right=0.93, width_ratios=ratios, wspace=0.07, hspace=0.18)
    for block, rate in enumerate(runs.rates):
        for number, (quantity, label) in enumerate(MEASURES.items()):
            row = 2 * block + number
            places = [sheet.add_subplot(grid[row, column]) for column in (0, 1, 2, 4, 5)]
            _row(places, binned(runs.ours(quantity, rate), runs.last_step, log=number == 1), label, number == 1)
            lowest = row == 2 * len(runs.rates) - 1
            for axes in (places[0], places[1], places[3]):
                _steps(axes, runs.last_step, lowest, beside=axes is places[0])
            if row == 0:
                for axes, name in zip((places[0], places[1], places[3]), NAMES, strict=True):
                    axes.set_title(name, fontsize=7.5)
            if number == 0:
                at = places[0].get_position()
                sheet.text(0.012, at.y0, f"learning rate {written(rate)}", rotation=90, va="center", fontsize=8.5)
    return sheet


MEASURES = {"ics_cosine": "cos∠(G, G′)", "ics_l2": "log₁₀ ‖G − G′‖₂"}
NAMES = ("standard", "BatchNorm", "BatchNorm − standard")


def binned(rows: pd.DataFrame, last_step: int, log: bool) -> pd.DataFrame:
    """A quantity in cells of the steps.

    Args:
        rows: of both arms, as from `Measured`.
        last_step: of the training.
        log: whether its logarithm is taken.

    Returns:
        One row per arm, seed and layer, a column per cell, named after its first step; without the first layer.
    """
    rows = rows[rows["layer"] > 1]
    width = max(1, -(-last_step // COLUMNS))
    values = rows["value"].astype(float)
    values = values.where(values > 0).transform(np.log10) if log else values
    keys = [rows["arm"], rows["seed"], rows["layer"], rows["step"] // width * width]
    cells: pd.DataFrame = values.groupby(keys).median().unstack()
    return cells


def _row(places: list[Axes], cells: pd.DataFrame, label: str, log: bool) -> None:
    """One measure at one rate: both networks with their scale, then the difference with its own."""
    arms = [cells.loc[[arm]].droplevel("arm") for arm in PAIR.shown]
    medians = [arm.groupby("layer").median() for arm in arms]
    each = arms[1].sub(arms[0]).dropna(how="all")
    both = np.concatenate([median.to_numpy().ravel() for median in medians])
    low, high = np.nanquantile(both, (0.01, 0.99))
    palette = sns.color_palette("mako_r" if not log else "mako", as_cmap=True)
    for axes, median in zip(places[:2], medians, strict=True):
        _map(axes, median, palette, (low, high), places[2], label)
    difference = each.groupby("layer").median()
    farthest = float(np.nanquantile(difference.abs(), 0.98)) if len(difference) else 1.0
    _map(places[3], difference, DIVERGING.reversed() if log else DIVERGING, (-farthest, farthest), places[4], label)
    signs = each.transform(np.sign).groupby("layer")
    disagree = signs.min().to_numpy() < signs.max().to_numpy()
    cells_apart = [Rectangle((column, row), 1, 1) for row, column in np.argwhere(disagree)]
    places[3].add_collection(PatchCollection(cells_apart, facecolor="none", **HATCH))
    places[0].set_ylabel("layer")
    places[1].set_yticks([])
    places[3].set_yticks([])


def _map(axes: Axes, values: pd.DataFrame, palette: object, limits: tuple[float, float], bar: Axes, label: str) -> None:
    low, high = limits
    sns.heatmap(values, ax=axes, cmap=palette, vmin=low, vmax=high, cbar_ax=bar, rasterized=True)
    axes.set(xlabel="", ylabel="")
    places = range(0, len(values), max(1, len(values) // 5))
    axes.set_yticks(
        [place + 0.5 for place in places], labels=[f"#{values.index[place]}" for place in places], rotation=0
    )
    bar.set_ylabel(label, fontsize=7)
    bar.tick_params(labelsize=6.5, length=2)


def _steps(axes: Axes, last_step: int, labelled: bool, beside: bool) -> None:
    """The first, middle and last step; not the last where another panel's first is so close that they would touch."""
    width = axes.get_xlim()[1]
    ticks = [0.0, 0.5] if beside else [0.0, 0.5, 1.0]
    axes.set_xticks([width * share for share in ticks])
    axes.set_xticklabels([f"{share * last_step:,.0f}" for share in ticks] if labelled else [], rotation=0)
    axes.set_xlabel("training step" if labelled else "")


def _find(runs: Runs) -> Iterator[tuple[str, PaperRuns]]:
    for model, rates in RATES.items():
        yield from BesidePaper("every_layer", (), model, ("shift",), PAIR, rates)(runs)


EVERY_LAYER = Figure("every_layer", "fig3_vgg", HOW_TO_READ, _find, _figure, "scale=cpu")
