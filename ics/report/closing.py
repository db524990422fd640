"""The screen with which the first command ends."""

from pathlib import Path
from textwrap import fill

import pandas as pd

from ics.analysis.claims import words
from ics.analysis.claims.covariate_shift import QUESTION
from ics.analysis.load import Runs
from ics.report.answer import answer, outcome
from ics.report.origin import origins

NEXT = {
    "python scripts/train.py -m experiment=fig3_dln hydra/launcher=local": "its deep linear network at full length",
    "python scripts/train.py --help": "runs and sweeps of your own",
    "make figures": "the evidence anew, from the tables of longer runs",
}


def closing(runs: Runs, claims: pd.DataFrame, page: Path, figures: Path) -> str:
    """The question, what these runs say, and where to go on.

    Args:
        runs: the quick runs.
        claims: judged by them, from `claims_table`.
        page: the report made for them.
        figures: the folder of their figures.
    """
    found = answer(claims)
    said = [
        [
            f"  {title}, rate {rate}:",
            *(f"    {outcome(row)}: {what} {words.found(row)}" for what, row in told),
        ]
        for title, rate, rows in found.settings
        if (told := [(what, row) for what, row in zip(found.measures, rows, strict=True) if row])
    ]
    hours = sum(origin.hours for origin in origins(runs))
    drawn = len(list(figures.glob("*.png")))
    wide = max(map(len, NEXT))
    return "\n".join(
        [
            "",
            QUESTION,
            "",
            fill(f"{found.short} {found.sentence}", 100),
            *(line for lines in said for line in lines),
            "The digits only check the machinery; the answer rests on longer runs: results/README.md",
            "",
            f"{len(runs.settings)} runs, {60 * hours:.0f} minutes of computing",
            f"  the page for these runs: {page}",
            f"  {drawn} figures, the claims, the distances to the paper's curves: {figures}",
            "",
            "Next:",
            *(f"  {command:{wide}}  {what}" for command, what in NEXT.items()),
        ]
    )
