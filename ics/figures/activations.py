"""Figures 6, 8 and 9: activations over training, and how stable their distributions are."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.gridspec import GridSpecBase
from matplotlib.ticker import FuncFormatter

from ics.analysis.histograms import Pooled
from ics.analysis.measured import ALL_UNITS
from ics.analysis.select import select
from ics.figures import style
from ics.figures.axes import fit, inner_ticks, plain, step_axis
from ics.figures.panels import SEEDS, arm_handles, draw, layer_name, legend, paper_figure, title
from ics.figures.runs import LP, NOISE, PAIR, PaperRuns
from ics.figures.sheet import Sheet, row_label

RIDGES = (
    "Each ridge is the distribution of all of a layer's activations in one training batch, before the non-linearity, "
    "the seeds pooled; time runs downwards, light to dark, and every ridge is drawn to the same height. Mind the "
    "horizontal axes: every panel has its own, in units of the activation."
)
_LP_HOW = (
    "How to read: do other normalisations than BatchNorm's also keep a layer's distribution from moving? " + RIDGES
)
_DLN_HOW = (
    "How to read: the deep linear network has no non-linearity; its layers' outputs are looked at after the norm, if "
    "there is one. " + RIDGES
)
_STEP = (
    "How to read: the change of a unit's mean μ and variance σ² (over the batch, height and width, before the "
    "non-linearity) from one training pass to the next, averaged over the layer's units: the lower, the more stable "
    "its distribution. Where the paper's curve is at 0, within the width of its line, it cannot be shown on a "
    "logarithmic axis."
)
_DRIFT = (
    "How to read: the distance of a unit's mean μ and variance σ² (over the batch, height and width, before the "
    "non-linearity) from those at the first step, averaged over units of the layer: the lower, the less its "
    "distribution has moved since the start of training. The paper's curves of this panel are not digitised."
)

_STEP_CHANGE = {
    "activation_mean_step_change": "|μ(t + 1) − μ(t)|",
    "activation_variance_step_change": "|σ²(t + 1) − σ²(t)|",
}
_START = {"activation_mean_drift": "|μ(t) − μ(0)|", "activation_variance_drift": "|σ²(t) − σ²(0)|"}

MOST_RIDGES = 11
"""At most so many per panel, evenly spread over the steps there are."""

OVERLAP = 2.2
"""Height of a ridge in distances between two of them."""


def draw_ridges(axes: Axes, rows: pd.DataFrame, colour: str, labelled: bool) -> None:
    """One arm, layer and rate of the table `histogram`; `labelled`: the steps are written beside the ridges."""
    steps = evenly(rows["step"].unique(), MOST_RIDGES)
    ridges = [Pooled(own) for _, own in rows[rows["step"].isin(steps)].groupby("step")]
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


def draw_histograms(
    sheet: Sheet, grid: GridSpecBase, runs: PaperRuns, papers: Sequence[int], rate: float, label_x: float = 0.03
) -> None:
    """Panels of histograms over training: one row per layer of the paper, one column per arm.

    The layers' names stand at `label_x`, a share of the sheet's width.
    """
    rows = select(runs.table("histogram"), unit=ALL_UNITS, lr=rate)
    rows = rows[["run", "arm", "layer_index", "step", "low", "high", "count"]]
    layers = runs.layers(papers, rows, "layer_index")
    for i, numbers in enumerate(layers.items()):
        for j, arm in enumerate(runs.arms):
            axes = sheet.add_subplot(grid[i, j])
            own = rows[(rows["layer_index"] == numbers[1]) & (rows["arm"] == arm)]
            if len(own):
                draw_ridges(axes, own, style.COLOURS[arm], labelled=j == 0)
            if i == 0:
                axes.set_title(textwrap.fill(style.ARMS[arm].label, 11), fontsize=7.5)
            if j == 0:
                row_label(axes, f"{layer_name(*numbers)}, step", x=label_x)
            if i == len(layers) - 1:
                axes.set_xlabel("activation")


def _histograms(number: str, layers: Sequence[int], body: float, how_to_read: str, runs: PaperRuns) -> Sheet:
    sheet = Sheet(title(number, runs), [arm_handles(runs)], how_to_read, body)
    grid = sheet.grid(len(layers), len(runs.arms), left=0.115, wspace=0.08, hspace=0.28)
    draw_histograms(sheet, grid, runs, layers, runs.rates[0])
    return sheet


def _stability(part: str, rows: Mapping[str, str], how_to_read: str, runs: PaperRuns) -> Sheet:
    """A row of panels for every quantity, with its label; a column for every layer."""
    (rate,) = runs.rates
    layers = runs.layers((2, 9, 13), runs.measured.curve(next(iter(rows))))
    sheet = Sheet(title(part, runs), legend(runs), f"{how_to_read} {SEEDS}", body=3.4)
    grid = sheet.grid(len(rows), len(layers), wspace=0.12, hspace=0.1)
    for i, (quantity, label) in enumerate(rows.items()):
        panels = [sheet.add_subplot(grid[i, j]) for j in range(len(layers))]
        for axes, numbers in zip(panels, layers.items(), strict=True):
            axes.set_yscale("log")
            draw(axes, runs, quantity, rate, numbers)
            step_axis(axes, runs.last_step, labelled=i == len(rows) - 1, beside=True)
            axes.tick_params(labelleft=axes is panels[0])
            axes.set_title("" if i else layer_name(*numbers))
        row_label(panels[0], label)
        fit(panels)
    return sheet


FIG6 = paper_figure("6", "fig5_vgg", "vgg", ["histogram"], LP, partial(_histograms, "6", (11,), 1.9, _LP_HOW))
FIG8A = paper_figure("8a", "fig2", "vgg", ["activations"], NOISE, partial(_stability, "8(a)", _STEP_CHANGE, _STEP))
FIG8B = paper_figure("8b", "fig2", "vgg", ["moments"], NOISE, partial(_stability, "8(b)", _START, _DRIFT))
FIG9 = paper_figure(
    "9", "fig10", "deep_linear", ["histogram"], PAIR, partial(_histograms, "9", (1, 11, 24), 4.6, _DLN_HOW)
)
