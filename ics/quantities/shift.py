"""Internal covariate shift of every measured layer (Definition 2.1), the table behind Figure 3, and its origins: which
earlier block moved which layer's gradient, and how far that is linear (see `ics.shift.origins`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Literal

from pydantic import NonNegativeFloat
from torch import nn

from ics.quantities.base import LAYER, LAYER_INDEX, QUANTITIES, STEP, LossFunction, Row, Step
from ics.quantities.passes import Keys, check_layers
from ics.shift import ShiftProbe
from ics.tables import Table, columns


class ProbeQuantity:
    """What a probe measures: the shift of every layer, or its origins."""

    def __init__(self, probe: ShiftProbe, origins: bool = False) -> None:
        self._probe, self._origins = probe, origins

    @contextmanager
    def observe(self, step: Step) -> Iterator[list[Row]]:
        rows: list[Row] = []
        with self._probe.observe(step.x, step.y, origins=self._origins) as shift:
            yield rows
        rows += map(asdict, shift.origins if self._origins else shift.rows)

    def close(self) -> None:
        self._probe.close()


@QUANTITIES.register("shift")
class Shift(ProbeQuantity):
    """The shift of the chosen layers.

    Args:
        layers: 1-based indices or names; None means all.
        noise, params, moved, penalty: see `ShiftProbe`.
    """

    table = Table(
        "shift",
        columns(
            STEP,
            LAYER_INDEX,
            LAYER,
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
        layers: Keys | None = None,
        noise: Literal["same", "fresh"] = "same",
        params: Literal["weight", "all"] = "weight",
        moved: Literal["all", "weights"] = "all",
        penalty: NonNegativeFloat = 0.0,
    ) -> None:
        check_layers(layers, model)
        super().__init__(
            ShiftProbe(model, loss_fn, layers=layers, noise=noise, params=params, moved=moved, penalty=penalty)
        )


@QUANTITIES.register("origins")
class Origins(ProbeQuantity):
    """Every cause of the chosen layers' shift, and all of them together.

    A measurement takes about as many passes as there are layers, half of them for the linear part.

    Args:
        layers: 1-based indices or names, between which the causes lie; None means all.
        noise: see `ShiftProbe`.
    """

    table = Table(
        "origins",
        columns(
            STEP,
            ("cause_index", "int", "layer that the cause begins with, from 1; 0: before the first; -1: all together"),
            LAYER_INDEX,
            ("cause", "str", "qualified name of the module that the cause begins with, input or all"),
            LAYER,
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
        layers: Keys | None = None,
        noise: Literal["same", "fresh"] = "same",
    ) -> None:
        check_layers(layers, model)
        super().__init__(ShiftProbe(model, loss_fn, layers=layers, noise=noise), origins=True)
