"""What a claim is: a statistic of a run, the runs it compares, and the effects for which it is true."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from ics.analysis.claims.interval import CONFIDENCE, Range
from ics.analysis.measured import QUANTITIES


@dataclass(frozen=True)
class Phase:
    """A stretch of a training: first < step / steps ≤ last; with `first` below 0, step 0 as well.

    Attributes:
        name: "early".
        first: share of the training.
        last: share of the training.
    """

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

_SCALES = {"plain": "{}", "log10": "log10 of {}", "abs": "absolute value of {}"}


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

    def of(self, rows: pd.DataFrame, steps: int) -> float:
        """The number.

        Args:
            rows: one run's curve, of the wanted layers only.
            steps: number of steps of the training.

        Returns:
            nan where the phase has no values, or a layer has none.
        """
        rows = self.phase.rows(rows, steps)
        values = rows["high"] - rows["low"] if self.edge == "width" else rows[self.edge]
        values = values.astype("float64")
        if self.scale == "abs":
            values = values.abs()
        elif self.scale == "log10":
            with np.errstate(divide="ignore", invalid="ignore"):
                values = pd.Series(np.log10(values), index=rows.index)
        layer = rows["layer"] if self.layers is not None else pd.Series(0, index=rows.index)
        of_layers = values.groupby(layer).agg(self.reduce)
        return float(of_layers.mean(skipna=False)) if len(of_layers) else float("nan")

    @property
    def text(self) -> str:
        """In words, but for the phase."""
        label = QUANTITIES[self.quantity].label
        edge = {"value": "", "low": "lowest ", "high": "largest ", "width": "width of the range of the "}[self.edge]
        over = "last" if self.reduce == "last" else f"{self.reduce} over the steps of the"
        where = "" if self.layers is None else f"; {self.where}"
        return f"{over} {_SCALES[self.scale].format(edge + label)}{where}"

    @property
    def where(self) -> str:
        """The layers in words."""
        if self.layers is None:
            return ""
        if not self.layers:
            return "mean of all layers but the first"
        numbers = " and ".join(f"#{number}" for number in self.layers)
        return f"mean of layers {numbers}" if len(self.layers) > 1 else f"layer {numbers}"


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

    @property
    def arms(self) -> tuple[str, ...]:
        """The runs it is about and those they are compared with."""
        return (self.arm,) if self.against is None else (self.arm, self.against)

    @property
    def effect(self) -> str:
        """What the effect is, in words, but for the phase."""
        single = f"{self.statistic.text}; {self.arm}"
        return single if self.against is None else f"{single} minus {self.against}, paired by seed"

    @property
    def unit(self) -> str:
        """Of the effect."""
        if self.statistic.scale == "log10":
            return "log10" if self.against is None else "log10 ratio"
        return "percentage points" if self.statistic.quantity.endswith("percent") and self.against else _unit(self)

    @property
    def rule(self) -> str:
        """By which the verdict is reached."""
        return (
            f"holds if the whole {CONFIDENCE:.0%} t-interval over the seeds is {self.holds} ({self.unit}), "
            "does not hold if none of it is; otherwise, and with fewer than two seeds, undecided"
        )

    @property
    def command(self) -> str:
        """Makes the runs."""
        return f"python scripts/train.py -m experiment={self.experiment}"


def _unit(claim: Claim) -> str:
    return "%" if claim.statistic.quantity.endswith("percent") else "cosine"
