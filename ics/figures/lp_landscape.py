"""Figures 12 and 13: training and landscape with the ℓp normalisations, one column per network."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ics.analysis.load import Runs
from ics.figures import style
from ics.figures.catalogue import Figure
from ics.figures.curves import step_axis
from ics.figures.figure_runs import SEEDS, FigureRuns, find
from ics.figures.landscape_panels import PANELS, SHADES, SHARPNESS, draw_panel, fit, has_sharpness
from ics.figures.sheet import Sheet, row_label

ARMS = ("standard", "batch", "l1", "l2", "linf")
NEEDED = ("standard", "batch", "l1|l2|linf")
HOW_TO_READ = (
    "How to read: a column for each network, the same axes along each row. Below its training, the loss along the "
    "gradient g at several step lengths η ({lengths} times the learning rate): from the smallest to the largest loss "
    "met, by how much the gradient there differs from g, and the same per distance, the largest of the step lengths. "
    "If the other normalisations smooth the landscape as BatchNorm does, their columns look like BatchNorm's; the "
    "dotted line is 2 / learning rate, the edge of stability."
)


@dataclass(frozen=True)
class Which:
    """12 or 13.

    Attributes:
        number: of the figure.
        model: setting `model.name`.
        rate: learning rate.
        lengths: the paper's step lengths, in words.
        training: the quantity of the first row.
        label: of its axis.
    """

    number: str
    model: str
    rate: float
    lengths: str
    training: str
    label: str


VGG = Which("12", "vgg", 0.1, "½ to 4", "train_accuracy_percent", "(a) training\naccuracy (%)")
DLN = Which("13", "deep_linear", 1e-6, "1/100 to 30", "train_loss", "(a) training loss")
_ROWS = ("(b) loss\nalong the gradient", "(c) gradient\npredictiveness", "(d) effective\nβ-smoothness")


def draw(which: Which, runs: Runs, folder: Path) -> list[Path]:
    """One figure per scale of the runs there are."""
    files: list[Path] = []
    for found in find(runs, which.number, which.model, ("training", "landscape"), ARMS, (which.rate,), NEEDED):
        with style.style():
            files += style.save(_figure(which, found).figure, folder / f"fig{which.number}_{found.scale.slug}")
    return files


FIG12 = Figure("fig12", "fig5_vgg", HOW_TO_READ.format(lengths=VGG.lengths), partial(draw, VGG), "scale=cpu")
FIG13 = Figure("fig13", "fig5_dln", HOW_TO_READ.format(lengths=DLN.lengths), partial(draw, DLN))


def _figure(which: Which, runs: FigureRuns) -> Sheet:
    arms, others = runs.handles()
    others.append(Line2D([], [], label="2 / learning rate", **style.IDEAL))
    if has_sharpness(runs, runs.arms, which.rate):
        others.append(Line2D([], [], color="#444444", label="largest eigenvalue of the Hessian", **SHARPNESS))
    notes = [HOW_TO_READ.format(lengths=which.lengths), SEEDS, SHADES]
    if which.model == "vgg":
        notes.append("The paper's loss contains an ℓ₂ penalty of about 2 at the start, ours does not.")
    sheet = Sheet(
        f"Figure {which.number}. {runs.scale.title}, lr {style.number(which.rate)}",
        [arms, others],
        " ".join(notes),
        body=5.4,
    )
    grid = sheet.grid(4, len(runs.arms), wspace=0.1, hspace=0.14, left=0.11)
    for row in range(4):
        panels = [sheet.figure.add_subplot(grid[row, column]) for column in range(len(runs.arms))]
        for axes, arm in zip(panels, runs.arms, strict=True):
            if row == 0:
                _training(axes, which, runs, arm)
            else:
                draw_panel(axes, PANELS[row - 1], runs, (arm,), which.rate)
            step_axis(axes, runs.last_step, labelled=row == 3, ticks=2, beside=True)
        if row or which.model == "deep_linear":
            fit(panels)
        for axes in panels[1:]:
            axes.tick_params(labelleft=False)
        row_label(panels[0], which.label if row == 0 else _ROWS[row - 1], x=0.055)
        if row == 0:
            for axes, arm in zip(panels, runs.arms, strict=True):
                axes.set_title(style.ARMS[arm].label)
    return sheet


def _training(axes: Axes, which: Which, runs: FigureRuns, arm: str) -> None:
    if which.training == "train_loss":
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 103)
    runs.draw(axes, which.training, arm, which.rate)
