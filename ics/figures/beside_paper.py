"""Our runs beside a figure of the paper: which scales have what it needs, what they measured, the paper's curves."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import pandas as pd
from matplotlib.axes import Axes

from ics.analysis.layers import PAPERS_DEPTH, common_layers, match_layers
from ics.analysis.load import Runs
from ics.analysis.measured import Measured
from ics.analysis.paper import MODELS, paper_curves
from ics.analysis.scales import scales_with
from ics.figures import style
from ics.figures.curves import draw_curves, draw_paper
from ics.figures.scale_runs import ScaleRuns, at_rate
from ics.figures.sheet import Handle, arm_handles, diverged_handles, handle

PAPERS_NETS = {"vgg": "VGG on CIFAR-10", "deep_linear": "25-layer deep linear network"}
PERCENT = ("train_accuracy_percent", "test_accuracy_percent")
TRAINING = {
    "vgg": ("train_accuracy_percent", "training accuracy (%)"),
    "deep_linear": ("train_loss", "training loss Σ‖Wx − Ax‖²"),
}
"""Setting `model.name` -> the quantity by which the paper shows how a network trains, and the label of its axis."""


@dataclass(frozen=True)
class Arms:
    """The arms of a figure.

    Attributes:
        shown: in its order.
        needed: without one arm of each of these there is no point in drawing it.
    """

    shown: tuple[str, ...]
    needed: tuple[tuple[str, ...], ...]


PAIR = Arms(("standard", "batch"), (("standard",), ("batch",)))
LP = Arms((*PAIR.shown, "l1", "l2", "linf"), (*PAIR.needed, ("l1", "l2", "linf")))
NOISE = Arms((*PAIR.shown, "noisy_batch", "noise_only"), (*PAIR.needed, ("noisy_batch",)))


@dataclass(frozen=True, kw_only=True)
class PaperRuns(ScaleRuns):
    """One scale's runs at the learning rates of a figure of the paper, and the paper's curves.

    Attributes:
        model: setting `model.name`.
        measured: our curves.
        rates: learning rates, largest first.
        paper: the paper's curves of this figure.
    """

    model: str
    measured: Measured
    rates: tuple[float, ...]
    paper: pd.DataFrame

    @property
    def shown(self) -> pd.DataFrame:
        """The rows of the settings of the runs that are shown."""
        mine = super().shown
        return mine[at_rate(mine["optimizer.lr"], self.rates)]

    def ours(self, quantity: str, rate: float, layer: int | None = None) -> pd.DataFrame:
        """Our curves of the figure's arms at a rate; runs that diverged end there."""
        curve = self.measured.curve(quantity)
        return _select(curve[curve["arm"].isin(self.arms)], rate, layer)

    def papers(self, quantity: str, rate: float, layer: int | None = None) -> pd.DataFrame:
        """The paper's curves at a rate; empty if it shows none or its axis has no numbers."""
        of_quantity = (self.paper["quantity"] == quantity) & self.paper["axis_labelled"]
        return _select(self.paper[of_quantity], rate, layer)

    def layers(self, papers: Sequence[int], rows: pd.DataFrame, column: str = "layer") -> dict[int, int]:
        """The paper's layer numbers and ours, of what rows show; one of ours stands for one of the paper's."""
        depth = int(self.scale.runs["model.depth"].iloc[0])
        matched = match_layers(papers, PAPERS_DEPTH[self.model], common_layers(rows, column), depth)
        return {papers: ours for ours, papers in {ours: papers for papers, ours in matched.items()}.items()}


def _select(rows: pd.DataFrame, rate: float, layer: int | None) -> pd.DataFrame:
    rows = rows[at_rate(rows["lr"], [rate])]
    return rows if layer is None else rows[(rows["layer"] == layer).fillna(False)]


@dataclass(frozen=True)
class BesidePaper:
    """Finds the scales that have what a figure of the paper needs.

    Attributes:
        stem: how the names of its files begin.
        panels: of the paper, which show its curves.
        model: setting `model.name`.
        tables: a run must have them all.
        arms: that the figure shows.
        rates: learning rates that it shows, of which the first is needed; None: all there are, largest first.
    """

    stem: str
    panels: Sequence[str]
    model: str
    tables: Sequence[str]
    arms: Arms
    rates: Sequence[float] | None

    def __call__(self, runs: Runs) -> Iterator[tuple[str, PaperRuns]]:
        """By scale: the figure's file name, and the runs."""
        curves = _curves()
        paper = curves[curves["figure"].isin(self.panels) & (curves["model"] == self.model)]
        for scale in scales_with(runs, self.model, self.tables):
            mine = scale.runs[scale.runs["arm"].isin(self.arms.shown)]
            rates = self.rates or sorted(mine["optimizer.lr"].unique(), reverse=True)
            present = {rate: set(mine["arm"][at_rate(mine["optimizer.lr"], [rate])]) for rate in rates}
            if rates and all(present[rates[0]] & set(any_of) for any_of in self.arms.needed):
                there = set().union(*present.values())
                yield (
                    f"{self.stem}_{scale.slug}",
                    PaperRuns(
                        runs,
                        scale,
                        tuple(arm for arm in self.arms.shown if arm in there),
                        model=self.model,
                        measured=Measured(runs, scale),
                        rates=tuple(float(rate) for rate in rates if present[rate]),
                        paper=paper,
                    ),
                )


@cache
def _curves() -> pd.DataFrame:
    """The paper's curves, read once, with the project's names of the models; not to be changed."""
    curves = paper_curves()
    return curves.assign(model=curves["model"].map(MODELS))


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
        arms: only these; all of the figure's by default.
    """
    shown = arms or runs.arms
    papers, ours = layers or (None, None)
    measured, theirs = runs.ours(quantity, rate, ours), runs.papers(quantity, rate, papers)
    draw_curves(axes, measured[measured["arm"].isin(shown)])
    draw_paper(axes, theirs[theirs["arm"].isin(shown)], "value", runs.last_step)


def training_axis(axes: Axes, quantity: str) -> None:
    """From 0 to 100 per cent, or logarithmic."""
    if quantity in PERCENT:
        axes.set_ylim(0, 103)
    else:
        axes.set_yscale("log")


def legend(runs: PaperRuns, *others: Handle) -> list[list[Handle]]:
    """The legend: arms with their seeds; then the paper's curves, crosses, and what else is drawn."""
    paper: list[Handle] = []
    if has_paper(runs):
        paper.append(handle(f"paper: digitised, {PAPERS_NETS[runs.model]}, one run", **style.PAPER))
    return [arm_handles(runs), [*paper, *diverged_handles(runs), *others]]


def has_paper(runs: PaperRuns) -> bool:
    """Whether the paper has curves at any of the rates."""
    return bool(at_rate(runs.paper["lr"], runs.rates).any())


def layer_name(papers: int, ours: int, name: str = "") -> str:
    """A layer of ours, and which of the paper's it stands for, if another."""
    own = f"Layer #{ours}{name and ', '}{name}"
    return own if papers == ours else f"{own} (paper: #{papers})"
