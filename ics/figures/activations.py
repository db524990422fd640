"""Figures 6, 8 and 9: activations over training, and how stable their distributions are."""

import textwrap
from collections.abc import Sequence
from functools import partial

from matplotlib.gridspec import GridSpecBase

from ics.analysis.measured import ALL_UNITS
from ics.figures import style
from ics.figures.axes import fit, step_axis
from ics.figures.axes import rate as written
from ics.figures.beside_paper import LP, NOISE, PAIR, BesidePaper, PaperRuns, draw, layer_name, legend
from ics.figures.catalogue import Figure
from ics.figures.ridges import draw_ridges
from ics.figures.scale_runs import SEEDS, at_rate
from ics.figures.sheet import Sheet, arm_handles, row_label

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


def draw_histograms(
    sheet: Sheet, grid: GridSpecBase, runs: PaperRuns, papers: Sequence[int], rate: float, label_x: float = 0.03
) -> None:
    """Panels of histograms over training: one row per layer of the paper, one column per arm.

    Args:
        sheet: on which.
        grid: with at least so many rows and columns.
        runs: with their arms.
        papers: the paper's layer numbers.
        rate: learning rate.
        label_x: where the layers' names stand, as a share of the sheet's width.
    """
    rows = runs.table("histogram")
    rows = rows[(rows["unit"] == ALL_UNITS) & at_rate(rows["optimizer.lr"], [rate])]
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
    title = f"Figure {number}. {runs.scale.title}, lr {written(runs.rates[0])}"
    sheet = Sheet(title, [arm_handles(runs)], how_to_read, body)
    grid = sheet.grid(len(layers), len(runs.arms), left=0.115, wspace=0.08, hspace=0.28)
    draw_histograms(sheet, grid, runs, layers, runs.rates[0])
    return sheet


def _stability(part: str, rows: Sequence[tuple[str, str]], how_to_read: str, runs: PaperRuns) -> Sheet:
    """A row of panels for every quantity, with its label; a column for every layer."""
    (rate,) = runs.rates
    layers = runs.layers((2, 9, 13), runs.measured.curve(rows[0][0]))
    entries = legend(runs) if len(runs.paper) else [arm_handles(runs)]
    title = f"Figure {part}. {runs.scale.title}, lr {written(rate)}"
    sheet = Sheet(title, entries, f"{how_to_read} {SEEDS}", body=3.4)
    grid = sheet.grid(len(rows), len(layers), wspace=0.12, hspace=0.1)
    for i, (quantity, label) in enumerate(rows):
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


FIG6 = Figure(
    "fig6",
    "fig5_vgg",
    _LP_HOW,
    BesidePaper("fig6", ["6"], "vgg", ("training", "histogram"), LP, (0.1,)),
    partial(_histograms, "6", (11,), 1.9, _LP_HOW),
    "scale=cpu",
)
FIG8A = Figure(
    "fig8a",
    "fig2",
    _STEP,
    BesidePaper("fig8a", ["8a"], "vgg", ("training", "activations"), NOISE, (0.1,)),
    partial(
        _stability,
        "8(a)",
        (
            ("activation_mean_step_change", "|μ(t + 1) − μ(t)|"),
            ("activation_variance_step_change", "|σ²(t + 1) − σ²(t)|"),
        ),
        _STEP,
    ),
    "scale=cpu",
)
FIG8B = Figure(
    "fig8b",
    "fig2",
    _DRIFT,
    BesidePaper("fig8b", ["8b"], "vgg", ("training", "moments"), NOISE, (0.1,)),
    partial(
        _stability,
        "8(b)",
        (("activation_mean_drift", "|μ(t) − μ(0)|"), ("activation_variance_drift", "|σ²(t) − σ²(0)|")),
        _DRIFT,
    ),
    "scale=cpu",
)
FIG9 = Figure(
    "fig9",
    "fig10",
    _DLN_HOW,
    BesidePaper("fig9", ["9"], "deep_linear", ("training", "histogram"), PAIR, (1e-6,)),
    partial(_histograms, "9", (1, 11, 24), 4.6, _DLN_HOW),
)
