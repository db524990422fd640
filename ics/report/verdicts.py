"""The claims table as the page shows it: its rows, in an order and with what belongs together side by side."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ics.analysis.claims import words
from ics.analysis.claims.claim import END, PHASES, START, WHOLE
from ics.report.quotes import QUOTES

_PHASES = [phase.name for phase in (START, WHOLE, *PHASES, END)]

Row = dict[Any, Any]
"""Of the claims table."""


def judged(claims: pd.DataFrame, headline: bool) -> list[Row]:
    """The rows that runs (or the theorems' arithmetic) decide.

    Args:
        claims: from `claims_table`.
        headline: those that stand for their claim; or else the details.
    """
    return claims[(claims["headline"] == int(headline)) & (claims["n"] > 0)].to_dict("records")


def counted(rows: list[Row]) -> list[tuple[str, int]]:
    """How many rows have each verdict, the most frequent first."""
    return Counter(str(row["verdict"]) for row in rows).most_common()


def quote(row: Row) -> str:
    """The paper's own words, where its curves or our runs say otherwise and the words are known."""
    otherwise = row["papers_curves"] == "disagree" or row["holds"] == 0
    return QUOTES.get(row["claim"], "") if otherwise else ""


@dataclass(frozen=True)
class Detail:
    """One statistic of a claim at one scale, phase by phase.

    Attributes:
        row: what all phases have in common, from the first of them.
        phases: the row of each phase of `phases_of`, None where it was not computed.
    """

    row: Row
    phases: list[Row | None]


def phases_of(rows: list[Row]) -> list[str]:
    """The phases of the training that any of the rows is about, in order."""
    return [name for name in _PHASES if any(row["phase"] == name for row in rows)]


def by_phase(rows: list[Row]) -> list[Detail]:
    """Details with their phases side by side."""
    groups: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        key = (words.statement(row), row["scale"], row["effect_is"])
        groups.setdefault(key, {})[row["phase"]] = row
    phases = phases_of(rows)
    return [Detail(next(iter(found.values())), [found.get(phase) for phase in phases]) for found in groups.values()]


def missing(claims: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Why claims have no runs, with the command that makes them, and which claims these are."""
    mine = claims[(claims["headline"] == 1) & (claims["n"] == 0) & claims["scale"].isna()]
    return [
        (str(note), [words.statement(row) for row in rows.to_dict("records")])
        for note, rows in mine.groupby("note", sort=False)
    ]
