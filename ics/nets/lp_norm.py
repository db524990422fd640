"""Normalisation by an ℓp norm in place of the standard deviation."""

import torch
from torch import Tensor, nn

from ics.errors import UserError


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
