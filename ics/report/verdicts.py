"""The claims table as the page shows it: what belongs together side by side, and the paper's own words."""

import pandas as pd

from ics.analysis.claims.claim import END, PHASES, START, WHOLE
from ics.analysis.claims.words import Row

QUOTES = {
    "bn_does_not_reduce_ics": "Models with BatchNorm have similar, or even worse, internal covariate shift",
    "standard_dln_has_no_ics": "the standard network experiences almost no ICS for the entirety of training",
    "bn_dln_gradients_uncorrelated": "for BatchNorm it appears that G and G′ are almost uncorrelated",
    "noise_prevents_training": "prevents it from training entirely",
    "noisy_less_stable": "has qualitatively less stable distributions than even the standard, non-BatchNorm network",
}
"""Claim -> the paper's words (arXiv 1805.11604v3), where its own curves or our runs may not bear it out."""

_ALIKE = ["claim", "text", "lr", "quantity", "arm", "against", "layers", "effect_is", "scale"]


def quote(row: Row) -> str:
    """The paper's own words, where its curves or our runs say otherwise and the words are known."""
    otherwise = row["papers_curves"] == "disagree" or row["holds"] == 0
    return QUOTES.get(row["claim"], "") if otherwise else ""


def by_phase(details: pd.DataFrame) -> tuple[list[str], list[list[Row | None]]]:
    """Claims with the phases of the training side by side.

    Args:
        details: rows of the claims table.

    Returns:
        The phases that any row is about, in order; and for each group of rows that differ only in it a row per phase,
        None where it was not computed.
    """
    phases = [p.name for p in (START, WHOLE, *PHASES, END) if (details["phase"] == p.name).any()]
    groups = details.groupby(_ALIKE, sort=False, dropna=False)
    of_phases = [{row["phase"]: row for row in rows.to_dict("records")} for _, rows in groups]
    return phases, [[found.get(phase) for phase in phases] for found in of_phases]
