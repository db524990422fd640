"""Mean and variance of single units' activations over training: behind Figure 8b, the drift since step 0."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from ics.quantities.base import QUANTITIES, LossFunction, Row, Step
from ics.quantities.distribution import moments, rounded
from ics.quantities.places import Keys, LayerPasses
from ics.tables import Table, columns


@QUANTITIES.register("moments")
class Moments:
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
            ("step", "int", "number of updates before this one"),
            ("layer_index", "int", "place of the layer in the order of execution, from 1"),
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
        self._passes = LayerPasses(model, loss_fn, layers, at)
        self._units = units

    @contextmanager
    def observe(self, step: Step) -> Iterator[list[Row]]:
        found = self._passes.run(step.x, self._passes.last, self._rows)
        yield [{"layer_index": layer.index, **row} for layer, rows in found.items() for row in rows]

    def close(self) -> None:
        self._passes.close()

    def _rows(self, values: Tensor) -> list[Row]:
        units = evenly_spaced(self._units, len(values))
        return [
            {"unit": unit, "mean": rounded(mean), "variance": rounded(variance)}
            for unit, mean, variance in zip(units, *moments(values[units]).tolist(), strict=True)
        ]


def evenly_spaced(wanted: int, there: int) -> list[int]:
    """So many of the indices 0, …, there − 1, starting with 0.

    Example:
        >>> evenly_spaced(4, 10), evenly_spaced(4, 3)
        ([0, 2, 5, 7], [0, 1, 2])
    """
    return [i * there // wanted for i in range(wanted)] if wanted < there else list(range(there))
