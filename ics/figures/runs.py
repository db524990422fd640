"""The runs of one scale that a figure is drawn from, found by experiment or by what a figure of the paper needs."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from ics.analysis.load import Runs
from ics.analysis.measured import Measured
from ics.analysis.paper import PAPERS_NAME, paper_curves
from ics.analysis.scales import Scale, scales_with, split_by_scale
from ics.analysis.select import select
from ics.figures.style import ARMS


@dataclass(frozen=True)
class ScaleRuns:
    """Runs of one scale.

    Attributes:
        runs: all there are, with their tables.
        scale: those that the figure shows.
        arms: theirs, in order.
        sweep: settings beside the arm and the learning rate that tell curves apart.
    """

    runs: Runs
    scale: Scale
    arms: tuple[str, ...]
    sweep: tuple[str, ...] = ()

    @property
    def last_step(self) -> int:
        """The last step of a training."""
        return int(self.scale.runs["steps"].max())

    def table(self, name: str) -> pd.DataFrame:
        """The rows of a table, the arm as text."""
        rows = self.runs[name]
        rows = rows[rows["run"].isin(self.scale.runs["run"])]
        return rows.assign(arm=rows["arm"].astype(str))

    def label(self, arm: str) -> str:
        """The arm's name with its number of seeds, a range if that differs between curves."""
        runs = self.scale.runs[self.scale.runs["arm"] == arm]
        counts = runs.groupby(["optimizer.lr", *self.sweep])["seed"].nunique()
        few, many = counts.min(), counts.max()
        number = f"{many}" if few == many else f"{few} to {many}"
        return f"{ARMS[arm].label} ({number} seed{'s' if many > 1 else ''})"


@dataclass(frozen=True)
class OfExperiment:
    """Finds the runs of one experiment.

    Attributes:
        experiment: its name.
        tables: without which there is nothing to draw.
        sweep: settings that it compares.
        arms: that are shown, at most; all by default.
        stem: how the names of the figure's files begin; with the experiment's by default.
    """

    experiment: str
    tables: Collection[str]
    sweep: tuple[str, ...] = ()
    arms: Collection[str] = tuple(ARMS)
    stem: str = ""

    def __call__(self, runs: Runs) -> Iterator[tuple[str, ScaleRuns]]:
        """By scale: the figure's file name, which says the data, and the runs."""
        settings = runs.settings
        if not set(self.tables) <= set(runs) or not {"experiment", *self.sweep} <= set(settings):
            return
        mine = settings[(settings["experiment"] == self.experiment) & settings["arm"].isin(self.arms)]
        for scale in split_by_scale(mine, sweep=self.sweep) if len(mine) else ():
            first = scale.runs.iloc[0]
            data = str(first["data_label"])
            name = data if scale.slug == f"{data}_{first['model.name']}" else scale.slug
            arms = tuple(arm for arm in self.arms if (scale.runs["arm"] == arm).any())
            yield f"{self.stem or self.experiment}_{name}", ScaleRuns(runs, scale, arms, self.sweep)


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
    def papers_arms(self) -> list[str]:
        """The arms of which the paper has curves at any of the rates."""
        return list(select(self.paper, lr=list(self.rates))["arm"].unique())

    def ours(self, quantity: str, rate: float, layer: int | None = None) -> pd.DataFrame:
        """Our curves at a rate; runs that diverged end there."""
        return select(self.measured.curve(quantity), lr=rate, layer=layer)

    def papers(self, quantity: str, rate: float, layer: int | None = None) -> pd.DataFrame:
        """The paper's curves at a rate; empty if it shows none or its axis has no numbers."""
        return select(self.paper, quantity=quantity, axis_labelled=True, lr=rate, layer=layer)

    def layers(self, papers: Sequence[int], rows: pd.DataFrame, column: str = "layer") -> dict[int, int]:
        """The paper's layer numbers and ours, of what rows show; one of ours stands for one of the paper's."""
        matched = self.scale.layers(papers, rows, column)
        return {papers: ours for ours, papers in {ours: papers for papers, ours in matched.items()}.items()}


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
        paper = select(paper_curves(), figure=list(self.panels), model=PAPERS_NAME[self.model])
        for scale in scales_with(runs, self.model, *self.tables):
            mine = scale.runs[scale.runs["arm"].isin(self.arms.shown)]
            rates = self.rates or sorted(mine["optimizer.lr"].unique(), reverse=True)
            present = {float(rate): set(select(mine, lr=rate)["arm"]) for rate in rates}
            if rates and all(present[rates[0]] & set(any_of) for any_of in self.arms.needed):
                shown = replace(scale, runs=select(mine, lr=list(rates)))
                arms = tuple(arm for arm in self.arms.shown if any(arm in those for those in present.values()))
                measured = Measured(runs, shown)
                there = tuple(rate for rate in present if present[rate])
                yield (
                    f"{self.stem}_{scale.slug}",
                    PaperRuns(runs, shown, arms, model=self.model, measured=measured, rates=there, paper=paper),
                )
