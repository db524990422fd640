"""Figure 3: training, and the internal covariate shift of two layers, with and without BatchNorm.

(a) VGG: accuracy; (b) deep linear network: loss. One row per learning rate; for each layer ‖G − G′‖₂ above
the cosine.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from ics.analysis.load import Runs
from ics.analysis.paper import paper_curves
from ics.analysis.scales import Scale, split_by_scale
from ics.analysis.seeds import BAND
from ics.figures import style
from ics.figures.catalogue import Figure
from ics.figures.curves import draw_curve, of_scale, step_axis

ARMS = ("standard", "batch", "noisy_batch")


@dataclass(frozen=True)
class Part:
    """(a) or (b): what tells the two apart.

    Attributes:
        letter: as in the paper.
        model: setting `model.name`.
        stem: how its file names begin.
        layers: the paper's, counted from 1.
        depth: the paper's number of layers.
        column: of training.csv.
        label: of the left axis.
        quantity: the paper's name of it.
        unit: the column times this is what the paper plots.
        log: whether the left axis is logarithmic.
        paper: what the paper trained.
    """

    letter: str
    model: str
    stem: str
    layers: tuple[int, int]
    depth: int
    column: str
    label: str
    quantity: str
    unit: float
    log: bool
    paper: str


_VGG = Part(
    letter="a",
    model="vgg",
    stem="fig3_vgg",
    layers=(5, 10),
    depth=16,
    column="accuracy",
    label="training accuracy (%)",
    quantity="train_accuracy_percent",
    unit=100,
    log=False,
    paper="VGG on CIFAR-10",
)
_DLN = Part(
    letter="b",
    model="deep_linear",
    stem="fig3_dln",
    layers=(9, 17),
    depth=25,
    column="loss",
    label="training loss Σ‖Wx − Ax‖²",
    quantity="train_loss",
    unit=1,
    log=True,
    paper="25-layer deep linear network",
)

HOW_TO_READ = (
    "How to read: G is the gradient of a layer's weights, G′ the same gradient once the earlier layers have "
    "been updated. Without internal covariate shift ‖G − G′‖₂ would be 0 and the cosine 1 (dotted). If "
    "BatchNorm reduced the shift, its curves would lie lower on the ℓ₂ axes and nearer to 1 on the cosine "
    "axes than the standard network's."
)


@dataclass(frozen=True)
class Layer:
    """A measured layer, and the paper's that it stands for."""

    index: int
    name: str
    papers: int


def draw(part: Part, runs: Runs, folder: Path) -> list[Path]:
    """One figure per scale of the runs there are."""
    settings = runs.settings
    needed = {"model.name", "model.depth", "norm.name", "optimizer.lr", "seed"}
    if not {"training", "shift"} <= set(runs) or not needed <= set(settings):
        return []
    arms = settings["norm.name"].map(lambda norm: style.arm_of(norm), na_action="ignore")
    measured = settings["run"].isin(runs["shift"]["run"].unique())
    mine = settings[(settings["model.name"] == part.model) & arms.isin(ARMS) & measured]
    files: list[Path] = []
    for scale in split_by_scale(mine) if len(mine) else ():
        with style.style():
            files += style.save(_figure(part, runs, scale), folder / f"{part.stem}_{scale.slug}")
    return files


FIG3A = Figure("fig3a", "fig3_vgg", HOW_TO_READ, partial(draw, _VGG))
FIG3B = Figure("fig3b", "fig3_dln", HOW_TO_READ, partial(draw, _DLN))


def _figure(part: Part, runs: Runs, scale: Scale) -> Canvas:
    training, shift = (of_scale(scale, runs[table]) for table in ("training", "shift"))
    training = training.assign(**{part.column: training[part.column] * part.unit})
    rates = sorted(scale.runs["optimizer.lr"].unique(), reverse=True)
    layers = choose_layers(part, shift, int(scale.runs["model.depth"].iloc[0]))
    paper = paper_curves(f"3{part.letter}")
    cosines: list[Axes] = []
    last_step = int(max(1, training["step"].max(), shift["step"].max()))

    top, bottom, row = 0.95, 1.05, 2.6  # inches
    height = top + bottom + row * len(rates)
    figure = style.new_figure(height)
    grid = figure.add_gridspec(
        len(rates), 3, width_ratios=(1.05, 1, 1), wspace=0.36, hspace=0.13,
        left=0.1, right=0.978, bottom=bottom / height, top=1 - top / height,
    )  # fmt: skip
    for i, rate in enumerate(rates):
        lowest = i == len(rates) - 1
        left = figure.add_subplot(grid[i, 0])
        if part.log:
            left.set_yscale("log")
        else:
            left.set_ylim(0, 103)
        _curves(left, training[training["optimizer.lr"] == rate], part.column)
        _paper(left, paper, part.quantity, rate, None, last_step)
        _label(left, part.label, last_step, stepped=lowest, x=-0.15)
        middle = left.get_position().y0 + left.get_position().height / 2
        named = f"learning rate {style.number(rate)}"
        figure.text(0.012, middle, named, rotation=90, va="center", weight="bold", fontsize=8)
        for j, layer in enumerate(layers, start=1):
            pair = grid[i, j].subgridspec(2, 1, hspace=0.12)
            above, below = figure.add_subplot(pair[0]), figure.add_subplot(pair[1])
            above.set_yscale("log")
            below.axhline(1, **style.IDEAL)
            own = shift[(shift["optimizer.lr"] == rate) & (shift["layer_index"] == layer.index)]
            for axes, column, quantity in ((above, "l2", "ics_l2"), (below, "cosine", "ics_cosine")):
                _curves(axes, own, column)
                _paper(axes, paper, quantity, rate, layer.papers, last_step)
            _label(above, "‖G − G′‖₂", last_step, stepped=False)
            _label(below, "cos∠(G, G′)", last_step, stepped=lowest)
            cosines.append(below)
            if i == 0:
                above.set_title(_layer_title(layer))
    # One range for all cosines: all of -1 to 1, or without the lower part if nothing reaches into it.
    upper_only = min(axes.dataLim.y0 for axes in cosines) > -0.5
    for axes in cosines:
        axes.set_ylim((-0.55, 1.08) if upper_only else (-1.1, 1.12))
        axes.set_yticks([-0.5, 0, 0.5, 1] if upper_only else [-1, 0, 1])
    _words(figure, part, scale, paper)
    return figure


def choose_layers(part: Part, shift: pd.DataFrame, depth: int) -> list[Layer]:
    """The paper's two layers if every run measured them, else the measured ones nearest in relative depth.

    Args:
        part: has the paper's layers.
        shift: rows of shift.csv.
        depth: the model's number of layers.
    """
    of_runs = [set(indices) for indices in shift.groupby("run", observed=True)["layer_index"].unique()]
    common = sorted(set.intersection(*of_runs) or set.union(*of_runs))
    names = shift.drop_duplicates("layer_index").set_index("layer_index")["layer"]
    wanted: Sequence[float] = part.layers
    if not set(part.layers) <= set(common):
        wanted = [number / part.depth * depth for number in part.layers]
    nearest = [min(common, key=lambda index: abs(index - number)) for number in wanted]
    return [
        Layer(index, str(names[index]), papers)
        for index, papers in dict(zip(nearest, part.layers, strict=True)).items()
    ]


def _curves(axes: Axes, rows: pd.DataFrame, column: str) -> None:
    for arm in ARMS:
        draw_curve(axes, rows[rows["arm"] == arm], column, style.ARMS[arm].colour)


def _paper(axes: Axes, paper: pd.DataFrame, quantity: str, rate: float, layer: int | None, last_step: int) -> None:
    """The paper's curves up to our last step, where its axis has numbers."""
    same_layer = paper["layer"].isna() if layer is None else (paper["layer"] == layer).fillna(False)
    rows = paper[(paper["quantity"] == quantity) & np.isclose(paper["lr"], rate, atol=0) & same_layer]
    log = axes.get_yscale() == "log"
    for arm, curve in rows[rows["axis_labelled"]].groupby("arm"):
        steps, values = curve["step"].to_numpy(), curve["value"].to_numpy()
        end = np.interp(last_step, steps, np.log(values) if log else values)  # lines are straight as drawn
        steps = np.append(steps[steps < last_step], min(last_step, steps[-1]))
        values = np.append(values[: len(steps) - 1], np.exp(end) if log else end)
        axes.plot(steps, values, color=style.darker(style.ARMS[str(arm)].colour), **style.PAPER)


def _label(axes: Axes, label: str, last_step: int, stepped: bool, x: float = -0.215) -> None:
    """Axis labels and ticks; steps are written below the lowest axes only."""
    axes.set_ylabel(label)
    axes.yaxis.set_label_coords(x, 0.5)  # in line down a column, whatever the width of the tick labels
    step_axis(axes, last_step, labelled=stepped)


def _layer_title(layer: Layer) -> str:
    stands_for = "" if layer.index == layer.papers else f" (paper: #{layer.papers})"
    return f"Layer #{layer.index}, {layer.name}{stands_for}"


def _words(figure: Canvas, part: Part, scale: Scale, paper: pd.DataFrame) -> None:
    """Title, legend and the sentences below."""
    height = figure.get_size_inches()[1]
    title = f"Figure 3({part.letter}). {scale.title}"
    figure.text(0.012, 1 - 0.12 / height, title, va="top", weight="bold", fontsize=9)
    overlaid = np.isclose(scale.runs["optimizer.lr"].to_numpy()[:, None], paper["lr"].unique(), atol=0).any()
    arms = [
        Line2D([], [], color=style.ARMS[arm].colour, linewidth=1.6, label=_seeds(scale, arm)) for arm in _present(scale)
    ]
    others = [Line2D([], [], label="ideal", **style.IDEAL)]
    if overlaid:
        label = f"paper: digitised, {part.paper}, one run"
        others.insert(0, Line2D([], [], color="#444444", label=label, **style.PAPER))
    if (scale.runs["status"] == "diverged").any():
        others.append(Line2D([], [], color="#444444", label="diverged here", **style.DIVERGED))
    for line, handles in enumerate((arms, others)):
        place = (0.005, 1 - (0.27 + 0.19 * line) / height)
        figure.legend(handles=handles, loc="upper left", bbox_to_anchor=place, ncols=4, columnspacing=1.6)
    notes = [HOW_TO_READ, f"Lines: median over seeds; {BAND}."]
    if overlaid:
        right = f"#{part.layers[1]}"
        notes.append(f"The paper's ℓ₂ axis for layer {right} has no numbers, so its curve there is left out.")
    figure.text(0.012, 0.1 / height, textwrap.fill(" ".join(notes), 142), va="bottom", fontsize=7)


def _present(scale: Scale) -> list[str]:
    norms = set(map(style.arm_of, scale.runs["norm.name"].astype(str)))
    return [arm for arm in ARMS if arm in norms]


def _seeds(scale: Scale, arm: str) -> str:
    """The arm's label with its number of seeds, a range if that differs between learning rates."""
    norms = scale.runs["norm.name"].astype(str).map(style.arm_of)
    counts = scale.runs[norms == arm].groupby("optimizer.lr").size()
    few, many = counts.min(), counts.max()
    number = f"{many}" if few == many else f"{few} to {many}"
    return f"{style.ARMS[arm].label} ({number} seed{'s' if many > 1 else ''})"
