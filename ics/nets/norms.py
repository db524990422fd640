"""Normalisations by name, and what PyTorch has not: by an ℓp norm, and the noise of "noisy" BatchNorm."""

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor, nn

from ics.errors import UserError
from ics.nets.base import chain
from ics.registry import Count, Registry


class LpNorm(nn.Module):
    """Batch normalisation with the average ℓp norm where BatchNorm has the standard deviation.

    Figure 5 of Santurkar et al. 2018. Per unit (a feature, or a channel of a convolution), averaging over
    batch, height and width, and taking the norm before the mean is subtracted:

        ŷ = (y − E[y]) / (‖y‖ₚ + ε),  ‖y‖ₚ = E[|y|ᵖ]^(1/p), or max |y| for p = ∞;  output γ ŷ + β

    Evaluation uses running averages of E[y] and ‖y‖ₚ. ε stands outside the root, so that it means the same
    for every p.

    Args:
        features: number of units C.
        p: order of the norm, at least 1; `math.inf` for the maximum.
        eps: added to the norm, in units of the activation.
        momentum: fraction of the running averages that each batch replaces (PyTorch's convention).
        affine: whether γ (`weight`, starts at 1) and β (`bias`, starts at 0) are learned.

    Shape:
        (N, C) or (N, C, H, W), returned unchanged.

    Raises:
        UserError: a training batch holds one value per unit, which is its own mean.
    """

    running_mean: Tensor
    running_norm: Tensor

    def __init__(self, features: int, p: float, eps: float = 1e-5, momentum: float = 0.1, affine: bool = True) -> None:
        super().__init__()
        self.p = p
        self.eps = eps
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(features)) if affine else None
        self.bias = nn.Parameter(torch.zeros(features)) if affine else None
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_norm", torch.ones(features))

    def forward(self, y: Tensor) -> Tensor:
        mean, norm = self._batch_statistics(y) if self.training else (self.running_mean, self.running_norm)
        per_unit = (1, -1, *(1,) * (y.ndim - 2))
        centred = y - mean.view(per_unit)
        if self.weight is None or self.bias is None:
            return centred / (norm + self.eps).view(per_unit)
        scale = self.weight / (norm + self.eps)  # γ / (‖y‖ₚ + ε), per unit: cheaper than per activation
        return torch.addcmul(self.bias.view(per_unit), centred, scale.view(per_unit))

    def _batch_statistics(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """E[y] and ‖y‖ₚ of the batch, each of shape (C,); moves the running averages towards them."""
        dims = (0, *range(2, y.ndim))
        count = y.numel() // y.shape[1]
        if count == 1:
            raise UserError(
                "LpNorm needs more than one value per unit in training, and got a batch of shape "
                f"{tuple(y.shape)}; use a larger batch"
            )
        mean = y.mean(dims)
        norm = torch.linalg.vector_norm(y, self.p, dims) / count ** (1 / self.p)  # count⁰ = 1 for p = ∞
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_norm.lerp_(norm, self.momentum)
        return mean, norm


class ActivationNoise(nn.Module):
    """Random shift and scale of every activation, its distribution changing from step to step.

    Algorithm 1 of Santurkar et al. 2018. For unit j and sample i of a training batch

        μⱼ ~ U(−mean_range, mean_range),  σⱼ ~ U(scale_range)           one per unit, shared by the samples
        mᵢⱼ ~ U(μⱼ − mean_spread, μⱼ + mean_spread),  sᵢⱼ ~ N(σⱼ, scale_spread²)
        aᵢⱼ ← sᵢⱼ aᵢⱼ + mᵢⱼ

    After a convolution height and width count as batch: (μ, σ) per channel, (m, s) per activation. Every
    training-mode call draws afresh from the default generator of the activations' device; in evaluation mode
    the module is the identity.

    Args:
        mean_range: half the range of μ, in units of the activation (the paper's n_μ = 0.5).
        scale_range: smallest and largest σ (the paper's 1 and n_σ = 1.25).
        mean_spread: half the range of m around μ (the paper's r_μ = 0.1).
        scale_spread: standard deviation of s around σ (the paper's r_σ = 0.1).

    Shape:
        (N, C) or (N, C, H, W), returned unchanged.

    Raises:
        UserError: the range of σ is empty.
    """

    def __init__(
        self,
        mean_range: float = 0.5,
        scale_range: tuple[float, float] = (1.0, 1.25),
        mean_spread: float = 0.1,
        scale_spread: float = 0.1,
    ) -> None:
        super().__init__()
        if scale_range[0] > scale_range[1]:
            raise UserError(f"scale_range: the lower end comes first, so not {list(scale_range)}")
        self.mean_range = mean_range
        self.scale_range = scale_range
        self.mean_spread = mean_spread
        self.scale_spread = scale_spread

    def forward(self, a: Tensor) -> Tensor:
        if not self.training:
            return a
        per_unit = (1, a.shape[1], *(1,) * (a.ndim - 2))
        mean = a.new_empty(per_unit).uniform_(-self.mean_range, self.mean_range)  # μⱼ
        scale = a.new_empty(per_unit).uniform_(*self.scale_range)  # σⱼ
        m = torch.empty_like(a).uniform_(-self.mean_spread, self.mean_spread).add_(mean)  # mᵢⱼ
        s = torch.empty_like(a).normal_(0, self.scale_spread).add_(scale)  # sᵢⱼ
        return torch.addcmul(m, s, a)  # sᵢⱼ aᵢⱼ + mᵢⱼ


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
