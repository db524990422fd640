"""What the panels and legends of several figures have in common."""

from collections.abc import Callable, Collection, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ics.analysis.claims.words import rate as written
from ics.analysis.seeds import BAND
from ics.figures import style
from ics.figures.catalogue import Figure
from ics.figures.curves import draw_curves, draw_paper
from ics.figures.runs import Arms, BesidePaper, PaperRuns, ScaleRuns
from ics.figures.sheet import Handle, Sheet, handle

SEEDS = f"Lines: median over seeds; {BAND}."

PAPERS_NETS = {"vgg": "VGG on CIFAR-10", "deep_linear": "25-layer deep linear network"}
TRAINING = {
    "vgg": ("train_accuracy_percent", "training accuracy (%)"),
    "deep_linear": ("train_loss", "training loss Σ‖Wx − Ax‖²"),
}
"""Setting `model.name` -> the quantity by which the paper shows how a network trains, and the label of its axis."""


RATES = {"vgg": (0.1,), "deep_linear": (1e-6,)}
"""Setting `model.name` -> the learning rate of the paper's figures, but for those that compare several."""


def paper_figure(
    number: str,
    experiment: str,
    model: str,
    tables: Sequence[str],
    arms: Arms,
    draw: Callable[[PaperRuns], Sheet],
    panels: str = "",
    rates: Sequence[float] | None = (),
    stem: str = "",
) -> Figure:
    """A figure of the paper.

    Args:
        number: of the figure, or of one of its parts.
        experiment: makes its runs, with the options that fit the paper's network.
        model: setting `model.name`.
        tables: that a run must have beside `training`.
        arms: that it shows.
        draw: makes it.
        panels: letters of the paper's panels; none if the number has it already.
        rates: see `BesidePaper`; the paper's usual one by default.
        stem: how the names of its files begin; with its name by default.
    """
    name = f"fig{number}"
    find = BesidePaper(
        stem or name,
        [f"{number}{letter}" for letter in panels] or [number],
        model,
        ("training", *tables),
        arms,
        RATES[model] if rates == () else rates,
    )
    return Figure(name, experiment, find, draw, "scale=cpu" if model == "vgg" else "")


def draw(
    axes: Axes,
    runs: PaperRuns,
    quantity: str,
    rate: float,
    layers: tuple[int, int] | None = None,
    arms: Collection[str] | None = None,
) -> None:
    """Our medians and bands, and the paper's curves; arguments as of `curves`."""
    ours, papers = curves(runs, quantity, rate, layers, arms)
    draw_curves(axes, ours)
    draw_paper(axes, papers, "value", runs.last_step)
    if papers.empty and not np.isfinite(ours["value"]).any():
        axes.text(0.5, 0.5, "no finite value", transform=axes.transAxes, ha="center", va="center", color=style.GREY)


def curves(
    runs: PaperRuns,
    quantity: str,
    rate: float,
    layers: tuple[int, int] | None = None,
    arms: Collection[str] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Our rows and the paper's: of a layer, by the paper's number and ours; of some arms, else all there are."""
    papers, ours = layers or (None, None)
    both = runs.ours(quantity, rate, ours), runs.papers(quantity, rate, papers)
    measured, theirs = (rows[rows["arm"].isin(arms or runs.arms)] for rows in both)
    return measured, theirs


def title(number: str, runs: PaperRuns) -> str:
    """What a figure of the paper calls itself, with the learning rate if there is only one."""
    rate = f", lr {written(runs.rates[0])}" if len(runs.rates) == 1 else ""
    return f"Figure {number}. {runs.scale.title}{rate}"


def training_axis(axes: Axes, quantity: str) -> None:
    """Logarithmic for a loss, from 0 to 100 for per cent."""
    if quantity == "train_loss":
        axes.set_yscale("log")
    else:
        axes.set_ylim(0, 103)


def legend(runs: PaperRuns, *others: Handle, shown: Collection[str] = ()) -> list[list[Handle]]:
    """The legend: arms with their seeds; then the paper's curves, crosses, and what else is drawn.

    Of arms that are `shown` in any case there may be no runs, but a curve of the paper's.
    """
    alone = [arm for arm in runs.papers_arms if arm in shown and arm not in runs.arms]
    all_of_it = handle(f"paper: digitised, {PAPERS_NETS[runs.model]}, one run", **style.PAPER)
    paper = [all_of_it] if runs.papers_arms else []
    paper += [
        handle(
            f"{style.ARMS[arm].label}: the paper's alone", **style.PAPER | {"color": style.darker(style.COLOURS[arm])}
        )
        for arm in alone
    ]
    return [arm_handles(runs), [*paper, *diverged_handles(runs), *others]]


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
