"""The answer to the project's question, and what the runs say of where the shift comes from."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import pandas as pd

from ics.analysis.claims import words
from ics.analysis.claims.claim import EARLY, LATE
from ics.analysis.claims.covariate_shift import CLAIM
from ics.analysis.claims.judge import without_beginnings
from ics.analysis.claims.origins import OF_THE_SPIKE
from ics.analysis.claims.words import Row
from ics.analysis.measured import QUANTITIES
from ics.figures.runs import PAIR
from ics.figures.style import ARMS

# The claim says that the shift is not reduced: by what is in its column `holds`.
OUTCOMES = {1: "not reduced", 0: "reduced"}

MEASURES = {name: QUANTITIES[name].label for name in ("ics_l2", "ics_cosine", "ics_relative_l2")}
"""Of the shift: quantity -> label."""

# Other claims that a reader will ask about at once.
BESIDE = ("bn_trains_faster", "bn_generalises_better", "noisy_nearly_matches_bn", "bn_spike_at_init")

CHECKS = ("digits",)
"""Data whose runs check the machinery and are no evidence."""

PHASES = {EARLY.name: "first tenth", LATE.name: "second half"}
OF_AN_ARM = {"shift_is_local": "from the two blocks next below", "shift_is_linear": "not linear in the update"}


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
    """The headline claims that runs decide, but for runs that only check the machinery, or are others' beginnings."""
    return without_beginnings(claims[(claims["headline"] == 1) & (claims["n"] > 0) & ~claims["data"].isin(CHECKS)])


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
            f"{row['scale_title']} (learning rate {words.rate(row['lr'])}), by {MEASURES[row['quantity']]}: "
            + words.found(row)
            for row in few.to_dict("records")
        ]
        text += f" It is {elsewhere} in {len(few)}: {'; '.join(cases)}."
    return text + (f" Undecided: {undecided}." if undecided else "")


def _networks(rows: pd.DataFrame) -> str:
    """Which networks, at which learning rates."""
    rates = rows.groupby("network", sort=False)["lr"].unique()
    return " and ".join(f"{name} (learning rate {' and '.join(map(words.rate, lr))})" for name, lr in rates.items())


def origins_tables(claims: pd.DataFrame) -> list[tuple[list[str], list[list[str]]]]:
    """Where the shift comes from, from `claims_table`: header and lines of a table of shares, and of one of the spike.

    Both are without lines where no runs say anything.
    """
    judged = evidence(claims)
    judged = judged.assign(found=[words.found(row) for row in judged.to_dict("records")])
    shares, spikes = [], []
    for (title, lr), own in judged.groupby(["scale_title", "lr"], sort=False):
        network = [str(title), words.rate(float(str(lr)))]
        for (claim, what), (phase, when) in product(OF_AN_ARM.items(), PHASES.items()):
            of_arms = own[(own["claim"] == claim) & (own["phase"] == phase)].set_index("arm")
            if len(of_arms):
                cells = [of_arms["found"].get(arm, "–") for arm in PAIR.shown]
                shares.append([*network, str(of_arms["n"].max()), what, when, *cells])
        spike = own[own["claim"] == "spike_is_scale"].set_index("quantity")
        if len(spike):
            cells = [spike["found"].get(quantity, "–") for quantity, _ in OF_THE_SPIKE]
            spikes.append([*network, str(spike["n"].max()), *cells])
    known = ["network", "learning rate", "seeds"]
    return [
        ([*known, "share of the shift", "training", *(ARMS[arm].label for arm in PAIR.shown)], shares),
        ([*known, *(what for _, what in OF_THE_SPIKE)], spikes),
    ]
