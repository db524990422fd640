"""Confidence intervals over few seeds, and the verdict they allow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np

CONFIDENCE = 0.95
POWER = 0.8
MOST_SEEDS = 1000

Verdict = Literal["supported", "contradicted", "borne out", "not borne out at this scale", "undecided"]


@dataclass(frozen=True)
class Range:
    """The effects for which a claim is true: low ≤ effect ≤ high."""

    low: float = -math.inf
    high: float = math.inf

    def __contains__(self, effect: float) -> bool:
        return self.low <= effect <= self.high


@dataclass(frozen=True)
class Estimate:
    """An effect and its confidence interval.

    Attributes:
        effect: mean over the seeds; nan without any.
        low: lower end of the interval; nan with fewer than two seeds.
        high: upper end.
        n: number of seeds.
    """

    effect: float
    low: float
    high: float
    n: int


def estimate(values: Sequence[float]) -> Estimate:
    """The mean and Student's t-interval of `CONFIDENCE`.

    Values that are all the same, be they infinite, are an interval of their own; if only some are infinite there is no
    interval.

    Args:
        values: one per seed, or per pair of runs with the same seed: their difference.

    Example:
        >>> estimate([1.0, 2.0, 3.0])
        Estimate(effect=2.0, low=-0.4841377117195456, high=4.484137711719546, n=3)
    """
    n = len(values)
    if n == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    if n > 1 and len(set(values)) == 1:
        return Estimate(values[0], values[0], values[0], n)
    with np.errstate(invalid="ignore"):
        mean = float(np.mean(values))
        if n == 1:
            return Estimate(mean, math.nan, math.nan, 1)
        half = t_quantile(n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half, n)


def judge(found: Estimate, claimed: Range) -> bool | None:
    """True if the whole interval is within the claimed range, False if all of it is outside, else None."""
    if not (found.n > 1 and found.low <= found.high):
        return None
    if found.low >= claimed.low and found.high <= claimed.high:
        return True
    return False if found.low > claimed.high or found.high < claimed.low else None


def verdict(holds: bool | None, papers_own: bool) -> Verdict:
    """In words: only runs of the paper's own size, on its own data, can contradict it."""
    if holds is None:
        return "undecided"
    if papers_own:
        return "supported" if holds else "contradicted"
    return "borne out" if holds else "not borne out at this scale"


def seeds_to_decide(found: Estimate, claimed: Range) -> float:
    """How many seeds would decide with a chance of `POWER`, were effect and spread those that were found.

    δ is the distance from the effect to the nearest end of the claimed range, s the spread (standard deviation over the
    seeds). n seeds decide where t_{n−1} < √n |mean − end| / s, which is noncentral t with noncentrality √n δ / s; that
    the interval may cross a farther second end is left out.

    Returns:
        The smallest n; inf if `MOST_SEEDS` are too few; nan without an interval that has a width.
    """
    from scipy.special import nctdtr, stdtrit

    if not (found.n > 1 and 0 < found.high - found.low < math.inf):
        return math.nan
    spread = (found.high - found.low) / 2 / t_quantile(found.n - 1) * math.sqrt(found.n)
    distance = min(abs(found.effect - end) for end in (claimed.low, claimed.high))
    n = np.arange(2, MOST_SEEDS + 1)
    chance = 1 - nctdtr(n - 1, np.sqrt(n) * distance / spread, stdtrit(n - 1, (1 + CONFIDENCE) / 2))
    enough = n[chance >= POWER]
    return float(enough[0]) if len(enough) else math.inf


@cache
def t_quantile(degrees: int) -> float:
    """Half the width of a t-interval of some degrees of freedom, in standard errors: P(|T| ≤ t) = `CONFIDENCE`.

    Example:
        >>> round(t_quantile(2), 4)
        4.3027
    """
    from scipy.special import stdtrit  # takes a second to import

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))
