"""Internal covariate shift of every measured layer (Definition 2.1): the table behind Figure 3."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat
from torch import nn

from ics.quantities.base import QUANTITIES, LossFunction, Row, Step
from ics.shift import ShiftProbe
from ics.tables import Table, columns


@QUANTITIES.register("shift")
class Shift:
    """The shift of the chosen layers.

    Args:
        layers: 1-based indices or names; None means all.
        noise, params, moved, penalty: see `ShiftProbe`.
    """

    table = Table(
        "shift",
        columns(
            ("step", "int", "number of updates before this one"),
            ("layer_index", "int", "place of the layer in the order of execution, from 1"),
            ("layer", "str", "qualified name of the layer's module"),
            ("l2", "float", "‖G − G'‖₂, loss per unit of weight"),
            ("cosine", "float", "cos∠(G, G'), from -1 to 1; nan where a gradient is zero", True),
            ("relative_l2", "float", "‖G − G'‖₂ / ‖G‖₂, no unit; nan where G is zero", True),
            ("grad_norm", "float", "‖G‖₂, loss per unit of weight"),
            ("shifted_grad_norm", "float", "‖G'‖₂, loss per unit of weight; inf where it overflows", True),
        ),
        key=("step", "layer_index"),
    )

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFunction,
        layers: list[Annotated[int, Field(ge=1)] | str] | None = None,
        noise: Literal["same", "fresh"] = "same",
        params: Literal["weight", "all"] = "weight",
        moved: Literal["all", "weights"] = "all",
        penalty: NonNegativeFloat = 0.0,
    ) -> None:
        self._probe = ShiftProbe(
            model, loss_fn, layers=layers, noise=noise, params=params, moved=moved, penalty=penalty
        )

    @contextmanager
    def observe(self, step: Step) -> Iterator[list[Row]]:
        rows: list[Row] = []
        with self._probe.observe(step.x, step.y) as shift:
            yield rows
        rows += [asdict(row) for row in shift.rows]

    def close(self) -> None:
        self._probe.close()
