"""Optimizers by name."""

from collections.abc import Iterable
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import nn

from ics.registry import Registry

OPTIMIZERS = Registry[torch.optim.Optimizer]("optimizer")
"""Builders called with the context `parameters`, then options."""

Fraction = Annotated[float, Field(ge=0, lt=1)]


@OPTIMIZERS.register("sgd")
def sgd(
    parameters: Iterable[nn.Parameter],
    lr: PositiveFloat,
    momentum: Fraction = 0.0,
    weight_decay: NonNegativeFloat = 0.0,
) -> torch.optim.Optimizer:
    """Gradient descent; `weight_decay` λ adds the gradient of the penalty λ/2·‖W‖² to every update."""
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)


@OPTIMIZERS.register("adam")
def adam(
    parameters: Iterable[nn.Parameter],
    lr: PositiveFloat,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    weight_decay: NonNegativeFloat = 0.0,
) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015)."""
    return torch.optim.Adam(parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay)
