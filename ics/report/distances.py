"""The distance to the paper's curves: a summary, and every curve."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from ics.analysis.distance_report import header, lines
from ics.analysis.markdown import number
from ics.analysis.measured import QUANTITIES
from ics.analysis.windows import ALL, WINDOWS


@dataclass(frozen=True)
class Summary:
    """The curves of one quantity in one of the paper's figures, over all steps that both have.

    Attributes:
        figure: its number.
        quantity: with its unit.
        curves: how many.
        typical: median of their distances, whatever their direction.
        farthest: the largest.
        inside: share of the paper's points inside the band over our seeds; empty with one seed.
    """

    figure: str
    quantity: str
    curves: int
    typical: str
    farthest: str
    inside: str


@dataclass(frozen=True)
class Curves:
    """Every curve of one of the paper's networks, a column per window of steps."""

    header: list[str]
    lines: list[list[str]]


@dataclass(frozen=True)
class OfScale:
    """What is known about one scale of our runs."""

    title: str
    summaries: list[Summary]
    tables: list[Curves]


def summed_up(distances: pd.DataFrame) -> list[OfScale]:
    """Scale by scale.

    Args:
        distances: from `paper_distance`.
    """
    return [
        OfScale(str(title), list(_summaries(scale)), list(_tables(scale)))
        for title, scale in distances.groupby("scale_title", sort=False)
    ]


def _summaries(scale: pd.DataFrame) -> Iterator[Summary]:
    whole = scale[scale["window"] == ALL.name]
    groups = whole.groupby(["figure", "quantity"], sort=False)
    for (figure, quantity), rows in sorted(groups, key=lambda group: _number_and_letter(str(group[0][0]))):
        sizes = rows["distance"].abs()
        ratio = rows["measure"].iloc[0] == "log10 ratio"
        typical, farthest = (_size(float(value), ratio) for value in (sizes.median(), sizes.max()))
        inside = rows["share_inside"].mean()
        curves = len(rows.drop_duplicates(["lr", "layer", "arm"]))
        share = "" if pd.isna(inside) else f"{inside:.0%}"
        yield Summary(str(figure), QUANTITIES[str(quantity)].label, curves, typical, farthest, share)


def _number_and_letter(figure: str) -> tuple[int, str]:
    letter = figure.lstrip("0123456789")
    return int(figure.removesuffix(letter)), letter


def _size(distance: float, ratio: bool) -> str:
    return f"×{number(10**distance, 2)}" if ratio else f"±{number(distance, 2)}"


def _tables(scale: pd.DataFrame) -> Iterator[Curves]:
    for model, rows in scale.groupby("model", sort=False):
        windows = [window.name for window in WINDOWS[str(model)] if window.name in set(rows["window"])]
        yield Curves(header(windows), lines(rows, windows))
