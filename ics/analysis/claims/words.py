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
    unit = str(row["unit"])
    return f"{_number(row['effect'], unit)}{_UNITS.get(unit, '')}"


def interval(row: Mapping[Any, Any]) -> str:
    """Its confidence interval; nothing where there is none."""
    unit = str(row["unit"])
    return "" if pd.isna(row["low"]) else f"[{_number(row['low'], unit)} to {_number(row['high'], unit)}]"


def papers_curves(row: Mapping[Any, Any]) -> str:
    """What the paper's own curves show, with their effect."""
    paper = str(row["papers_curves"])
    return paper if paper == "not shown" else f"{paper}: {_number(row['papers_effect'], str(row['unit']))}"


def _bound(value: float, unit: str) -> str:
    text = f"{10**value:.2g}" if unit.startswith("log10") else f"{value:g}"
    return ("×" if unit == "log10 ratio" else "") + text.replace("-", "−")


def _number(value: float, unit: str) -> str:
    if unit.startswith("log10"):
        return ("×" if unit == "log10 ratio" else "") + number(10**value)
    return number(value)
