"""What a claim is: a statistic of a run, the runs it compares, and the effects for which it is true."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from ics.analysis.claims.interval import Range
from ics.analysis.measured import QUANTITIES, Unit


@dataclass(frozen=True)
class Phase:
    """A stretch of a training: first < step / steps ≤ last; with `first` below 0, step 0 as well."""

    name: str
    first: float
    last: float

    def rows(self, rows: pd.DataFrame, steps: int) -> pd.DataFrame:
        """The rows of the phase in a training of so many steps."""
        return rows[(rows["step"] > self.first * steps) & (rows["step"] <= self.last * steps)]


START = Phase("first step", -1, 0)
EARLY = Phase("early: first tenth", 0, 0.1)
MIDDLE = Phase("middle: to half", 0.1, 0.5)
LATE = Phase("late: second half", 0.5, 1)
END = Phase("last tenth", 0.9, 1)
WHOLE = Phase("all steps", -1, 1)
PHASES = (EARLY, MIDDLE, LATE)

ALL_LAYERS: tuple[int, ...] = ()
"""All measured layers but the first, whose shift is 0 by definition."""


@dataclass(frozen=True)
class Statistic:
    """One number for a run, from one of its curves.

    Attributes:
        quantity: of `QUANTITIES`.
        reduce: over the steps.
        phase: which steps.
        layers: the paper's numbers; their statistics are averaged. None: the quantity knows no layers.
        edge: of a range, which edge; "width" is their distance.
        scale: what is applied to every value first.
    """

    quantity: str
    reduce: Literal["median", "mean", "last"]
    phase: Phase = WHOLE
    layers: tuple[int, ...] | None = None
    edge: Literal["value", "low", "high", "width"] = "value"
    scale: Literal["plain", "log10", "abs"] = "plain"

    @property
    def per_layer(self) -> "Statistic":
        """The same before a choice of layers, so that it is computed once for all of them."""
        return self if self.layers is None else replace(self, layers=ALL_LAYERS)

    def of_layers(self, rows: pd.DataFrame, steps: int, by: Sequence[str]) -> pd.DataFrame:
        """The number of every layer, in a training of so many steps.

        Returns:
            `by`, which tells the curves apart, layer (0 for a quantity without layers), value; no row where the phase
            has none.
        """
        rows = self.phase.rows(rows, steps)
        values = (rows["high"] - rows["low"] if self.edge == "width" else rows[self.edge]).astype("float64")
        if self.scale == "abs":
            values = values.abs()
        elif self.scale == "log10":
            with np.errstate(divide="ignore", invalid="ignore"):
                values = values.transform(np.log10)
        layer = rows["layer"] if self.layers is not None else pd.Series(0, index=rows.index, name="layer")
        keys = [*(rows[name] for name in by), layer]
        return values.groupby(keys, observed=True).agg(self.reduce).rename("value").reset_index()


@dataclass(frozen=True)
class Claim:
    """One testable statement.

    Attributes:
        name: of the claim it is part of, for the command line.
        text: the statement.
        place: where it stands in the paper.
        model: setting `model.name`.
        lr: learning rate.
        statistic: of a run.
        arm: the runs it is about.
        against: the runs they are compared with, seed by seed; None: their value itself is the effect.
        holds: the effects for which the statement is true.
        experiment: makes the runs, with its options.
        headline: whether it stands for its claim; the others are details.
    """

    name: str
    text: str
    place: str
    model: str
    lr: float
    statistic: Statistic
    arm: str
    against: str | None
    holds: Range
    experiment: str
    headline: bool = True

    def detail(self, **statistic: Any) -> "Claim":
        """The same of another choice of steps, layers or values."""
        return replace(self, statistic=replace(self.statistic, **statistic), headline=False)

    @property
    def arms(self) -> tuple[str, ...]:
        """The runs it is about and those they are compared with."""
        return (self.arm,) if self.against is None else (self.arm, self.against)

    @property
    def unit(self) -> Unit:
        """Of the effect."""
        if self.statistic.scale == "log10":
            return Unit.LOG if self.against is None else Unit.RATIO
        unit = QUANTITIES[self.statistic.quantity].unit
        return Unit.POINTS if unit is Unit.PERCENT and self.against else unit

    @property
    def command(self) -> str:
        """Makes the runs."""
        return f"python scripts/train.py -m experiment={self.experiment}"
