"""The runs that a figure is drawn from: which scales have all it needs, and what they measured, arm by arm."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ics.analysis.layers import PAPERS_DEPTH, common_layers, match_layers
from ics.analysis.load import Runs
from ics.analysis.measured import Measured
from ics.analysis.paper import MODELS, paper_curves
from ics.analysis.scales import Scale, scales_with
from ics.analysis.seeds import BAND
from ics.figures import style
from ics.figures.curves import draw_curve
from ics.figures.sheet import Handle, arm_handle, diverged_handle, paper_handle

PAPERS_NETS = {"vgg": "VGG on CIFAR-10", "deep_linear": "25-layer deep linear network"}
SEEDS = f"Lines: median over seeds; {BAND}."


@dataclass(frozen=True)
class FigureRuns:
    """One scale's runs at the figure's learning rates, and the paper's curves.

    Attributes:
        model: setting `model.name`.
        measured: their curves.
        arms: those that the figure is about and that there are runs of, in the figure's order.
        rates: learning rates, largest first.
        paper: the paper's curves of this figure.
        runs: all tables, for what is not a curve.
    """

    model: str
    measured: Measured
    arms: tuple[str, ...]
    rates: tuple[float, ...]
    paper: pd.DataFrame
    runs: Runs

    @property
    def scale(self) -> Scale:
        """The scale."""
        return self.measured.scale

    @property
    def last_step(self) -> int:
        """The last recorded step of a training."""
        return max(1, int(self.measured.curve("train_loss")["step"].max()))

    def of(self, quantity: str, arm: str, rate: float) -> pd.DataFrame:
        """An arm's curves at a rate; runs that diverged end there."""
        curve = self.measured.curve(quantity)
        return curve[(curve["arm"] == arm) & np.isclose(curve["lr"].astype("float64"), rate, atol=0)]

    def layers(self, papers: Sequence[int], rows: pd.DataFrame, column: str = "layer") -> dict[int, int]:
        """The paper's layer numbers and ours, of what rows show; one of ours stands for one of the paper's."""
        depth = int(self.scale.runs["model.depth"].iloc[0])
        matched = match_layers(papers, PAPERS_DEPTH[self.model], common_layers(rows, column), depth)
        return {papers: ours for ours, papers in {ours: papers for papers, ours in matched.items()}.items()}

    def theirs(self, quantity: str, arm: str, rate: float, layer: int | None = None) -> pd.DataFrame:
        """The paper's curve; empty if it shows none or its axis has no numbers."""
        rows = self.paper[
            (self.paper["quantity"] == quantity)
            & (self.paper["arm"] == arm)
            & np.isclose(self.paper["lr"], rate, atol=0)
            & self.paper["axis_labelled"]
        ]
        return rows if layer is None else rows[(rows["layer"] == layer).fillna(False)]

    def draw(self, axes: Axes, quantity: str, arm: str, rate: float, layers: tuple[int, int] | None = None) -> None:
        """Our median and band and the paper's curve.

        Args:
            axes: where to; its scale and the range of steps are set already.
            quantity: of `QUANTITIES`, with a single value.
            arm: which.
            rate: learning rate.
            layers: the paper's layer number and ours.
        """
        colour = style.ARMS[arm].colour
        rows = self.of(quantity, arm, rate)
        if layers is not None:
            rows = rows[rows["layer"] == layers[1]]
        if axes.get_yscale() == "log":
            rows = rows.assign(value=rows["value"].where(rows["value"] > 0))
        draw_curve(axes, rows, "value", colour)
        self.draw_paper(axes, self.theirs(quantity, arm, rate, None if layers is None else layers[0]), "value", arm)

    def draw_paper(self, axes: Axes, rows: pd.DataFrame, column: str, arm: str) -> None:
        """One of the paper's curves up to our last step."""
        rows = rows.dropna(subset=[column])
        if axes.get_yscale() == "log":
            rows = rows[rows[column] > 0]
        if rows.empty:
            return
        steps, values = clipped(
            rows["step"].to_numpy(), rows[column].to_numpy(), self.last_step, axes.get_yscale() == "log"
        )
        axes.plot(steps, values, color=style.darker(style.ARMS[arm].colour), **style.PAPER)

    def handles(self, overlaid: bool = True) -> list[list[Handle]]:
        """The legend: arms with their seeds; then what else is drawn."""
        others: list[Handle] = []
        if overlaid and np.isclose(np.array(self.rates)[:, None], self.paper["lr"].unique(), atol=0).any():
            others.append(paper_handle(PAPERS_NETS[self.model]))
        if (self._mine()["status"] == "diverged").any():
            others.append(diverged_handle())
        return [[arm_handle(self.label(arm), style.ARMS[arm].colour) for arm in self.arms], others]

    def label(self, arm: str) -> str:
        """The arm's name with its number of seeds, a range if that differs between learning rates."""
        runs = self._mine()
        counts = runs[runs["arm"] == arm].groupby("optimizer.lr").size()
        few, many = counts.min(), counts.max()
        number = f"{many}" if few == many else f"{few} to {many}"
        return f"{style.ARMS[arm].label} ({number} seed{'s' if many > 1 else ''})"

    def _mine(self) -> pd.DataFrame:
        runs = self.scale.runs
        at_rates = np.isclose(runs["optimizer.lr"].to_numpy()[:, None], np.array(self.rates), atol=0).any(axis=1)
        mine: pd.DataFrame = runs[at_rates & runs["arm"].isin(self.arms)]
        return mine


def find(
    runs: Runs,
    figure: str,
    model: str,
    tables: Collection[str],
    arms: Sequence[str],
    rates: Sequence[float] | None,
    needed: Collection[str],
) -> Iterator[FigureRuns]:
    """The scales that have what a figure needs.

    Args:
        runs: all there are.
        figure: the paper's number, for its curves; one it has no curves of for none.
        model: setting `model.name`.
        tables: a run must have them all.
        arms: that the figure shows.
        rates: that it shows, of which the first is needed; None: all there are, largest first.
        needed: the arms without which there is no point in drawing it; any one of those separated by "|".
    """
    curves = paper_curves()
    number = curves["figure"].str.rstrip("abcdefgh")
    curves = curves[(curves["figure"] == figure) | (number == figure)]
    curves = curves[curves["model"].map(MODELS) == model]
    for scale in scales_with(runs, model, list(tables)):
        norms = scale.runs["arm"].astype(str)
        mine = scale.runs[norms.isin(arms)]
        at = rates or sorted(mine["optimizer.lr"].unique(), reverse=True)
        present = {rate: set(norms[np.isclose(scale.runs["optimizer.lr"], rate, atol=0)]) & set(arms) for rate in at}
        if at and all(present[at[0]] & set(one.split("|")) for one in needed):
            shown = tuple(float(rate) for rate in at if present[rate])
            there = tuple(arm for arm in arms if any(arm in of_rate for of_rate in present.values()))
            yield FigureRuns(model, Measured(runs, scale), there, shown, curves, runs)


def clipped(
    steps: "np.ndarray[tuple[int], np.dtype[np.int64]]",
    values: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    last_step: int,
    log: bool,
) -> tuple["np.ndarray[tuple[int], np.dtype[np.int64]]", "np.ndarray[tuple[int], np.dtype[np.float64]]"]:
    """A curve up to a step, where its line is cut: lines are straight as drawn."""
    end = min(last_step, int(steps[-1]))
    cut = np.interp(end, steps, np.log(values) if log else values)
    inside = steps < end
    return np.append(steps[inside], end), np.append(values[inside], np.exp(cut) if log else cut)
