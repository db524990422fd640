"""The claims table in Markdown."""

from operator import itemgetter
from typing import Any

import pandas as pd

from ics.analysis.claims import words
from ics.analysis.claims.interval import CONFIDENCE
from ics.analysis.markdown import records_table

HEAD = f"""# The paper's claims

Every row is one claim at one scale of runs. The effect is a mean over seeds with its {CONFIDENCE:.0%} confidence
interval (Student's t; where two kinds of network are compared, over the differences of runs with the same seed).
*Supported*: the whole interval lies where the claim is true; *contradicted*: none of it does. These words are kept for
runs of the paper's own size, on its own data. At a smaller scale, or on other data, they are *borne out* and *not borne
out at this scale*. *Undecided*: neither, or fewer than two seeds. Ratios are written ×. Of many rows at
{CONFIDENCE:.0%} a few will be wrong by chance. Runs that diverged count as guessing, or as an infinite loss. The
paper's curves: the same statistic of its own digitised curves, one run, and whether it lies where the claim is true.

"""

_MISSING = """
## No runs yet

"""

_DETAILS = """
## Details

Layer by layer, phase by phase, and variants. *Early*: the first tenth of the training; *middle*: up to half; *late*:
the second half.

"""

_RULES = """
## Rules

Each was written down, beside its constants, before any result on CIFAR-10. Results on the digits and of the deep linear
network had been seen.

"""


def to_markdown(claims: pd.DataFrame) -> str:
    """The whole report on `claims_table`: verdicts, what has no runs, details, rules."""
    headline, with_runs = claims["headline"] == 1, claims["n"] > 0
    parts = [HEAD, _verdicts(claims[headline & with_runs])]
    missing = claims[headline & ~with_runs]
    if len(missing):
        parts += [_MISSING, *(f"- {words.statement(row)}: {row['note']}\n" for row in missing.to_dict("records"))]
    if (~headline & with_runs).any():
        parts += [_DETAILS, _verdicts(claims[~headline & with_runs], statistic=True)]
    first = claims.drop_duplicates(["claim", "effect_is", "phase", "rule"])
    return "".join([*parts, _RULES, *(_rule(row) for row in first[first["headline"] == 1].to_dict("records"))])


def _verdicts(rows: pd.DataFrame, statistic: bool = False) -> str:
    second = {"statistic": words.statistic} if statistic else {"in the paper": itemgetter("place")}
    runs = {"runs": itemgetter("scale")}
    columns = {"claim": words.statement} | second | runs | words.CELLS | {"note": itemgetter("note")}
    return records_table(rows.to_dict("records"), columns)


def _rule(row: Any) -> str:
    return f"- `{row['claim']}`: {words.statistic(row)}; {row['rule']}.\n"
