"""The noise of "noisy" BatchNorm."""

import torch
from torch import Tensor, nn

from ics.errors import UserError


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
