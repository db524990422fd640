"""The distribution of a layer's activations, how far it moves in a step (behind Figures 1c, 2, 6, 8a and 9), and mean
and variance of single units over training (behind Figure 8b, the drift since step 0)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveInt
from torch import Tensor, nn

from ics.quantities.base import LAYER, LAYER_INDEX, QUANTITIES, STEP, LossFunction, Row, Step
from ics.quantities.distribution import ALL_UNITS, PERCENTILES, describe, moments, rounded
from ics.quantities.passes import Keys, LayerQuantity
from ics.tables import Table, columns

_STATISTICS = ("mean", "variance", "minimum", "maximum", *(f"p{p}" for p in PERCENTILES))
_CHANGES = ("mean_step_change", "variance_step_change")


@QUANTITIES.register("activations")
class Activations(LayerQuantity):
    """Activations of the chosen layers over the batch (and height and width), of single units and of all together.

    The distribution is that of the training pass itself: its parameters, batch, random draws and batch statistics.

    Figure 8a of Santurkar et al. 2018 shows |μ_u(t + 1) − μ_u(t)| and |σ²_u(t + 1) − σ²_u(t)|, averaged over the units
    u of a layer, for successive training passes. That is what the step change is: the second pass has the updated
    parameters, the next step's batch and its random draws.

    Costs two forward passes without gradients.

    Args:
        layers: 1-based indices or names, numbered as in the table `shift`; None means all.
        units: which units get rows of their own, counted from 0; those that a layer does not have are left out.
        at: "pre_activation": after the norm and its noise, before the non-linearity; "layer": the layer's own output.
            See `ics.quantities.passes`.
    """

    table = Table(
        "activations",
        columns(
            STEP,
            LAYER_INDEX,
            LAYER,
            ("unit", "int", "channel or feature, from 0; -1: the values of all units together"),
            ("mean", "float", "μ over batch, height and width; six significant digits in this and all columns", True),
            ("variance", "float", "σ², biased", True),
            ("minimum", "float", "smallest value", True),
            ("maximum", "float", "largest value", True),
            *((f"p{p}", "float", f"{p}th percentile", True) for p in PERCENTILES),
            ("mean_step_change", "float", "|Δμ| to the next step's pass; unit -1: mean of all units' |Δμ|", True),
            ("variance_step_change", "float", "|Δσ²|, likewise", True),
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
    ) -> None:
        super().__init__(model, loss_fn, layers, at)
        self._units = sorted(set(units))

    @contextmanager
    def observe(self, step: Step) -> Iterator[list[Row]]:
        conditions = self.last
        before = self.look(step.x, conditions, lambda values: (moments(values), self._describe(values)))
        for layer, (_, rows) in before.items():
            for row in rows:
                row |= {"layer_index": layer.index, "layer": layer.name}
        yield [row for _, rows in before.values() for row in rows]
        after = self.look(step.next_x(), conditions, moments, fresh_noise=True)
        for layer, (now, rows) in before.items():
            changes = _distance(after.get(layer, torch.full_like(now, torch.nan)), now)  # the pass may not meet it
            for row in rows:
                row |= zip(_CHANGES, map(rounded, changes[:, row["unit"]].tolist()), strict=True)

    def _describe(self, values: Tensor) -> list[Row]:
        """A row for all units together and for each chosen one, without the changes."""
        samples = {ALL_UNITS: values} | {unit: values[unit] for unit in self._units if unit < len(values)}
        return [
            {"unit": unit, **dict(zip(_STATISTICS, map(rounded, describe(sample)), strict=True))}
            for unit, sample in samples.items()
        ]


def _distance(one: Tensor, other: Tensor) -> Tensor:
    """|Δμ| and |Δσ²| of every unit and, at index −1, their mean over the units: (2, units) → (2, units + 1)."""
    distance = (one - other).abs()
    return torch.cat([distance, distance.mean(dim=1, keepdim=True)], dim=1)


@QUANTITIES.register("moments")
class Moments(LayerQuantity):
    """Mean and variance of some units of the chosen layers in the training pass.

    The drift of Figure 8b is the average over units of |μ_u(t) − μ_u(0)| and |σ²_u(t) − σ²_u(0)|: a subtraction between
    rows, each step with its own batch and random draws, as in the paper. The paper averages over all units; a fixed
    subset estimates that average and keeps the table small.

    Args:
        layers: see `Activations`.
        units: how many units of a layer, evenly spaced; all of them where it has no more.
        at: see `Activations`.
    """

    table = Table(
        "moments",
        columns(
            STEP,
            LAYER_INDEX,
            ("unit", "int", "channel or feature, from 0"),
            ("mean", "float", "μ over batch, height and width; six significant digits", True),
            ("variance", "float", "σ², biased; six significant digits", True),
        ),
        key=("step", "layer_index", "unit"),
    )

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFunction,
        layers: Keys | None = None,
        units: PositiveInt = 16,
        at: Literal["pre_activation", "layer"] = "pre_activation",
    ) -> None:
        super().__init__(model, loss_fn, layers, at)
        self._units = units

    def rows_of(self, values: Tensor) -> list[Row]:
        wanted = min(self._units, len(values))
        units = [i * len(values) // wanted for i in range(wanted)]
        return [
            {"unit": unit, "mean": rounded(mean), "variance": rounded(variance)}
            for unit, mean, variance in zip(units, *moments(values[units]).tolist(), strict=True)
        ]
