"""Optimizers by name."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat
from torch import nn

from ics.registry import Registry

OPTIMIZERS = Registry[torch.optim.Optimizer]("optimizer")
"""Builders called with the context `parameters`, then options."""

Fraction = Annotated[float, Field(ge=0, lt=1)]

Decays = Literal["weights"] | None
"""What the penalty is on: the weights, which have two dimensions and more, or (None) biases and norms' γ and β too."""


@OPTIMIZERS.register("sgd")
def sgd(
    parameters: Iterable[nn.Parameter],
    lr: PositiveFloat,
    momentum: Fraction = 0.0,
    weight_decay: NonNegativeFloat = 0.0,
    decays: Decays = None,
) -> torch.optim.Optimizer:
    """Gradient descent; `weight_decay` λ adds the gradient of the penalty λ/2·‖W‖² to every update."""
    return torch.optim.SGD(_groups(parameters, weight_decay, decays), lr=lr, momentum=momentum)


@OPTIMIZERS.register("adam")
def adam(
    parameters: Iterable[nn.Parameter],
    lr: PositiveFloat,
    beta1: Fraction = 0.9,
    beta2: Fraction = 0.999,
    weight_decay: NonNegativeFloat = 0.0,
    decays: Decays = None,
) -> torch.optim.Optimizer:
    """Adam (Kingma & Ba 2015)."""
    return torch.optim.Adam(_groups(parameters, weight_decay, decays), lr=lr, betas=(beta1, beta2))


def _groups(parameters: Iterable[nn.Parameter], weight_decay: float, decays: Decays) -> list[dict[str, Any]]:
    """The optimizer's parameter groups: what the penalty is on, and the rest."""
    every = list(parameters)
    penalised = [p for p in every if decays is None or p.ndim > 1]
    free = [p for p in every if decays == "weights" and p.ndim <= 1]
    groups = [{"params": penalised, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]
