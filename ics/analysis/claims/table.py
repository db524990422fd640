"""The claims table: everything runs can decide, and the theorems."""

from collections.abc import Collection

import pandas as pd

from ics.analysis.claims import catalogue
from ics.analysis.claims.judge import evaluate
from ics.analysis.claims.theory import theory_table
from ics.analysis.load import Runs


def claims_table(runs: Runs | None, names: Collection[str]) -> pd.DataFrame:
    """The rows of some claims, headlines and details.

    Args:
        runs: what there is; None if nothing.
        names: of `catalogue.names`.
    """
    found = evaluate([claim for claim in catalogue.all_claims() if claim.name in names], runs)
    theory = theory_table().reindex(columns=found.columns)
    parts = [part for part in (found, theory[theory["claim"].isin(names)]) if len(part)]
    return pd.concat(parts, ignore_index=True)
