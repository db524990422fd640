"""Histograms whose bins differ from run to run and from step to step; see `ics.quantities.histogram`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

Array = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Density:
    """One run's histogram.

    Attributes:
        edges: of the bins, all of one width.
        density: in them, per unit of the activation.
        below: share of the values that lie below all bins; the rest lies above.
    """

    edges: Array
    density: Array
    below: float

    def at(self, x: Array) -> Array:
        """The density on straight lines through the middles of the bins, down to 0 beside them."""
        width = self.edges[1] - self.edges[0]
        middles = np.concatenate([self.edges[:1] - width / 2, self.edges + width / 2])
        found: Array = np.interp(x, middles, np.concatenate([[0.0], self.density, [0.0]]))
        return found

    def share_below(self, x: Array) -> Array:
        """The share of the values that lie below x, uniform within a bin; outside of the bins that at their end."""
        cumulative = self.below + np.concatenate([[0.0], np.cumsum(self.density * np.diff(self.edges))])
        found: Array = np.interp(x, self.edges, cumulative)
        return found


@dataclass(frozen=True)
class Pooled:
    """The histograms of several runs, which count equally.

    Attributes:
        runs: one each.
    """

    runs: Sequence[Density]

    def at(self, x: Array) -> Array:
        """The average density."""
        found: Array = np.mean([run.at(x) for run in self.runs], axis=0)
        return found

    def quantiles(self, *shares: float) -> tuple[float, ...]:
        """Values below which so large a share lies."""
        edges = np.unique(np.concatenate([run.edges for run in self.runs]))
        below = np.mean([run.share_below(edges) for run in self.runs], axis=0)
        return tuple(float(value) for value in np.interp(shares, below, edges))


def pooled(rows: pd.DataFrame) -> Pooled:
    """The histograms of several runs, each in bins of its own.

    Args:
        rows: of the table `histogram`: one step, layer and unit, any number of runs.

    Raises:
        ValueError: a run has no value in a finite bin.
    """
    return Pooled([_density(own) for _, own in rows.groupby("run", observed=True)])


def _density(rows: pd.DataFrame) -> Density:
    low, high, count = (rows[name].to_numpy(dtype=np.float64) for name in ("low", "high", "count"))
    finite = np.isfinite(low) & np.isfinite(high)
    if not finite.any():
        raise ValueError("a histogram without any finite bin")
    share = count / count.sum()
    width = float((high - low)[finite].min())
    place = np.rint((low[finite] - low[finite].min()) / width).astype(int)  # bins without a value have no row
    return Density(
        edges=low[finite].min() + width * np.arange(place.max() + 2, dtype=np.float64),
        density=np.bincount(place, share[finite]) / width,
        below=float(share[np.isneginf(low)].sum()),
    )
