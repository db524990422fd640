"""The runs of one scale that a figure is drawn from, found by experiment or by what the paper's figure needs."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ics.analysis.load import Runs
from ics.analysis.scales import Scale, split_by_scale
from ics.analysis.seeds import BAND
from ics.figures.style import ARMS

SEEDS = f"Lines: median over seeds; {BAND}."


@dataclass(frozen=True)
class ScaleRuns:
    """Runs of one scale.

    Attributes:
        runs: all tables.
        scale: those that are shown, and more of the same scale.
        arms: that are shown, in order.
        sweep: settings beside the arm that tell curves apart.
    """

    runs: Runs
    scale: Scale
    arms: tuple[str, ...]
    sweep: tuple[str, ...] = ()

    @property
    def last_step(self) -> int:
        """The last step of a training."""
        return int(self.scale.runs["steps"].max())

    @property
    def shown(self) -> pd.DataFrame:
        """The rows of the settings of the runs that are shown."""
        settings: pd.DataFrame = self.scale.runs[self.scale.runs["arm"].isin(self.arms)]
        return settings

    @property
    def any_diverged(self) -> bool:
        """Whether any of the runs that are shown did."""
        return bool((self.shown["status"] == "diverged").any())

    def table(self, name: str) -> pd.DataFrame:
        """The rows of a table that are shown, the arm as text."""
        rows = self.runs[name]
        rows = rows[rows["run"].isin(self.shown["run"])]
        return rows.assign(arm=rows["arm"].astype(str))

    def label(self, arm: str) -> str:
        """The arm's name with its number of seeds, a range if that differs between learning rates."""
        runs = self.shown[self.shown["arm"] == arm]
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
        arms: that are shown; all by default.
        stem: how the names of the figure's files begin; with the experiment's by default.
    """

    experiment: str
    tables: Collection[str]
    sweep: tuple[str, ...] = ()
    arms: Sequence[str] = tuple(ARMS)
    stem: str = ""

    def __call__(self, runs: Runs) -> Iterator[tuple[str, ScaleRuns]]:
        """By scale: the figure's file name, which says the data, and the runs."""
        settings = runs.settings
        if not set(self.tables) <= set(runs) or not {"experiment", *self.sweep} <= set(settings):
            return
        mine = settings[settings["experiment"] == self.experiment]
        for scale in split_by_scale(mine, sweep=self.sweep) if len(mine) else ():
            first = scale.runs.iloc[0]
            data = str(first["data_label"])
            name = data if scale.slug == f"{data}_{first['model.name']}" else scale.slug
            present = set(scale.runs["arm"])
            arms = tuple(arm for arm in self.arms if arm in present)
            yield f"{self.stem or self.experiment}_{name}", ScaleRuns(runs, scale, arms, self.sweep)


def at_rate(lr: pd.Series, rates: Sequence[float]) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
    """Which learning rates are one of some, to rounding."""
    near: np.ndarray[tuple[int], np.dtype[np.bool_]] = np.isclose(
        lr.to_numpy(dtype="float64")[:, None], np.array(rates, dtype="float64"), atol=0
    ).any(axis=1)
    return near
