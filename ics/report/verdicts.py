"""The claims table as the page shows it."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ics.analysis.claims import words
from ics.analysis.claims.claim import END, PHASES, START, WHOLE
from ics.report.quotes import QUOTES

VERDICTS = ("supported", "contradicted", "undecided")

_PHASES = [phase.name for phase in (START, WHOLE, *PHASES, END)]


@dataclass(frozen=True)
class Row:
    """One claim at one scale, in words.

    Attributes:
        claim: its name.
        statement: what it says.
        place: where it stands in the paper.
        quote: the paper's own words, where its curves or our runs say otherwise and the words are known.
        statistic: what was computed.
        scale: of the runs.
        claimed: the effects for which it is true.
        effect: found.
        interval: of the effect.
        n: seeds.
        verdict: of `VERDICTS`.
        papers_curves: what the paper's own curves show.
        disagrees: whether they disagree with its text.
        note: what else to know.
        rule: by which the verdict is reached.
    """

    claim: str
    statement: str
    place: str
    quote: str
    statistic: str
    scale: str
    claimed: str
    effect: str
    interval: str
    n: int
    verdict: str
    papers_curves: str
    disagrees: bool
    note: str
    rule: str


def judged(claims: pd.DataFrame, headline: bool) -> list[Row]:
    """The rows that runs (or the theorems' arithmetic) decide.

    Args:
        claims: from `claims_table`.
        headline: those that stand for their claim; or else the details.
    """
    mine = claims[(claims["headline"] == int(headline)) & (claims["n"] > 0)]
    return [_row(row) for row in mine.to_dict("records")]


def counted(rows: list[Row]) -> list[tuple[str, int]]:
    """How many rows have each verdict."""
    counts = Counter(row.verdict for row in rows)
    return [(verdict, counts[verdict]) for verdict in VERDICTS]


@dataclass(frozen=True)
class Detail:
    """One statistic of a claim at one scale, phase by phase.

    Attributes:
        row: what all phases have in common, from the first of them.
        statistic: without the phase.
        phases: the row of each phase of `phases_of`, None where it was not computed.
    """

    row: Row
    statistic: str
    phases: list[Row | None]


def phases_of(rows: list[Row]) -> list[str]:
    """The phases of the training that any of the rows is about, in order."""
    return [name for name in _PHASES if any(_phase(row.statistic) == name for row in rows)]


def by_phase(rows: list[Row]) -> list[Detail]:
    """Details with their phases side by side."""
    phases = phases_of(rows)
    groups: dict[tuple[str, str, str], dict[str, Row]] = {}
    for row in rows:
        phase = _phase(row.statistic)
        statistic = row.statistic.replace(f"; {phase}", "", 1)
        groups.setdefault((row.statement, row.scale, statistic), {})[phase] = row
    return [
        Detail(next(iter(found.values())), statistic, [found.get(phase) for phase in phases])
        for (_, _, statistic), found in groups.items()
    ]


def _phase(statistic: str) -> str:
    return next((name for name in _PHASES if f"; {name}" in statistic), WHOLE.name)


def missing(claims: pd.DataFrame) -> list[tuple[str, list[str]]]:
    """Why claims have no runs, with the command that makes them, and which claims these are."""
    mine = claims[(claims["headline"] == 1) & (claims["n"] == 0) & claims["scale"].isna()]
    return [
        (str(note), [words.statement(row) for row in rows.to_dict("records")])
        for note, rows in mine.groupby("note", sort=False)
    ]


def _row(row: dict[Any, Any]) -> Row:
    disagrees = row["papers_curves"] == "disagree"
    return Row(
        claim=str(row["claim"]),
        statement=words.statement(row),
        place=str(row["place"]),
        quote=QUOTES.get(str(row["claim"]), "") if disagrees or row["verdict"] == "contradicted" else "",
        statistic=str(row["effect_is"]),
        scale=str(row["scale_title"]),
        claimed=words.claimed(row),
        effect=words.effect(row),
        interval=words.interval(row),
        n=int(row["n"]),
        verdict=str(row["verdict"]),
        papers_curves=words.papers_curves(row),
        disagrees=bool(disagrees),
        note=str(row["note"]),
        rule=str(row["rule"]),
    )
