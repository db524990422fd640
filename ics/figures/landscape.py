"""Figures 4 and 10: the loss landscape along the gradient, with and without BatchNorm."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.lines import Line2D

from ics.analysis.load import Runs
from ics.figures import style
from ics.figures.catalogue import Figure
from ics.figures.curves import step_axis
from ics.figures.figure_runs import SEEDS, FigureRuns, find
from ics.figures.landscape_panels import PANELS, SHADES, SHARPNESS, draw_panel, fit, has_sharpness
from ics.figures.sheet import Sheet, letter

ARMS = ("standard", "batch")
HOW_TO_READ = (
    "How to read: at a training step with parameters θ and gradient g the loss is looked at along −g, at several step "
    "lengths η ({lengths} times the learning rate), without training. (a) From the smallest to the largest loss met; "
    "(b) by how much the gradient there differs from g; (c) the same per distance, the largest of the step lengths. A "
    "smoother landscape has narrower shades in (a), lower ones in (b) and a lower curve in (c); the dotted line is "
    "2 / learning rate, the edge of stability."
)


@dataclass(frozen=True)
class Which:
    """4 or 10.

    Attributes:
        number: of the figure.
        model: setting `model.name`.
        rate: learning rate.
        lengths: the paper's step lengths, in words.
    """

    number: str
    model: str
    rate: float
    lengths: str


VGG = Which("4", "vgg", 0.1, "½ to 4")
DLN = Which("10", "deep_linear", 1e-6, "1/100 to 30")


def draw(which: Which, runs: Runs, folder: Path) -> list[Path]:
    """One figure per scale of the runs there are."""
    files: list[Path] = []
    for found in find(runs, which.number, which.model, ("training", "landscape"), ARMS, (which.rate,), ARMS):
        with style.style():
            files += style.save(_figure(which, found).figure, folder / f"fig{which.number}_{found.scale.slug}")
    return files


FIG4 = Figure("fig4", "fig4", HOW_TO_READ.format(lengths=VGG.lengths), partial(draw, VGG), "scale=cpu")
FIG10 = Figure("fig10", "fig10", HOW_TO_READ.format(lengths=DLN.lengths), partial(draw, DLN))


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
        body=2.3,
    )
    grid = sheet.grid(1, 3, wspace=0.36)
    for i, panel in enumerate(PANELS):
        axes = sheet.figure.add_subplot(grid[0, i])
        draw_panel(axes, panel, runs, runs.arms, which.rate)
        fit([axes])
        step_axis(axes, runs.last_step, labelled=True)
        letter(axes, f"({'abc'[i]}) {panel.title}")
        axes.set_ylabel(panel.label)
    return sheet
