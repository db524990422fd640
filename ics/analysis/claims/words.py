"""A row of the claims table in words, for every report."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from ics.analysis.markdown import number

_UNITS = {"percentage points": " points", "%": " %"}


def statement(row: Mapping[Any, Any]) -> str:
    """The claim, with its learning rate."""
    return str(row["text"]) + ("" if pd.isna(row["lr"]) else f" (learning rate {rate(row['lr'])})")


def rate(lr: float) -> str:
    """A learning rate as people write it: 0.1, 1e-6."""
    return f"{lr:g}".replace("e-0", "e-")


def claimed(row: Mapping[Any, Any]) -> str:
    """The effects for which the claim is true."""
    unit = str(row["unit"])
    low, high = (None if pd.isna(row[end]) else _bound(row[end], unit) for end in ("claimed_low", "claimed_high"))
    if low and high:
        return f"{low} to {high}"
    return f"≥ {low}" if low else f"≤ {high}"


def effect(row: Mapping[Any, Any]) -> str:
    """The effect with its unit."""
    return _with_unit(row["effect"], str(row["unit"]))


def interval(row: Mapping[Any, Any]) -> str:
    """Its confidence interval; nothing where there is none."""
    unit = str(row["unit"])
    return "" if pd.isna(row["low"]) else f"[{_number(row['low'], unit)} to {_number(row['high'], unit)}]"


def found(row: Mapping[Any, Any]) -> str:
    """The effect with its confidence interval."""
    return f"{effect(row)} {interval(row)}".strip()


def papers_curves(row: Mapping[Any, Any]) -> str:
    """What the paper's own curves show, with their effect."""
    paper = str(row["papers_curves"])
    return paper if paper == "not shown" else f"{paper}: {papers_effect(row)}"


def papers_effect(row: Mapping[Any, Any]) -> str:
    """The effect on the paper's own curves; a dash where it shows none."""
    return "–" if pd.isna(row["papers_effect"]) else _with_unit(row["papers_effect"], str(row["unit"]))


def statistic(row: Mapping[Any, Any]) -> str:
    """What the effect is, with the phase of the training."""
    return str(row["effect_is"]) + ("" if pd.isna(row["phase"]) else f"; {row['phase']}")


def mark(row: Mapping[Any, Any]) -> str:
    """The verdict as one word whatever the scale: yes, no, open."""
    return {1: "yes", 0: "no"}.get(row["holds"], "open")


def _bound(value: float, unit: str) -> str:
    text = f"{10**value:.2g}" if unit.startswith("log10") else f"{value:g}"
    return ("×" if unit == "log10 ratio" else "") + text.replace("-", "−")


def _with_unit(value: float, unit: str) -> str:
    return _number(value, unit) + _UNITS.get(unit, "")


def _number(value: float, unit: str) -> str:
    if unit.startswith("log10"):
        return ("×" if unit == "log10 ratio" else "") + number(10**value)
    return number(value)
