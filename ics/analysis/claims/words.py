"""Claims in words, for every report; nothing reads these words."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

from ics.analysis.claims.claim import Claim, Statistic
from ics.analysis.claims.interval import CONFIDENCE
from ics.analysis.markdown import number
from ics.analysis.measured import QUANTITIES, Unit

Row = Mapping[Any, Any]
"""Of the claims table."""

# Of an effect: before its number, after it.
_AROUND = {Unit.RATIO: ("×", ""), Unit.POINTS: ("", " points"), Unit.PERCENT: ("", " %")}
_LOGARITHMS = (Unit.LOG, Unit.RATIO)
_EDGES = {"value": "", "low": "lowest ", "high": "largest ", "width": "width of the range of the "}
_SCALES = {"plain": "", "log10": "log10 of ", "abs": "absolute value of "}


def effect_is(claim: Claim) -> str:
    """What the effect is, but for the phase."""
    of = claim.statistic
    over = "last" if of.reduce == "last" else f"{of.reduce} over the steps of the"
    where = "" if of.layers is None else f"; {_where(of)}"
    single = f"{over} {_SCALES[of.scale]}{_EDGES[of.edge]}{QUANTITIES[of.quantity].label}{where}; {claim.arm}"
    return single if claim.against is None else f"{single} minus {claim.against}, paired by seed"


def rule(claim: Claim) -> str:
    """By which the verdict is reached."""
    low, high = (f"{end:g}".replace("-", "−") for end in (claim.holds.low, claim.holds.high))
    holds = f"from {low} to {high}"
    if math.isinf(claim.holds.low):
        holds = f"at most {high}"
    elif math.isinf(claim.holds.high):
        holds = f"at least {low}"
    return (
        f"holds if the whole {CONFIDENCE:.0%} t-interval over the seeds is {holds} ({claim.unit}), "
        "does not hold if none of it is; otherwise, and with fewer than two seeds, undecided"
    )


def _where(of: Statistic) -> str:
    """The layers."""
    if not of.layers:
        return "mean of all layers but the first"
    numbers = " and ".join(f"#{layer}" for layer in of.layers)
    return f"mean of layers {numbers}" if len(of.layers) > 1 else f"layer {numbers}"


def statement(row: Row) -> str:
    """The claim, with its learning rate."""
    return str(row["text"]) + ("" if pd.isna(row["lr"]) else f" (learning rate {rate(row['lr'])})")


def rate(lr: float) -> str:
    """A learning rate as people write it: 0.1, 1e-6."""
    return f"{lr:g}".replace("e-0", "e-")


def claimed(row: Row) -> str:
    """The effects for which the claim is true."""
    unit = row["unit"]

    def bound(value: float) -> str:
        text = f"{10**value:.2g}" if unit in _LOGARITHMS else f"{value:g}"
        return ("×" if unit == Unit.RATIO else "") + text.replace("-", "−")

    if pd.isna(row["claimed_low"]):
        return f"≤ {bound(row['claimed_high'])}"
    if pd.isna(row["claimed_high"]):
        return f"≥ {bound(row['claimed_low'])}"
    return f"{bound(row['claimed_low'])} to {bound(row['claimed_high'])}"


def effect(row: Row, column: str = "effect") -> str:
    """The effect, or another of the row's numbers, with its unit."""
    return _number(row[column], row["unit"]) + _AROUND.get(row["unit"], ("", ""))[1]


def found(row: Row) -> str:
    """The effect with its confidence interval, if there is one."""
    if pd.isna(row["low"]):
        return effect(row)
    return f"{effect(row)} [{_number(row['low'], row['unit'])} to {_number(row['high'], row['unit'])}]"


def papers_curves(row: Row) -> str:
    """What the paper's own curves show, with their effect."""
    said = str(row["papers_curves"])
    return said if pd.isna(row["papers_effect"]) else f"{said}: {effect(row, 'papers_effect')}"


def papers_effect(row: Row) -> str:
    """The effect on as many steps of the paper's own curves, and on all where it is another; a dash without curves."""
    if pd.isna(row["papers_effect"]):
        return "–"
    whole, as_far = effect(row, "papers_effect"), effect(row, "papers_as_far")
    return whole if as_far == whole else f"{as_far}, in all {whole}"


def statistic(row: Row) -> str:
    """What the effect is, with the phase of the training."""
    return str(row["effect_is"]) + ("" if pd.isna(row["phase"]) else f"; {row['phase']}")


def mark(row: Row) -> str:
    """The verdict as one word whatever the scale: yes, no, open."""
    return {1: "yes", 0: "no"}.get(row["holds"], "open")


CELLS: dict[str, Callable[[Row], Any]] = {
    "claim": statement,
    "true if": claimed,
    "effect": found,
    "n": lambda row: row["n"],
    "verdict": lambda row: f"**{row['verdict']}**",
    "the paper's curves": papers_curves,
}
"""What tables in Markdown say of a row, by heading."""


def _number(value: float, unit: str) -> str:
    before = _AROUND.get(Unit(unit), ("", ""))[0]
    return before + number(10**value if unit in _LOGARITHMS else value)
