"""Figures 4, 10, 11, 12 and 13: the loss and its gradient along the gradient, with and without normalisation."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import FuncFormatter, MaxNLocator

from ics.analysis.seeds import over_seeds
from ics.analysis.select import select
from ics.figures import style
from ics.figures.activations import evenly
from ics.figures.axes import fit, plain, step_axis
from ics.figures.catalogue import Figure
from ics.figures.curves import draw_paper, draw_ranges
from ics.figures.panels import SEEDS, TRAINING, curves, draw, legend, paper_figure, title, training_axis
from ics.figures.runs import LP, PAIR, Arms, PaperRuns
from ics.figures.sheet import Sheet, handle, row_label

SHARPNESS: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 2.6,
    "markeredgewidth": 0.7,
    "markerfacecolor": "white",
}
LENGTHS = {"vgg": "½ to 4", "deep_linear": "1/100 to 30"}
"""Setting `model.name` -> the step lengths, in learning rates."""

LINES = 50
"""At most so many steps are shown in Figure 11, evenly spread."""

_PANELS = (
    "How to read: at a training step with parameters θ and gradient g the loss is looked at along −g, at several step "
    "lengths η ({lengths} times the learning rate), without training. (a) From the smallest to the largest loss met; "
    "(b) by how much the gradient there differs from g; (c) the same per distance, the largest of the step lengths. A "
    "smoother landscape has narrower shades in (a), lower ones in (b) and a lower curve in (c); the dotted line is "
    "2 / learning rate, the edge of stability."
)
_COLUMNS = (
    "How to read: a column for each network, the same axes along each row. Below its training, the loss along the "
    "gradient g at several step lengths η ({lengths} times the learning rate): from the smallest to the largest loss "
    "met, by how much the gradient there differs from g, and the same per distance, the largest of the step lengths. "
    "If the other normalisations smooth the landscape as BatchNorm does, their columns look like BatchNorm's; the "
    "dotted line is 2 / learning rate, the edge of stability."
)
_DISTANCES = (
    "How to read: a line is one step of the training; it shows how far the gradient at a distance along −g is from the "
    "gradient g at the start, the median over seeds, coloured by the step. The lower and flatter a line, the better g "
    "predicts the gradient nearby. The horizontal axis is the step length η in learning rates."
)
_SHADES = "Light shades: as far as any seed goes, cut off at the axes' ends."
_PENALTY = "The paper's loss contains an ℓ₂ penalty of about 2 at the start, ours does not."


PANELS = {
    "loss_range": ("loss along the gradient", "loss: range over η"),
    "gradient_predictiveness_range": ("gradient predictiveness", "‖∇L(θ − ηg) − g‖₂: range over η"),
    "effective_beta_smoothness": ("effective β-smoothness", "largest ‖∇L(θ − ηg) − g‖₂ / (η‖g‖₂)"),
}
"""Of `QUANTITIES` -> the panel's title, and the label of its axis."""


def draw_panel(axes: Axes, quantity: str, runs: PaperRuns, arms: Sequence[str]) -> None:
    """One panel of some arms, logarithmic; its range of values is set by `fit`."""
    (rate,) = runs.rates
    axes.set_yscale("log")
    ours, papers = curves(runs, quantity, rate, arms=arms)
    if "low" in ours:
        draw_ranges(axes, ours)
        for edge in ("low", "high"):
            draw_paper(axes, papers, edge, runs.last_step)
        return
    draw(axes, runs, quantity, rate, arms=arms)
    axes.axhline(2 / rate, **style.IDEAL)
    ratio = runs.ours("edge_ratio", rate)
    for arm, own in over_seeds(ratio[ratio["arm"].isin(arms)], "value", ["arm"]).groupby("arm"):
        axes.plot(own["step"], own["median"] * 2 / rate, color=style.COLOURS[str(arm)], zorder=3, **SHARPNESS)


def _sheet(number: str, columns: bool, runs: PaperRuns) -> Sheet:
    """Figure 4 or 10, or with a column for each network 12 or 13."""
    (rate,) = runs.rates
    others = [handle("2 / learning rate", **style.IDEAL)]
    if len(runs.ours("edge_ratio", rate)):
        others.append(handle("largest eigenvalue of the Hessian", **SHARPNESS))
    how_to_read = (_COLUMNS if columns else _PANELS).format(lengths=LENGTHS[runs.model])
    notes = " ".join([how_to_read, SEEDS, _SHADES, *([_PENALTY] if runs.scale.lacks_penalty else [])])
    sheet = Sheet(title(number, runs), legend(runs, *others), notes, body=5.4 if columns else 2.3)
    (_column_for_each if columns else _side_by_side)(sheet, runs)
    return sheet


def _side_by_side(sheet: Sheet, runs: PaperRuns) -> None:
    grid = sheet.grid(1, 3, wspace=0.36)
    for i, (letter, (quantity, (name, label))) in enumerate(zip("abc", PANELS.items(), strict=True)):
        axes = sheet.add_subplot(grid[0, i])
        draw_panel(axes, quantity, runs, runs.arms)
        fit([axes])
        step_axis(axes, runs.last_step, labelled=True)
        axes.set_title(f"({letter}) {name}", loc="left")
        axes.set_ylabel(label)


def _column_for_each(sheet: Sheet, runs: PaperRuns) -> None:
    trained, _ = TRAINING[runs.model]
    training = {"vgg": "(a) training\naccuracy (%)", "deep_linear": "(a) training loss"}[runs.model]
    labels = (training, "(b) loss\nalong the gradient", "(c) gradient\npredictiveness", "(d) effective\nβ-smoothness")
    grid = sheet.grid(4, len(runs.arms), wspace=0.1, hspace=0.14, left=0.11)
    for row, (quantity, label) in enumerate(zip((trained, *PANELS), labels, strict=True)):
        panels = [sheet.add_subplot(grid[row, column]) for column in range(len(runs.arms))]
        for axes, arm in zip(panels, runs.arms, strict=True):
            if row:
                draw_panel(axes, quantity, runs, [arm])
            else:
                training_axis(axes, quantity)
                draw(axes, runs, quantity, runs.rates[0], arms=[arm])
                axes.set_title(style.ARMS[arm].label)
            step_axis(axes, runs.last_step, labelled=row == len(PANELS), ticks=2, beside=True)
            axes.tick_params(labelleft=axes is panels[0])
        if panels[0].get_yscale() == "log":
            fit(panels)
        row_label(panels[0], label, x=0.05)


def _distances(runs: PaperRuns) -> Sheet:
    sheet = Sheet(title("11", runs), [], _DISTANCES, body=2.5, above=0.35)
    grid = sheet.grid(1, len(runs.arms) + 1, width_ratios=[*[1] * len(runs.arms), 0.03], wspace=0.12, right=0.92)
    # The last yellows of viridis are lost on white.
    colours = sns.blend_palette(sns.color_palette("viridis", 256)[:225], as_cmap=True)
    norm = Normalize(0, runs.last_step)
    lines = gradient_distances(runs)
    panels: list[Axes] = []
    for j, arm in enumerate(runs.arms):
        axes = sheet.add_subplot(grid[0, j], sharey=panels[0] if panels else None)
        own = lines[lines["arm"] == arm]
        axes.set_yscale("log")
        axes.set(xlabel="step length η / learning rate", ylabel="‖∇L(θ − ηg) − g‖₂", title=runs.label(arm))
        sns.lineplot(
            own, x="factor", y="gradient_distance", hue="step", palette=colours, hue_norm=norm, estimator=None,
            linewidth=0.7, legend=False, ax=axes,
        )  # fmt: skip
        axes.set_xticks(sorted(own["factor"].unique()))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda factor, _: plain(factor)))
        axes.label_outer()
        panels.append(axes)
    place = sheet.add_subplot(grid[0, -1])
    bar = sheet.colorbar(
        ScalarMappable(norm, colours),
        cax=place,
        label="training step",
        format="{x:,.0f}",
        ticks=MaxNLocator(6, integer=True),
    )
    bar.ax.grid(visible=False)
    bar.outline.set_linewidth(0.4)
    return sheet


def gradient_distances(runs: PaperRuns) -> pd.DataFrame:
    """The median over seeds of the distance of gradients, by arm, for at most `LINES` steps and every step length."""
    rows = select(runs.table("landscape"), lr=list(runs.rates), direction="gradient")
    rows = rows[rows["step"].isin(evenly(rows["step"].unique(), LINES)) & np.isfinite(rows["gradient_distance"])]
    medians: pd.DataFrame = rows.groupby(["arm", "step", "factor"], as_index=False)["gradient_distance"].median()
    return medians


def _landscape(number: str, experiment: str, model: str, arms: Arms, columns: bool = False) -> Figure:
    panels = "abcd" if columns else "abc"
    return paper_figure(number, experiment, model, ["landscape"], arms, partial(_sheet, number, columns), panels)


FIG4 = _landscape("4", "fig4", "vgg", PAIR)
FIG10 = _landscape("10", "fig10", "deep_linear", PAIR)
FIG11 = paper_figure("11", "fig4", "vgg", ["landscape"], PAIR, _distances)
FIG12 = _landscape("12", "fig5_vgg", "vgg", LP, columns=True)
FIG13 = _landscape("13", "fig5_dln", "deep_linear", LP, columns=True)
