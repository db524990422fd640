"""What the panels and legends of several figures have in common."""

from collections.abc import Collection

from matplotlib.axes import Axes

from ics.analysis.seeds import BAND
from ics.figures import style
from ics.figures.curves import draw_curves, draw_paper
from ics.figures.runs import PaperRuns, ScaleRuns
from ics.figures.sheet import Handle, handle

SEEDS = f"Lines: median over seeds; {BAND}."

PAPERS_NETS = {"vgg": "VGG on CIFAR-10", "deep_linear": "25-layer deep linear network"}
TRAINING = {
    "vgg": ("train_accuracy_percent", "training accuracy (%)"),
    "deep_linear": ("train_loss", "training loss Σ‖Wx − Ax‖²"),
}
"""Setting `model.name` -> the quantity by which the paper shows how a network trains, and the label of its axis."""


def draw(
    axes: Axes,
    runs: PaperRuns,
    quantity: str,
    rate: float,
    layers: tuple[int, int] | None = None,
    arms: Collection[str] | None = None,
) -> None:
    """Our medians and bands, and the paper's curves.

    Args:
        axes: where to; its scale is set already.
        runs: ours and the paper's.
        quantity: of `QUANTITIES`, with a single value.
        rate: learning rate.
        layers: the paper's layer number and ours.
        arms: only these; all that there are runs of by default.
    """
    papers, ours = layers or (None, None)
    measured, theirs = runs.ours(quantity, rate, ours), runs.papers(quantity, rate, papers)
    draw_curves(axes, measured[measured["arm"].isin(arms or runs.arms)])
    draw_paper(axes, theirs[theirs["arm"].isin(arms or runs.arms)], "value", runs.last_step)


def training_axis(axes: Axes, quantity: str) -> None:
    """Logarithmic for a loss, from 0 to 100 for per cent."""
    if quantity == "train_loss":
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 103)


def legend(runs: PaperRuns, *others: Handle) -> list[list[Handle]]:
    """The legend: arms with their seeds; then the paper's curves, crosses, and what else is drawn."""
    paper = handle(f"paper: digitised, {PAPERS_NETS[runs.model]}, one run", **style.PAPER)
    return [arm_handles(runs), [*([paper] if runs.overlaid else []), *diverged_handles(runs), *others]]


def arm_handles(runs: ScaleRuns) -> list[Handle]:
    """A legend entry for every arm, with its number of seeds."""
    return [handle(runs.label(arm), color=style.COLOURS[arm], linewidth=1.6) for arm in runs.arms]


def diverged_handles(runs: ScaleRuns) -> list[Handle]:
    """A legend entry for the crosses where runs diverged, if any did."""
    cross = handle("diverged here", marker="x", markersize=5, markeredgewidth=1.4, linestyle="none")
    return [cross] if (runs.scale.runs["status"] == "diverged").any() else []


def layer_name(papers: int, ours: int, name: str = "") -> str:
    """A layer of ours, and which of the paper's it stands for, if another."""
    own = f"Layer #{ours}{name and ', '}{name}"
    return own if papers == ours else f"{own} (paper: #{papers})"
