"""Initial weights by name."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from pydantic import PositiveFloat
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from ics.registry import Registry

WeightInit = Callable[[Tensor, torch.Generator], object]
"""Fills a weight (out, in, …) in place, drawing from the generator."""

INITS = Registry[WeightInit | None]("initialisation")


@INITS.register("glorot_uniform")
def glorot_uniform() -> WeightInit:
    """U(−a, a) with a = √(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16)."""
    return lambda weight, generator: nn.init.xavier_uniform_(weight, generator=generator)


@INITS.register("glorot_normal")
def glorot_normal() -> WeightInit:
    """N(0, 2 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 12)."""
    return lambda weight, generator: nn.init.xavier_normal_(weight, generator=generator)


@INITS.register("he_uniform")
def he_uniform() -> WeightInit:
    """U(−a, a) with a = √(6 / fan_in) (He et al. 2015)."""
    return lambda weight, generator: nn.init.kaiming_uniform_(weight, nonlinearity="relu", generator=generator)


@INITS.register("he_normal")
def he_normal() -> WeightInit:
    """N(0, 2 / fan_in) (He et al. 2015, eq. 10)."""
    return lambda weight, generator: nn.init.kaiming_normal_(weight, nonlinearity="relu", generator=generator)


@INITS.register("normal")
def normal(std: PositiveFloat = 0.01) -> WeightInit:
    """N(0, std²) in every layer."""
    return lambda weight, generator: nn.init.normal_(weight, std=std, generator=generator)


@INITS.register("pytorch")
def pytorch() -> None:
    """What PyTorch's constructors drew, biases included."""


def weights_generator(seed: int) -> torch.Generator:
    """The source of the initial weights, unrelated to other draws from the same seed (data, noise)."""
    mixed = np.random.SeedSequence([*b"weights", seed]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(mixed[0]))


def initialize(model: nn.Module, init: Mapping[str, Any], generator: torch.Generator) -> None:
    """Draw the weights of all convolutions and linear layers in order of registration; set their biases to 0.

    Norms draw nothing, so that networks which differ in the norm alone get the same weights, bit for bit.

    Args:
        model: changed in place.
        init: name and options of the initialisation; `pytorch` leaves the model as it is.
        generator: where the weights are drawn from.
    """
    fill = INITS.build(init)
    if fill is None:
        return
    for module in model.modules():
        if isinstance(module, nn.Linear | _ConvNd):
            fill(module.weight, generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
