"""What tests of components share: a quantity at one step of a training, and the states of all random numbers."""

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ics.quantities import QUANTITIES, Row, Step


def measured(
    name: str,
    model: nn.Module,
    x: Tensor,
    y: Any,
    loss_fn: Any = functional.cross_entropy,
    update: Callable[[nn.Module], object] = lambda model: None,
    number: int = 0,
    lr: float = 0.1,
    decay: Mapping[nn.Parameter, float] | None = None,
    next_x: Tensor | None = None,
    **options: Any,
) -> list[Row]:
    """The rows of a step, whose update is what is done to the model; each of them fits the quantity's table."""
    quantity = QUANTITIES.build({"name": name, **options}, model=model, loss_fn=loss_fn)
    model.zero_grad()
    loss = loss_fn(model(x), y)
    loss.backward()
    step = Step(number, x, y, loss.item(), lr, lambda: x if next_x is None else next_x, decay or {})
    with quantity.observe(step) as rows, torch.no_grad():
        update(model)
    quantity.close()
    for row in rows:
        quantity.table.format({"step": number, **row})
    return rows


class Point(nn.Module):
    """The output is θ itself, so that the loss is a function of θ alone; in two parts, beside one frozen, one unused.

    Args:
        theta: (n,), in double precision.
    """

    def __init__(self, theta: Tensor) -> None:
        super().__init__()
        self.a, self.b = (nn.Parameter(part.double()) for part in (theta[:-1], theta[-1:]))
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.a, self.b])


def identity(features: int) -> nn.Linear:
    """The map that changes nothing, as a layer."""
    layer = nn.Linear(features, features)
    nn.init.eye_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def random_states() -> list[Any]:
    """Of torch, Python and NumPy; they can be compared."""
    return [torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()]
