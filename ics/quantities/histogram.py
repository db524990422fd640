"""Histograms of activations: behind the ridgelines of Figures 1c, 2, 6 and 9."""

import math
from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from ics.errors import UserError
from ics.quantities.base import LAYER_INDEX, QUANTITIES, STEP, LossFunction, Row
from ics.quantities.distribution import ALL_UNITS, SAMPLE, thinned
from ics.quantities.passes import Keys, LayerQuantity
from ics.tables import Table, columns

BULK = (0.001, 0.999)  # the ranks between which bins of unspecified range lie


@QUANTITIES.register("histogram")
class Histogram(LayerQuantity):
    """Counts of the chosen layers' activations in the training pass, in bins of equal width; see `Activations`.

    Activations of networks without a norm differ by orders of magnitude from layer to layer and over training. Without
    `low` and `high`, each histogram therefore finds its own bins: the edges are multiples of the smallest power of two
    that lets at most `bins` bins hold all but the outermost 0.1 % of the values on either side. Such grids are nested,
    so that histograms of different steps can be brought to the same bins exactly, by adding up.

    Args:
        layers: see `Activations`.
        units: units that get a histogram each; those that a layer does not have are left out. None: one of all units.
        bins: number of bins between `low` and `high`; without these: the largest number of bins.
        low: lower edge of the first bin.
        high: upper edge of the last bin.
        at: see `Activations`.

    Raises:
        UserError: of low and high only one is given, or low is not the lower.
    """

    table = Table(
        "histogram",
        columns(
            STEP,
            LAYER_INDEX,
            ("unit", "int", "channel or feature, from 0; -1: the values of all units together"),
            ("low", "float", "edge of the bin, itself inside; -inf: the bin of all values below the others", True),
            ("high", "float", "edge of the bin, outside; inf: the bin of all values above the others", True),
            ("count", "int", "number of values; bins without any have no row"),
        ),
        key=("step", "layer_index", "unit", "low"),
    )

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFunction,
        layers: Keys | None = None,
        units: tuple[NonNegativeInt, ...] | None = None,
        bins: PositiveInt = 40,
        low: float | None = None,
        high: float | None = None,
        at: Literal["pre_activation", "layer"] = "pre_activation",
    ) -> None:
        if (low is None) != (high is None) or (low is not None and high is not None and low >= high):
            raise UserError(f"low and high are the ends of a range or both null, not {low} and {high}")
        super().__init__(model, loss_fn, layers, at)
        self._units = None if units is None else sorted(set(units))
        self._bins = bins
        self._range = None if low is None or high is None else (low, high)

    def rows_of(self, values: Tensor) -> list[Row]:
        units = [ALL_UNITS] if self._units is None else [unit for unit in self._units if unit < len(values)]
        return [
            {"unit": unit, "low": low, "high": high, "count": count}
            for unit in units
            for low, high, count in self._count((values if unit == ALL_UNITS else values[unit]).flatten())
        ]

    def _count(self, values: Tensor) -> list[tuple[float, float, int]]:
        """Low edge, high edge and count of all bins that hold something; values that are nan are in none."""
        values = values[~values.isnan()].double()
        edges = self._edges(values)
        # right=True: an edge belongs to the bin above it. Bin 0 lies below the first edge, the last one above the last.
        places = torch.bucketize(values, torch.tensor(edges, dtype=values.dtype, device=values.device), right=True)
        counts = torch.bincount(places, minlength=len(edges) + 1).tolist()
        bounds = [-math.inf, *edges, math.inf]
        return [(bounds[i], bounds[i + 1], count) for i, count in enumerate(counts) if count]

    def _edges(self, values: Tensor) -> list[float]:
        if self._range is not None:
            low, high = self._range
            return [low + i * (high - low) / self._bins for i in range(self._bins)] + [high]
        finite = values[values.isfinite()]
        if finite.numel() == 0:
            return [0.0]
        ranks = torch.tensor(BULK, dtype=values.dtype, device=values.device)
        low, high = torch.quantile(thinned(finite, SAMPLE), ranks).tolist()
        exponent = math.ceil(math.log2((high - low) / self._bins)) if high > low else 0
        while True:
            width = math.ldexp(1.0, exponent)
            first, last = math.floor(low / width), math.floor(high / width)
            if last - first < self._bins:
                return [i * width for i in range(first, last + 2)]
            exponent += 1
