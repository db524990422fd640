"""Histograms whose bins differ from run to run and from step to step; see `ics.quantities.histogram`."""

from typing import Any

import numpy as np
import pandas as pd

Array = np.ndarray[Any, np.dtype[np.float64]]


class Pooled:
    """The histograms of several runs, which count equally, each in bins of its own.

    Args:
        rows: of the table `histogram`: one step, layer and unit, any number of runs.

    Raises:
        ValueError: a run has no value in a finite bin.
    """

    def __init__(self, rows: pd.DataFrame) -> None:
        self._runs = [_density(own) for _, own in rows.groupby("run", observed=True)]

    def at(self, x: Array) -> Array:
        """The average density, on straight lines through the middles of the bins, down to 0 beside them."""
        each = []
        for edges, density, _ in self._runs:
            half = (edges[1] - edges[0]) / 2
            middles = np.concatenate([edges[:1] - half, edges + half])
            each.append(np.interp(x, middles, np.concatenate([[0.0], density, [0.0]])))
        average: Array = np.mean(each, axis=0)
        return average

    def quantiles(self, *shares: float) -> tuple[float, ...]:
        """Values below which so large a share lies, uniform within a bin."""
        all_edges = np.unique(np.concatenate([edges for edges, *_ in self._runs]))
        each = []
        for edges, density, below in self._runs:
            cumulative = below + np.concatenate([[0.0], np.cumsum(density * np.diff(edges))])
            each.append(np.interp(all_edges, edges, cumulative))
        return tuple(float(value) for value in np.interp(shares, np.mean(each, axis=0), all_edges))


def _density(rows: pd.DataFrame) -> tuple[Array, Array, float]:
    """One run's histogram: edges of bins of one width, the density in them, the share of the values below them all."""
    low, high, count = (rows[name].to_numpy(dtype=np.float64) for name in ("low", "high", "count"))
    finite = np.isfinite(low) & np.isfinite(high)
    if not finite.any():
        raise ValueError("a histogram without any finite bin")
    share = count / count.sum()
    width = float((high - low)[finite].min())
    place = np.rint((low[finite] - low[finite].min()) / width).astype(int)  # bins without a value have no row
    edges = low[finite].min() + width * np.arange(place.max() + 2, dtype=np.float64)
    return edges, np.bincount(place, share[finite]) / width, float(share[np.isneginf(low)].sum())
