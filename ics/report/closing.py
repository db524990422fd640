"""The screen with which the first command ends."""

from pathlib import Path
from textwrap import fill

import pandas as pd

from ics.analysis.claims import words
from ics.analysis.claims.covariate_shift import QUESTION
from ics.analysis.load import Runs
from ics.report.answer import MEASURES, answer, outcome
from ics.report.origin import origins

NEXT = {
    "python scripts/train.py -m experiment=fig3_dln hydra/launcher=local": "its deep linear network at full length",
    "python scripts/train.py --help": "runs and sweeps of your own",
    "make figures": "the evidence anew, from the tables of longer runs",
}


def closing(runs: Runs, claims: pd.DataFrame, page: Path, figures: Path) -> str:
    """The question, what these runs say, and where to go on: to their page, and to the folder of their figures."""
    found = answer(claims)
    said = []
    for title, lr, rows in found.settings:
        said.append(f"  {title}, rate {words.rate(lr)}:")
        by_measure = zip(MEASURES.values(), rows, strict=True)
        said += [f"    {outcome(row)}: {label} {words.found(row)}" for label, row in by_measure if row]
    hours = sum(origin["hours"] for origin in origins(runs))
    drawn = len(list(figures.glob("*.png")))
    wide = max(map(len, NEXT))
    return "\n".join(
        [
            "",
            QUESTION,
            "",
            fill(f"{found.short} {found.sentence}", 100),
            *said,
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
