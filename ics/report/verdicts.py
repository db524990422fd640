"""The claims table as the page shows it: its rows, in an order and with what belongs together side by side."""

from collections import Counter

import pandas as pd

from ics.analysis.claims import words
from ics.analysis.claims.claim import END, PHASES, START, WHOLE
from ics.report.answer import Row
from ics.report.quotes import QUOTES

_PHASES = [phase.name for phase in (START, WHOLE, *PHASES, END)]


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


def phases_of(rows: list[Row]) -> list[str]:
    """The phases of the training that any of the rows is about, in order."""
    return [name for name in _PHASES if any(row["phase"] == name for row in rows)]


def by_phase(rows: list[Row]) -> list[list[Row | None]]:
    """Details with their phases side by side: for each of `phases_of` its row, None where it was not computed."""
    groups: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        key = (words.statement(row), row["scale"], row["effect_is"])
        groups.setdefault(key, {})[row["phase"]] = row
    phases = phases_of(rows)
    return [[found.get(phase) for phase in phases] for found in groups.values()]


def missing(claims: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Why claims have no runs, with the command that makes them, and which claims these are."""
    mine = claims[(claims["headline"] == 1) & (claims["n"] == 0) & claims["scale"].isna()]
    return [
        (str(note), [words.statement(row) for row in rows.to_dict("records")])
        for note, rows in mine.groupby("note", sort=False)
    ]
