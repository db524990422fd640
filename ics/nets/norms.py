"""Normalisations by name."""

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated

from pydantic import Field, NonNegativeFloat
from torch import nn

from ics.errors import UserError
from ics.nets.base import chain
from ics.nets.lp_norm import LpNorm
from ics.nets.noise import ActivationNoise
from ics.registry import Count, Registry

NormFactory = Callable[[int, int], nn.Module | None]
"""`norm(features, spatial_dims)`: the norm for activations (N, C) (`spatial_dims` 0, after a linear layer) or
(N, C, H, W) (`spatial_dims` 2, after a convolution); None where no module is to be inserted."""

NORMS = Registry[NormFactory]("norm")

Momentum = Annotated[float, Field(ge=0, le=1)]


@NORMS.register("none")
def none() -> NormFactory:
    """No normalisation: the paper's standard network."""
    return lambda features, spatial_dims: None


@NORMS.register("batch")
def batch(eps: NonNegativeFloat = 1e-5, momentum: Momentum | None = 0.1, affine: bool = True) -> NormFactory:
    """PyTorch's batch normalisation; `momentum` is the fraction replaced, None for the plain average."""

    def norm(features: int, spatial_dims: int) -> nn.Module:
        kind = nn.BatchNorm2d if spatial_dims else nn.BatchNorm1d
        return kind(features, eps=eps, momentum=momentum, affine=affine)

    return norm


@NORMS.register("noise_only")
def noise_only(
    mean_range: NonNegativeFloat = 0.5,
    scale_range: tuple[float, float] = (1.0, 1.25),
    mean_spread: NonNegativeFloat = 0.1,
    scale_spread: NonNegativeFloat = 0.1,
) -> NormFactory:
    """Algorithm 1's noise on a standard network; the options are those of `ActivationNoise`."""
    return lambda features, spatial_dims: ActivationNoise(mean_range, scale_range, mean_spread, scale_spread)


@NORMS.register("noisy_batch")
def noisy_batch(
    mean_range: NonNegativeFloat = 0.5,
    scale_range: tuple[float, float] = (1.0, 1.25),
    mean_spread: NonNegativeFloat = 0.1,
    scale_spread: NonNegativeFloat = 0.1,
    eps: NonNegativeFloat = 1e-5,
    momentum: Momentum | None = 0.1,
    affine: bool = True,
) -> NormFactory:
    """Batch normalisation, then (after γ and β) the noise of Algorithm 1."""
    normalise = batch(eps, momentum, affine)
    perturb = noise_only(mean_range, scale_range, mean_spread, scale_spread)

    def norm(features: int, spatial_dims: int) -> nn.Module:
        return chain(("batch", normalise(features, spatial_dims)), ("noise", perturb(features, spatial_dims)))

    return norm


def lp(p: float, eps: NonNegativeFloat = 1e-5, momentum: Momentum = 0.1, affine: bool = True) -> NormFactory:
    """Normalisation by the average ℓp norm; see `LpNorm`."""
    return lambda features, spatial_dims: LpNorm(features, p, eps=eps, momentum=momentum, affine=affine)


NORMS.register("l1")(partial(lp, 1.0))
NORMS.register("l2")(partial(lp, 2.0))
NORMS.register("linf")(partial(lp, math.inf))


@NORMS.register("layer")
def layer(eps: NonNegativeFloat = 1e-5, affine: bool = True) -> NormFactory:
    """Layer normalisation over all features of a sample: for a convolution C, H, W, with γ, β per channel."""

    def norm(features: int, spatial_dims: int) -> nn.Module:
        if spatial_dims:
            return nn.GroupNorm(1, features, eps=eps, affine=affine)
        return nn.LayerNorm(features, eps=eps, elementwise_affine=affine)

    return norm


@NORMS.register("group")
def group(groups: Count = 8, eps: NonNegativeFloat = 1e-5, affine: bool = True) -> NormFactory:
    """Group normalisation. Its paper uses 32 groups; the default of 8 also divides narrower networks."""

    def norm(features: int, spatial_dims: int) -> nn.Module:
        if features % groups:
            divisors = [str(n) for n in range(1, features + 1) if features % n == 0]
            raise UserError(
                f"norm 'group': {groups} groups do not divide {features} features; "
                f"norm.groups must be one of {', '.join(divisors)}"
            )
        return nn.GroupNorm(groups, features, eps=eps, affine=affine)

    return norm
