"""All claims by family, and the table of them. A new family joins in one line."""

from collections.abc import Collection

import pandas as pd

from ics.analysis.claims import covariate_shift, landscape, origins, stability, theory, training
from ics.analysis.claims.claim import Claim
from ics.analysis.claims.judge import evaluate
from ics.analysis.load import Runs

FAMILIES = (training, stability, covariate_shift, landscape, origins)
THEORY = theory.NAMES


def all_claims() -> list[Claim]:
    """Every claim that runs can decide, headlines and details."""
    return [claim for family in FAMILIES for claim in family.claims()]


def names() -> list[str]:
    """The names of all claims, in the order of the table."""
    return list(dict.fromkeys([*(claim.name for claim in all_claims()), *THEORY]))


def claims_table(runs: Runs | None, names: Collection[str]) -> pd.DataFrame:
    """The rows of some claims, headlines and details: of what runs can decide, if there are any, and of theorems."""
    found = evaluate([claim for claim in all_claims() if claim.name in names], runs)
    theorems = theory.theory_table().reindex(columns=found.columns)
    parts = [part for part in (found, theorems[theorems["claim"].isin(names)]) if len(part)]
    return pd.concat(parts, ignore_index=True)
