"""The distribution of a layer's activations, and how far it moves in a step: behind Figures 1c, 2, 6, 8a and 9."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from pydantic import NonNegativeInt
from torch import Tensor, nn

from ics.quantities.base import QUANTITIES, LossFunction, Row, Step
from ics.quantities.distribution import ALL_UNITS, PERCENTILES, describe, moments, rounded
from ics.quantities.places import Keys, LayerPasses
from ics.shift import Layer
from ics.shift.state import TrainingPass
from ics.tables import Table, columns

Moments = dict[Layer, Tensor]  # a layer's means and variances per unit: (2, units), float64
_STATISTICS = ("mean", "variance", "minimum", "maximum", *(f"p{p}" for p in PERCENTILES))
_CHANGES = ("mean_step_change", "variance_step_change", "mean_batch_change", "variance_batch_change")


@QUANTITIES.register("activations")
class Activations:
    """Activations of the chosen layers over the batch (and height and width), of single units and of all together.

    The distribution is that of the training pass itself: its parameters, batch, random draws and batch statistics.

    Figure 8a of Santurkar et al. 2018 shows |μ_u(t + 1) − μ_u(t)| and |σ²_u(t + 1) − σ²_u(t)|, averaged over the units
    u of a layer, for successive training passes. Between these the parameters, the noise and the batch change; the next
    batch is not known yet, so that the change comes in two parts:

    - step change: the updated parameters and the next pass's random draws, but the same batch again;
    - batch change: the same parameters and the same noise on the two halves of the batch, each a batch of its own,
      divided by √2: halves differ by √2 times as much as whole batches do.

    Where batch statistics fix a unit's mean and variance (BN, with or without noise), the batch change is 0 (in the
    variance: almost) and the step change is the paper's. In a standard network the batch change can be the greater
    part; the parts being unrelated, √(step² + batch²) comes close to the paper's.

    Costs two forward passes without gradients, and a third for the batch change.

    Args:
        layers: 1-based indices or names, numbered as in the table `shift`; None means all.
        units: which units get rows of their own, counted from 0; those that a layer does not have are left out.
        at: "pre_activation": after the norm and its noise, before the non-linearity; "layer": the layer's own output.
            See `ics.quantities.places`.
        batch_change: whether to measure it. It means nothing where every batch is the whole training set.
    """

    table = Table(
        "activations",
        columns(
            ("step", "int", "number of updates before this one"),
            ("layer_index", "int", "place of the layer in the order of execution, from 1"),
            ("layer", "str", "qualified name of the layer's module"),
            ("unit", "int", "channel or feature, from 0; -1: the values of all units together"),
            ("mean", "float", "μ over batch, height and width; six significant digits in this and all columns", True),
            ("variance", "float", "σ², biased", True),
            ("minimum", "float", "smallest value", True),
            ("maximum", "float", "largest value", True),
            *((f"p{p}", "float", f"{p}th percentile", True) for p in PERCENTILES),
            ("mean_step_change", "float", "|Δμ| by update and noise, same batch; unit -1: mean over all units", True),
            ("variance_step_change", "float", "|Δσ²|, likewise", True),
            ("mean_batch_change", "float", "|Δμ| of two batches, from halves; unit -1: mean over all units", True),
            ("variance_batch_change", "float", "|Δσ²|, likewise; both nan where not measured", True),
        ),
        key=("step", "layer_index", "unit"),
    )

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFunction,
        layers: Keys | None = None,
        units: tuple[NonNegativeInt, ...] = (0, 1, 2, 3),
        at: Literal["pre_activation", "layer"] = "pre_activation",
        batch_change: bool = True,
    ) -> None:
        self._passes = LayerPasses(model, loss_fn, layers, at)
        self._units = sorted(set(units))
        self._batch_change = batch_change

    @contextmanager
    def observe(self, step: Step) -> Iterator[list[Row]]:
        conditions = self._passes.last
        rows: list[Row] = []
        now: Moments = {}

        def look(layer: Layer, values: Tensor) -> None:
            now[layer] = moments(values)
            for unit in [ALL_UNITS, *(unit for unit in self._units if unit < len(values))]:
                numbers = describe(values if unit == ALL_UNITS else values[unit])
                rows.append(
                    {"layer_index": layer.index, "layer": layer.name, "unit": unit}
                    | dict(zip(_STATISTICS, map(rounded, numbers), strict=True))
                )

        self._passes.run(step.x, conditions, look)
        rows.sort(key=lambda row: (row["layer_index"], row["unit"]))
        halves = self._halves(step.x, conditions)
        yield rows
        after = self._moments(step.x, conditions, fresh_noise=True)
        changes: dict[int, list[list[float]]] = {}
        for layer, values in now.items():
            unknown = torch.full_like(values, torch.nan)  # the pass has not met the layer, or was not made
            one, other = (half.get(layer, unknown) for half in halves)
            step_change = _distance(after.get(layer, unknown), values)
            changes[layer.index] = torch.cat([step_change, _distance(one, other) / math.sqrt(2)]).tolist()
        for row in rows:
            for name, change in zip(_CHANGES, changes[row["layer_index"]], strict=True):
                row[name] = rounded(change[row["unit"]])

    def close(self) -> None:
        self._passes.close()

    def _moments(self, x: Tensor, conditions: TrainingPass, fresh_noise: bool = False) -> Moments:
        found: Moments = {}

        def look(layer: Layer, values: Tensor) -> None:
            found[layer] = moments(values)

        self._passes.run(x, conditions, look, fresh_noise)
        return found

    def _halves(self, x: Tensor, conditions: TrainingPass) -> tuple[Moments, Moments]:
        half = len(x) // 2
        if not self._batch_change or half < 2:  # a batch of one has no batch statistics
            return {}, {}
        return self._moments(x[:half], conditions), self._moments(x[half : 2 * half], conditions)


def _distance(one: Tensor, other: Tensor) -> Tensor:
    """|Δμ| and |Δσ²| of every unit and, at index −1, their mean over the units: (2, units) → (2, units + 1)."""
    distance = (one - other).abs()
    return torch.cat([distance, distance.mean(dim=1, keepdim=True)], dim=1)
