"""Figure 3: training, and the internal covariate shift of two layers, with and without BatchNorm.

(a) VGG: accuracy; (b) deep linear network: loss. One row per learning rate; for each layer ‖G − G′‖₂ above
the cosine.
"""

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
from ics.figures.sheet import Sheet, row_label

ARMS = ("standard", "batch", "noisy_batch")


@dataclass(frozen=True)
class Part:
    """(a) or (b): what tells the two apart.

    Attributes:
        letter: as in the paper.
        model: setting `model.name`.
        stem: how its file names begin.
        layers: the paper's, counted from 1.
        quantity: of the left column.
        label: of its axis.
    """

    letter: str
    model: str
    stem: str
    layers: tuple[int, int]
    quantity: str
    label: str


VGG = Part("a", "vgg", "fig3_vgg", (5, 10), "train_accuracy_percent", "training accuracy (%)")
DLN = Part("b", "deep_linear", "fig3_dln", (9, 17), "train_loss", "training loss Σ‖Wx − Ax‖²")

HOW_TO_READ = (
    "How to read: G is the gradient of a layer's weights, G′ the same gradient once the earlier layers have "
    "been updated. Without internal covariate shift ‖G − G′‖₂ would be 0 and the cosine 1 (dotted). If "
    "BatchNorm reduced the shift, its curves would lie lower on the ℓ₂ axes and nearer to 1 on the cosine "
    "axes than the standard network's."
)


def draw(part: Part, runs: Runs, folder: Path) -> list[Path]:
    """One figure per scale of the runs there are."""
    files: list[Path] = []
    for found in find(runs, f"3{part.letter}", part.model, ("training", "shift"), ARMS, None, ("|".join(ARMS),)):
        with style.style():
            files += style.save(_figure(part, found).figure, folder / f"{part.stem}_{found.scale.slug}")
    return files


FIG3A = Figure("fig3a", "fig3_vgg", HOW_TO_READ, partial(draw, VGG), "scale=cpu")
FIG3B = Figure("fig3b", "fig3_dln", HOW_TO_READ, partial(draw, DLN))


def _figure(part: Part, runs: FigureRuns) -> Sheet:
    arms, others = runs.handles()
    notes = [HOW_TO_READ, SEEDS]
    if others and others[0].get_linestyle() != "none":
        notes.append(f"The paper's ℓ₂ axis for layer #{part.layers[1]} has no numbers, so its curve there is left out.")
    others.append(Line2D([], [], label="ideal", **style.IDEAL))
    title = f"Figure 3({part.letter}). {runs.scale.title}"
    sheet = Sheet(title, [arms, others], " ".join(notes), body=2.6 * len(runs.rates))
    layers = runs.layers(part.layers, runs.measured.curve("ics_l2"))
    grid = sheet.grid(
        len(runs.rates), 1 + len(layers), left=0.1, width_ratios=[1.05] + [1] * len(layers),
        wspace=0.36, hspace=0.13,
    )  # fmt: skip
    cosines: list[Axes] = []
    for i, rate in enumerate(runs.rates):
        lowest = i == len(runs.rates) - 1
        left = sheet.figure.add_subplot(grid[i, 0])
        if part.quantity == "train_loss":
            left.set_yscale("log")
        else:
            left.set_ylim(0, 103)
        _draw(left, runs, part.quantity, rate, None, stepped=lowest)
        row_label(left, part.label, x=0.052)
        middle = left.get_position().y0 + left.get_position().height / 2
        named = f"learning rate {style.number(rate)}"
        sheet.figure.text(0.012, middle, named, rotation=90, va="center", weight="bold", fontsize=8)
        for j, numbers in enumerate(layers.items(), start=1):
            pair = grid[i, j].subgridspec(2, 1, hspace=0.12)
            above, below = sheet.figure.add_subplot(pair[0]), sheet.figure.add_subplot(pair[1])
            above.set_yscale("log")
            below.axhline(1, **style.IDEAL)
            _draw(above, runs, "ics_l2", rate, numbers, stepped=False)
            _draw(below, runs, "ics_cosine", rate, numbers, stepped=lowest)
            for axes, label in ((above, "‖G − G′‖₂"), (below, "cos∠(G, G′)")):
                axes.set_ylabel(label)
                axes.yaxis.set_label_coords(-0.26, 0.5)
            cosines.append(below)
            if i == 0:
                above.set_title(_layer_title(runs, *numbers))
    # One range for all cosines: all of -1 to 1, or without the lower part if nothing reaches into it.
    upper_only = min(axes.dataLim.y0 for axes in cosines) > -0.5
    for axes in cosines:
        axes.set_ylim((-0.55, 1.08) if upper_only else (-1.1, 1.12))
        axes.set_yticks([-0.5, 0, 0.5, 1] if upper_only else [-1, 0, 1])
    return sheet


def _draw(
    axes: Axes, runs: FigureRuns, quantity: str, rate: float, layers: tuple[int, int] | None, stepped: bool
) -> None:
    for arm in ARMS:  # the paper's curve of an arm is there even if we have no run of it
        runs.draw(axes, quantity, arm, rate, layers)
    step_axis(axes, runs.last_step, labelled=stepped)


def _layer_title(runs: FigureRuns, papers: int, ours: int) -> str:
    names = runs.runs["shift"]
    mine = names[names["run"].isin(runs.scale.runs["run"]) & (names["layer_index"] == ours)]
    stands_for = "" if ours == papers else f" (paper: #{papers})"
    return f"Layer #{ours}, {mine['layer'].iloc[0]}{stands_for}"
