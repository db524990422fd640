"""Initial weights by name."""

from collections.abc import Callable, Mapping
from functools import partial
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
INITS.parts |= {"linear": INITS, "first": INITS}


SCALED: dict[str, Callable[..., Tensor]] = {
    "glorot_uniform": nn.init.xavier_uniform_,  # U(−a, a), a = √(6 / (fan_in + fan_out)) (Glorot & Bengio 2010, eq. 16)
    "glorot_normal": nn.init.xavier_normal_,  # N(0, 2 / (fan_in + fan_out)) (ibid., eq. 12)
    "he_uniform": partial(nn.init.kaiming_uniform_, nonlinearity="relu"),  # U(−a, a), a = √(6 / fan_in)
    "he_normal": partial(nn.init.kaiming_normal_, nonlinearity="relu"),  # N(0, 2 / fan_in) (He et al. 2015, eq. 10)
    # N(0, 2 / fan_out), with fan_out = k²·C_out for a convolution (He et al. 2015, eq. 14)
    "he_normal_fan_out": partial(nn.init.kaiming_normal_, mode="fan_out", nonlinearity="relu"),
    # U(−a, a), a = √(3 / fan_in), so that the variance is 1 / fan_in (LeCun et al. 1998, section 4.6)
    "lecun_uniform": partial(nn.init.kaiming_uniform_, nonlinearity="linear"),
}


def _without_options(fill: Callable[..., Tensor]) -> Callable[[], WeightInit]:
    return lambda: lambda weight, generator: fill(weight, generator=generator)


for _name, _fill in SCALED.items():
    INITS.register(_name)(_without_options(_fill))


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
    `init` holds name and options of the initialisation; `pytorch` leaves a layer as it is. Its `linear` holds those of
    the linear layers, its `first` those of the very first layer, where they are others.
    """
    if not isinstance(init, Mapping):
        INITS.build(init)  # says what it should be
    special = {part: init[part] for part in ("linear", "first") if init.get(part) is not None}
    default = INITS.build({key: value for key, value in init.items() if key not in ("linear", "first")})
    fills = {part: INITS.build(settings) for part, settings in special.items()}
    layers = [module for module in model.modules() if isinstance(module, nn.Linear | _ConvNd)]
    for place, module in enumerate(layers):
        fill = fills.get("linear", default) if isinstance(module, nn.Linear) else default
        fill = fills.get("first", fill) if place == 0 else fill
        if fill is not None:
            fill(module.weight, generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
