"""All claims by family. A new family joins in one line."""

from ics.analysis.claims import covariate_shift, landscape, origins, stability, theory, training
from ics.analysis.claims.claim import Claim

FAMILIES = (training, stability, covariate_shift, landscape, origins)
THEORY = theory.NAMES


def all_claims() -> list[Claim]:
    """Every claim that runs can decide, headlines and details."""
    return [claim for family in FAMILIES for claim in family.claims()]


def names() -> list[str]:
    """The names of all claims, in the order of the table."""
    return list(dict.fromkeys([*(claim.name for claim in all_claims()), *THEORY]))
