"""What a measured quantity is: something that looks at one training step and gives rows of one table.

To add one: write a class with `table` and `observe`, decorate it with `@QUANTITIES.register("its_name")`, and name it
under `measure:` in a config, with `every:` and its options.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor, nn

from ics.registry import Registry
from ics.tables import Table

Row = dict[str, Any]
LossFunction = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Step:
    """A training step at the moment between its backward pass and its update.

    Attributes:
        number: 0-based; the batch and the gradients are those of this step.
        x: the batch's inputs, as the model takes them.
        y: its targets.
        loss: the batch's loss.
        lr: the learning rate of the update to come.
        next_x: gives the inputs of the next step's batch, which are made when asked for.
        decay: parameter → λ, where the update to come has the gradient of a penalty λ/2·‖W‖² in it.
    """

    number: int
    x: Tensor
    y: Tensor
    loss: float
    lr: float
    next_x: Callable[[], Tensor]
    decay: Mapping[nn.Parameter, float] = field(default_factory=dict)


class Quantity(Protocol):
    """Measures at a step, and changes nothing: parameters, gradients, buffers and random state stay bit-identical."""

    table: Table

    def observe(self, step: Step) -> AbstractContextManager[list[Row]]:
        """Open around the update: entered after the backward pass, left after the optimizer's step.

        Yields:
            A list of rows, filled at the latest when the block ends; `step` is added by the caller.
        """
        ...

    def close(self) -> None:
        """Remove every hook."""
        ...


STEP = ("step", "int", "number of updates before this one")
LAYER_INDEX = ("layer_index", "int", "place of the layer in the order of execution, from 1")
LAYER = ("layer", "str", "qualified name of the layer's module")
"""Columns that many tables share."""

# Builders take the context arguments `model` and `loss_fn`, then a quantity's own options.
QUANTITIES = Registry[Quantity]("quantity")
