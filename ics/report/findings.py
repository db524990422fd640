"""What the runs say of where the shift comes from, a paragraph per network and learning rate."""

from collections.abc import Iterator

import pandas as pd

from ics.analysis.claims import words
from ics.analysis.claims.claim import EARLY, LATE
from ics.analysis.claims.origins import OF_THE_SPIKE
from ics.figures.style import ARMS
from ics.report.answer import evidence

PHASES = {LATE.name: "in the second half of the training", EARLY.name: "in its first tenth"}
OF_AN_ARM = {
    "shift_is_local": "from the two blocks next below comes a share of",
    "shift_is_linear": "not linear in the update is a share of",
}


def origins_findings(claims: pd.DataFrame) -> list[str]:
    """The paragraphs, from `claims_table`."""
    rows = evidence(claims)
    mine = rows[rows["claim"].isin([*OF_AN_ARM, "spike_is_scale"])]
    return [
        f"{title}, learning rate {words.rate(float(str(lr)))}, n = {own['n'].max()}: {'; '.join(_said(own))}."
        for (title, lr), own in mine.groupby(["scale_title", "lr"], sort=False)
    ]


def _said(rows: pd.DataFrame) -> Iterator[str]:
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
