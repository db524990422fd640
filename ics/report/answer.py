"""The answer to the project's question, from the verdicts."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from ics.analysis.claims import words
from ics.analysis.claims.covariate_shift import CLAIM
from ics.analysis.measured import QUANTITIES

# The claim says that the shift is not reduced.
OUTCOMES = {"supported": "not reduced", "contradicted": "reduced", "undecided": "undecided"}

# The measures of the claim; the name of the first is part of the last one's.
MEASURES = [QUANTITIES[name].label for name in ("ics_l2", "ics_cosine", "ics_relative_l2")]

# Other claims that a reader will ask about at once.
BESIDE = ("bn_trains_faster", "bn_generalises_better", "noisy_nearly_matches_bn", "bn_spike_at_init")

CHECKS = "digits_"
"""How scales begin that check the machinery and are no evidence."""


@dataclass(frozen=True)
class Cell:
    """One comparison of networks with and without batch normalisation.

    Attributes:
        outcome: of `OUTCOMES`.
        verdict: on the claim.
        effect: with batch normalisation against without.
        interval: of the effect.
        n: pairs of runs.
    """

    outcome: str
    verdict: str
    effect: str
    interval: str
    n: int


@dataclass(frozen=True)
class Answer:
    """The answer and what it rests on.

    Attributes:
        short: a word or two.
        sentence: how many comparisons say what.
        measures: columns of the table.
        settings: rows of the table: scale, learning rate, and a cell (or None) per measure.
        beside: what else the runs say: statement, scale, verdict, effect.
    """

    short: str
    sentence: str
    measures: list[str]
    settings: list[tuple[str, str, list[Cell | None]]]
    beside: list[dict[str, str]]


def answer(claims: pd.DataFrame) -> Answer:
    """The answer.

    Args:
        claims: from `claims_table`.
    """
    judged = evidence(claims)
    mine = judged[judged["claim"] == CLAIM]
    counts = Counter(mine["verdict"])
    return Answer(
        _short(counts),
        _sentence(counts),
        MEASURES,
        list(_settings(mine)),
        [_beside(row) for row in judged[judged["claim"].isin(BESIDE)].to_dict("records")],
    )


def evidence(claims: pd.DataFrame) -> pd.DataFrame:
    """The headline claims that runs decide, at the scales that are evidence."""
    checks = claims["scale"].fillna("").astype(str).str.startswith(CHECKS)
    judged: pd.DataFrame = claims[(claims["headline"] == 1) & (claims["n"] > 0) & ~checks]
    return judged


def _short(counts: Counter[str]) -> str:
    if not counts["supported"] and not counts["contradicted"]:
        return "These runs do not decide it."
    if counts["supported"] and counts["contradicted"]:
        decided = counts["supported"] + counts["contradicted"]
        return f"In {counts['contradicted']} of the {decided} comparisons that these runs decide."
    word = "No" if counts["supported"] else "Yes"
    return f"{word}, wherever these runs decide it." if counts["undecided"] else f"{word}."


def _sentence(counts: Counter[str]) -> str:
    total = counts.total()
    if not total:
        return "There are no runs of both kinds of network yet."
    found = ", ".join(f"{word} in {counts[verdict]}" for verdict, word in OUTCOMES.items() if counts[verdict])
    return (
        "Networks with and without batch normalisation were compared in "
        f"{total} way{'s' if total > 1 else ''} (networks × learning rates × measures). The shift is {found}."
    )


def _settings(mine: pd.DataFrame) -> Iterator[tuple[str, str, list[Cell | None]]]:
    for (title, lr), rows in mine.groupby(["scale_title", "lr"], sort=False):
        cells = {measure_of(str(row["effect_is"])): _cell(row) for row in rows.to_dict("records")}
        yield str(title), words.rate(float(str(lr))), [cells.get(name) for name in MEASURES]


def measure_of(effect_is: str) -> str:
    """The measure that an effect is about."""
    return next(name for name in reversed(MEASURES) if name in effect_is)


def _cell(row: dict[Any, Any]) -> Cell:
    verdict = str(row["verdict"])
    return Cell(OUTCOMES[verdict], verdict, words.effect(row), words.interval(row), int(row["n"]))


def _beside(row: dict[Any, Any]) -> dict[str, str]:
    return {
        "statement": words.statement(row),
        "scale": str(row["scale_title"]),
        "verdict": str(row["verdict"]),
        "effect": f"{words.effect(row)} {words.interval(row)}".strip(),
    }
