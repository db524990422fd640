"""Batch normalisation written out: forward pass, hand-derived backward pass, running statistics.

Ioffe & Szegedy 2015, algorithm 1 and section 3. Of each unit (a feature, or a channel of a convolution with height and
width counted as batch) there are m values x₁ … x_m in a batch:

    training     μ = 1/m Σ xᵢ,  σ² = 1/m Σ (xᵢ − μ)²,  x̂ᵢ = (xᵢ − μ) / √(σ² + ε),  yᵢ = γ x̂ᵢ + β
    evaluation   the same with the running mean and variance in the place of μ and σ²

`ics.laboratory.batch_norm_reference` says the same in NumPy, without a thought for speed.
"""

from typing import Any, Literal, cast

import torch
from pydantic import NonNegativeFloat
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ics.errors import UserError
from ics.nets.norms import NORMS, Momentum, NormFactory

MomentumIs = Literal["fraction_replaced", "fraction_kept"]


class BatchNormByHand(_BatchNorm):
    """Batch normalisation by the formulas above.

    From PyTorch's class come the parameters γ (`weight`) and β (`bias`), the running statistics and the format of
    checkpoints, and whoever asks whether a module is a batch normalisation is told so; what is computed stands here.

    Args:
        features: number of units C.
        eps: ε, added to the variance.
        momentum: of the running statistics, in the convention that `momentum_is` names; None: the plain average of all
            batches so far.
        momentum_is: the fraction of the running value that a batch replaces (PyTorch: 0.1), or the fraction of it that
            is kept (textbooks, Keras: 0.9 for the same).
        affine: whether γ and β are learned; otherwise they are 1 and 0.

    Shape:
        (N, C) or (N, C, …), returned unchanged.

    Raises:
        UserError: the input has other units, or a training batch holds one value per unit.

    Example:
        >>> norm = BatchNormByHand(2, momentum=0.9, momentum_is="fraction_kept")
        >>> norm(torch.tensor([[1.0, 0.0], [3.0, 8.0]])).detach().round()
        tensor([[-1., -1.],
                [ 1.,  1.]])
        >>> norm.running_mean
        tensor([0.2000, 0.4000])
    """

    def __init__(
        self,
        features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        momentum_is: MomentumIs = "fraction_replaced",
        affine: bool = True,
    ) -> None:
        replaced = momentum if momentum is None or momentum_is == "fraction_replaced" else 1 - momentum
        super().__init__(features, eps=eps, momentum=replaced, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim < 2 or x.shape[1] != self.num_features:
            raise UserError(f"batch normalisation of {self.num_features} units cannot take a {tuple(x.shape)} input")
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # half precision is too coarse for a mean
        gamma = self.weight if self.affine else wide.new_ones(self.num_features)
        beta = self.bias if self.affine else wide.new_zeros(self.num_features)
        if not self.training:
            y = EvaluationNorm.apply(wide, gamma, beta, self.running_mean, self.running_var, self.eps)
            return cast(Tensor, y).to(x.dtype)
        count = x.numel() // self.num_features
        if count == 1:
            raise UserError(f"one value per unit has no variance: train on more than a {tuple(x.shape)} batch")
        y, mean, variance = TrainingNorm.apply(wide, gamma, beta, self.eps)
        self._update_running(mean.detach(), variance.detach() * (count / (count - 1)))
        return cast(Tensor, y).to(x.dtype)

    def _update_running(self, mean: Tensor, unbiased_variance: Tensor) -> None:
        """running ← kept · running + replaced · batch, the exponential moving average; all of shape (C,)."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1
        replaced = self.momentum if self.momentum is not None else 1 / int(self.num_batches_tracked)
        kept = 1 - replaced
        self.running_mean.mul_(kept).add_(mean, alpha=replaced)
        self.running_var.mul_(kept).add_(unbiased_variance, alpha=replaced)


@NORMS.register("batch_by_hand")
def batch_by_hand(
    eps: NonNegativeFloat = 1e-5,
    momentum: Momentum | None = 0.1,
    momentum_is: MomentumIs = "fraction_replaced",
    affine: bool = True,
) -> NormFactory:
    """Batch normalisation with its backward pass derived by hand; see `BatchNormByHand`."""
    return lambda features, spatial_dims: BatchNormByHand(features, eps, momentum, momentum_is, affine)


class TrainingNorm(torch.autograd.Function):
    """(x, γ, β, ε) → (y, μ, σ²): normalisation by the batch's own statistics.

    μ and σ² (biased) are results with gradients of their own. Hence the backward pass, written in differentiable
    operations, can itself be differentiated: what it uses are arguments and results only.

    Shapes: x and y (N, C, …), all others (C,).
    """

    @staticmethod
    def forward(x: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
        m = x.numel() // x.shape[1]
        mean = x.mean(_batch_dims(x))  # μ = 1/m Σ xᵢ
        centred = x - _per_unit(mean, x)
        variance = _dot(centred, centred) / m  # σ² = 1/m Σ (xᵢ − μ)²
        scale = gamma * (variance + eps).rsqrt()
        y = centred.mul_(_per_unit(scale, x)).add_(_per_unit(beta, x))  # y = γ x̂ + β, in the memory of x − μ
        return y, mean, variance

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, gamma, _, ctx.eps = inputs
        _, mean, variance = output
        ctx.save_for_backward(x, gamma, mean, variance)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """From ∂L/∂y, ∂L/∂μ, ∂L/∂σ² (here: dy, …) to dx, dγ, dβ; the sums run over the m values of a unit.

        dβ  = Σ dyᵢ
        dγ  = Σ dyᵢ x̂ᵢ
        dσ² = Σ γ dyᵢ (xᵢ − μ) · (−½)(σ² + ε)^(−3/2)       and what came from outside
        dμ  = Σ γ dyᵢ · (−1)(σ² + ε)^(−1/2)                and what came from outside; ∂σ²/∂μ = −2/m Σ (xᵢ − μ) = 0
        dxᵢ = γ dyᵢ (σ² + ε)^(−1/2) + dσ² · 2/m (xᵢ − μ) + dμ · 1/m
        """
        dy, dmean, dvariance = grads
        x, gamma, mean, variance = ctx.saved_tensors
        m = x.numel() // x.shape[1]
        centred = x - _per_unit(mean, x)
        r = (variance + ctx.eps).rsqrt()  # 1 / √(σ² + ε)
        dbeta = dy.sum(_batch_dims(x))
        dgamma = r * _dot(dy, centred)
        dvariance = dvariance - gamma * dgamma * r**2 / 2
        dmean = dmean - gamma * dbeta * r
        dx = torch.addcmul(_per_unit(dmean / m, x), dy, _per_unit(gamma * r, x))
        dx = dx.addcmul_(centred, _per_unit(2 / m * dvariance, x))
        return dx, dgamma, dbeta, None


class EvaluationNorm(torch.autograd.Function):
    """(x, γ, β, running mean, running variance, ε) → y: an affine map per unit, the running values being constants.

    Shapes: as in `TrainingNorm`.
    """

    @staticmethod
    def forward(x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor, variance: Tensor, eps: float) -> Tensor:
        scale = gamma * (variance + eps).rsqrt()
        return (x - _per_unit(mean, x)).mul_(_per_unit(scale, x)).add_(_per_unit(beta, x))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, gamma, _, mean, variance, ctx.eps = inputs
        ctx.save_for_backward(x, gamma, mean, variance)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        """dβ = Σ dyᵢ;  dγ = Σ dyᵢ x̂ᵢ;  dxᵢ = γ dyᵢ (σ² + ε)^(−1/2)."""
        (dy,) = grads
        x, gamma, mean, variance = ctx.saved_tensors
        r = (variance + ctx.eps).rsqrt()
        dgamma = r * _dot(dy, x - _per_unit(mean, x))
        return dy * _per_unit(gamma * r, x), dgamma, dy.sum(_batch_dims(x)), None, None, None


def _batch_dims(x: Tensor) -> tuple[int, ...]:
    """All dimensions but that of the units."""
    return (0, *range(2, x.ndim))


def _per_unit(values: Tensor, x: Tensor) -> Tensor:
    """(C,) → (1, C, 1, …), so that it broadcasts over x."""
    return values.view(1, -1, *(1,) * (x.ndim - 2))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Σ aᵢbᵢ per unit: (N, C, …), (N, C, …) → (C,), without an array of the products where rows are long."""
    if a.ndim == 2:
        return (a * b).sum(0)
    return torch.einsum("nci,nci->nc", a.flatten(2), b.flatten(2)).sum(0)
