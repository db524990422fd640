"""The answer to the project's question, and what the runs say of where the shift comes from, in sentences."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from ics.analysis.claims import words
from ics.analysis.claims.claim import EARLY, LATE
from ics.analysis.claims.covariate_shift import CLAIM
from ics.analysis.claims.origins import OF_THE_SPIKE
from ics.analysis.claims.words import Row
from ics.analysis.measured import QUANTITIES
from ics.figures.style import ARMS

# The claim says that the shift is not reduced: by what is in its column `holds`.
OUTCOMES = {1: "not reduced", 0: "reduced"}

MEASURES = {name: QUANTITIES[name].label for name in ("ics_l2", "ics_cosine", "ics_relative_l2")}
"""Of the shift: quantity -> label."""

# Other claims that a reader will ask about at once.
BESIDE = ("bn_trains_faster", "bn_generalises_better", "noisy_nearly_matches_bn", "bn_spike_at_init")

CHECKS = ("digits",)
"""Data whose runs check the machinery and are no evidence."""

PHASES = {LATE.name: "in the second half of the training", EARLY.name: "in its first tenth"}
OF_AN_ARM = {
    "shift_is_local": "from the two blocks next below comes a share of",
    "shift_is_linear": "not linear in the update is a share of",
}


@dataclass(frozen=True)
class Answer:
    """The answer and what it rests on.

    Attributes:
        short: yes, no or mostly not.
        sentence: in how many comparisons, in which networks, and where it is otherwise.
        settings: scale, learning rate, and the claim's row (or None) for each of `MEASURES`.
        beside: what else the runs say, rows of the claims table.
    """

    short: str
    sentence: str
    settings: list[tuple[str, float, list[Row | None]]]
    beside: Sequence[Row]


def answer(claims: pd.DataFrame) -> Answer:
    """The answer, from `claims_table`."""
    judged = evidence(claims)
    mine = judged[judged["claim"] == CLAIM]
    beside = judged[judged["claim"].isin(BESIDE)].to_dict("records")
    settings: list[tuple[str, float, list[Row | None]]] = []
    for (title, lr), rows in mine.groupby(["scale_title", "lr"], sort=False):
        found = {row["quantity"]: row for row in rows.to_dict("records")}
        settings.append((str(title), float(str(lr)), [found.get(name) for name in MEASURES]))
    return Answer(_short(mine), _sentence(mine), settings, beside)


def evidence(claims: pd.DataFrame) -> pd.DataFrame:
    """The headline claims that runs decide, but for runs that only check the machinery."""
    judged: pd.DataFrame = claims[(claims["headline"] == 1) & (claims["n"] > 0) & ~claims["data"].isin(CHECKS)]
    return judged


def outcome(row: Row) -> str:
    """What a row of the claim says of the shift."""
    return OUTCOMES.get(row["holds"], "undecided")


def _short(mine: pd.DataFrame) -> str:
    same, less = (mine["holds"] == 1).sum(), (mine["holds"] == 0).sum()
    if not same + less:
        return "These runs do not decide it."
    if same and less:
        return "Mostly not." if same > less else "Mostly." if less > same else "As often as not."
    word = "No" if same else "Yes"
    return f"{word}, wherever these runs decide it." if mine["holds"].isna().any() else f"{word}."


def _sentence(mine: pd.DataFrame) -> str:
    if mine.empty:
        return "There are no runs of both kinds of network yet."
    same, less = mine[mine["holds"] == 1], mine[mine["holds"] == 0]
    decided, undecided = len(same) + len(less), len(mine) - len(same) - len(less)
    if not decided:
        return f"Undecided: {undecided}."
    sides = [(same, "no smaller"), (less, "smaller")]
    (most, usually), (few, elsewhere) = sides if len(same) >= len(less) else sides[::-1]
    whole = f"all {decided} comparisons" if decided > 1 else "the one comparison"
    share = f"{len(most)} of the {decided} comparisons" if len(few) else whole
    text = f"In {share} that these runs decide, the shift is {usually} with batch normalisation: {_networks(most)}."
    if len(few):
        cases = [
            f"{row['network']} (learning rate {words.rate(row['lr'])}), by {MEASURES[row['quantity']]}: "
            + words.found(row)
            for row in few.to_dict("records")
        ]
        text += f" It is {elsewhere} in {len(few)}: {'; '.join(cases)}."
    return text + (f" Undecided: {undecided}." if undecided else "")


def _networks(rows: pd.DataFrame) -> str:
    """Which networks, at which learning rates."""
    rates = rows.groupby("network", sort=False)["lr"].unique()
    return " and ".join(f"{name} (learning rate {' and '.join(map(words.rate, lr))})" for name, lr in rates.items())


def origins_findings(claims: pd.DataFrame) -> list[str]:
    """Where the shift comes from: a paragraph per network and learning rate, from `claims_table`."""
    rows = evidence(claims)
    mine = rows[rows["claim"].isin([*OF_AN_ARM, "spike_is_scale"])]
    return [
        f"{title}, learning rate {words.rate(float(str(lr)))}, n = {own['n'].max()}: {'; '.join(_findings(own))}."
        for (title, lr), own in mine.groupby(["scale_title", "lr"], sort=False)
    ]


def _findings(rows: pd.DataFrame) -> Iterator[str]:
    for claim, begins in OF_AN_ARM.items():
        parts = []
        for phase, when in PHASES.items():
            of = rows[(rows["claim"] == claim) & (rows["phase"] == phase)].to_dict("records")
            found = [f"{words.found(row)} ({ARMS[row['arm']].label})" for row in of]
            parts += [f"{' and '.join(found)} {when}"] if found else []
        if parts:
            yield f"{begins} {', '.join(parts)}"
    spike = {row["quantity"]: row for row in rows[rows["claim"] == "spike_is_scale"].to_dict("records")}
    ratios = [f"{words.found(spike[quantity])} in {what}" for quantity, what in OF_THE_SPIKE if quantity in spike]
    if ratios:
        yield f"at step 0, beside the standard network, BatchNorm's shift is {', '.join(ratios)}"
