"""Which earlier block moved which layer's gradient, and how far that is linear: see `ics.shift.origins`."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from ics.quantities.base import QUANTITIES, LossFunction, Row, Step
from ics.shift import ShiftProbe
from ics.tables import Table, columns


@QUANTITIES.register("origins")
class Origins:
    """Every cause of the chosen layers' shift, and all of them together.

    A measurement takes about as many passes as there are layers, half of them for the linear part.

    Args:
        layers: 1-based indices or names, between which the causes lie; None means all.
        noise: see `ShiftProbe`.
    """

    table = Table(
        "origins",
        columns(
            ("step", "int", "number of updates before this one"),
            ("cause_index", "int", "layer that the cause begins with, from 1; 0: before the first; -1: all together"),
            ("layer_index", "int", "place of the layer in the order of execution, from 1"),
            ("cause", "str", "qualified name of the module that the cause begins with, input or all"),
            ("layer", "str", "qualified name of the layer's module"),
            ("l2", "float", "‖S‖₂, S = ∇_W L(cause alone updated) − G, loss per unit of weight"),
            ("cosine", "float", "cos∠(S, D), D = G' − G; nan where one is zero", True),
            ("share", "float", "⟨S, D⟩ / ‖D‖², no unit; nan where D is zero", True),
            ("interaction", "float", "‖D − Σ S‖ / ‖D‖, of all together; else nan", True),
            ("linear_l2", "float", "‖H ΔW‖₂, linear in the update; nan without second derivative", True),
            ("linear_cosine", "float", "cos∠(H ΔW, S)", True),
            ("linear_error", "float", "‖S − H ΔW‖ / ‖S‖, no unit", True),
            ("gradient_norm", "float", "‖G‖₂, loss per unit of weight"),
            ("relative_update", "float", "‖ΔW‖ / ‖W‖ of the cause's parameters", True),
            ("output_change", "float", "by the cause alone, root mean square, in the outputs' unit", True),
        ),
        key=("step", "cause_index", "layer_index"),
    )  # fmt: skip

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFunction,
        layers: list[Annotated[int, Field(ge=1)] | str] | None = None,
        noise: Literal["same", "fresh"] = "same",
    ) -> None:
        self._probe = ShiftProbe(model, loss_fn, layers=layers, noise=noise)

    @contextmanager
    def observe(self, step: Step) -> Iterator[list[Row]]:
        rows: list[Row] = []
        with self._probe.observe(step.x, step.y, origins=True) as shift:
            yield rows
        rows += [asdict(origin) for origin in shift.origins]

    def close(self) -> None:
        self._probe.close()
