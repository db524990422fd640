"""Figure 5: training with the ℓp normalisations; (a) VGG: accuracy, (b) deep linear network: loss."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes

from ics.analysis.load import Runs
from ics.figures import style
from ics.figures.catalogue import Figure
from ics.figures.curves import draw_curve, step_axis
from ics.figures.figure_runs import SEEDS, FigureRuns, find
from ics.figures.landscape_panels import fit
from ics.figures.sheet import Sheet

ARMS = ("standard", "batch", "l1", "l2", "linf")
NEEDED = ("standard", "batch", "l1|l2|linf")
HOW_TO_READ = (
    "How to read: left, all networks together; right, each with the paper's curve, on the same axes. If dividing by "
    "another norm of the activations trains as well as BatchNorm, which divides by their standard deviation, the "
    "curves on the left lie together, apart from the standard network's."
)


@dataclass(frozen=True)
class Part:
    """(a) or (b).

    Attributes:
        letter: as in the paper.
        model: setting `model.name`.
        rate: learning rate.
        quantity: what is shown.
        label: of its axis.
    """

    letter: str
    model: str
    rate: float
    quantity: str
    label: str


_VGG = Part("a", "vgg", 0.1, "train_accuracy_percent", "training accuracy (%)")
_DLN = Part("b", "deep_linear", 1e-6, "train_loss", "training loss Σ‖Wx − Ax‖²")


def draw(part: Part, runs: Runs, folder: Path) -> list[Path]:
    """One figure per scale of the runs there are."""
    files: list[Path] = []
    for found in find(runs, f"5{part.letter}", part.model, ("training",), ARMS, (part.rate,), NEEDED):
        with style.style():
            files += style.save(_figure(part, found).figure, folder / f"fig5{part.letter}_{found.scale.slug}")
    return files


FIG5A = Figure("fig5a", "fig5_vgg", HOW_TO_READ, partial(draw, _VGG), "scale=cpu")
FIG5B = Figure("fig5b", "fig5_dln", HOW_TO_READ, partial(draw, _DLN))


def _figure(part: Part, runs: FigureRuns) -> Sheet:
    sheet = Sheet(
        f"Figure 5({part.letter}). {runs.scale.title}, lr {style.number(part.rate)}",
        runs.handles(),
        f"{HOW_TO_READ} {SEEDS}",
        body=3.0,
        above=0.24,
    )
    halves = sheet.grid(1, 2, width_ratios=(1, 1.15), wspace=0.16)
    together = _axes(sheet.figure.add_subplot(halves[0, 0]), part)
    for arm in runs.arms:
        draw_curve(together, runs.of(part.quantity, arm, part.rate), "value", style.ARMS[arm].colour)
    step_axis(together, runs.last_step, labelled=True)
    together.set_ylabel(part.label)
    together.set_title("all")
    columns = (len(runs.arms) + 1) // 2
    grid = halves[0, 1].subgridspec(2, columns, wspace=0.12, hspace=0.28)
    small = []
    for number, arm in enumerate(runs.arms):
        axes = _axes(sheet.figure.add_subplot(grid[number // columns, number % columns]), part)
        runs.draw(axes, part.quantity, arm, part.rate)
        step_axis(axes, runs.last_step, labelled=number + columns >= len(runs.arms), ticks=2, beside=True)
        axes.tick_params(labelleft=number % columns == 0)
        axes.set_title(style.ARMS[arm].label)
        small.append(axes)
    if part.quantity == "train_loss":
        fit([together, *small])
    return sheet


def _axes(axes: Axes, part: Part) -> Axes:
    if part.quantity == "train_loss":
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 103)
    return axes
