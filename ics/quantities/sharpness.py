"""Sharpness: the largest eigenvalue of the loss's Hessian, beside 2/lr.

Gradient descent on a quadratic diverges where an eigenvalue exceeds 2/lr; training tends to hover there, at the "edge
of stability" (Cohen et al. 2021), and the plateaus of Figures 4c and 10c of Santurkar et al. 2018 lie at 2/lr.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from ics.quantities.base import QUANTITIES, STEP, LossFunction, Row, Step
from ics.quantities.passes import PassQuantity
from ics.quantities.vectors import gaussian
from ics.tables import Table, columns


@QUANTITIES.register("sharpness")
class Sharpness(PassQuantity):
    """The largest eigenvalue of ∇²L(θ), before the update, by Lanczos' method on Hessian-vector products.

    L is the loss of the step's batch in the training pass: its random draws, and with batch normalisation its batch
    statistics, through which the Hessian goes too. θ is every trainable parameter that takes part in the loss.

    Costs a forward pass, a backward pass that is itself differentiable, and the way back through both per iteration.

    Args:
        iterations: at most so many Hessian-vector products; as many copies of the parameters are held in memory.
        tolerance: enough once ‖Hv − λv‖ ≤ tolerance · |λ|. Where no other eigenvalue is as near,
            the relative error of λ is of the order of its square.
        seed: of the start vector, which depends on it and on the step alone.
    """

    table = Table(
        "sharpness",
        columns(
            STEP,
            ("sharpness", "float", "λ, largest eigenvalue of ∇²L(θ), loss per squared unit of weight", True),
            ("two_over_lr", "float", "2 / lr, same unit; inf at a learning rate of 0", True),
            ("edge_ratio", "float", "λ · lr / 2, no unit; 1 at the edge of stability", True),
            ("iterations", "int", "Hessian-vector products that it took"),
            ("residual", "float", "‖Hv − λv‖₂ / |λ| for the eigenvector v found, no unit", True),
        ),
    )

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFunction,
        iterations: PositiveInt = 30,
        tolerance: PositiveFloat = 0.01,
        seed: NonNegativeInt = 0,
    ) -> None:
        super().__init__(model, loss_fn)
        self._iterations = iterations
        self._tolerance = tolerance
        self._seed = seed

    def rows(self, step: Step) -> list[Row]:
        parameters = list(self.gradients())
        start = _flat(gaussian(parameters, self._seed, step.number))
        with self.again(self.last, step.x, step.y) as passes:
            passes.start()
            loss = passes.loss()
            gradient = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
            found = largest_eigenvalue(
                lambda v: _hessian_times(v, gradient, parameters), start, self._iterations, self._tolerance
            )
        row = {
            "sharpness": found.value,
            "two_over_lr": 2 / step.lr if step.lr else math.inf,
            "edge_ratio": found.value * step.lr / 2,
            "iterations": found.iterations,
            "residual": found.residual,
        }
        return [row]


def _hessian_times(v: Tensor, gradient: tuple[Tensor, ...], parameters: list[nn.Parameter]) -> Tensor:
    """Hv = ∇⟨∇L, v⟩ (Pearlmutter 1994)."""
    pieces = torch.split(v, [p.numel() for p in parameters])
    parts = [piece.view_as(p).to(p) for piece, p in zip(pieces, parameters, strict=True)]
    # A gradient without a graph is a constant: its row of H is zero.
    bent = [(g, part) for g, part in zip(gradient, parts, strict=True) if g.requires_grad]
    if not bent:
        return torch.zeros_like(v)
    outputs, weights = zip(*bent, strict=True)
    return _flat(torch.autograd.grad(outputs, parameters, weights, retain_graph=True, materialize_grads=True))


def _flat(parts: list[Tensor] | tuple[Tensor, ...]) -> Tensor:
    return torch.cat([part.detach().flatten().to(parts[0]) for part in parts])


class Eigenvalue(NamedTuple):
    """The largest eigenvalue λ, a lower bound that rises from iteration to iteration.

    Some eigenvalue lies within residual · |λ| of it; residual is ‖Hv − λv‖₂ / |λ| for the unit vector v found with it.
    """

    value: float
    residual: float
    iterations: int


def largest_eigenvalue(
    product: Callable[[Tensor], Tensor], start: Tensor, iterations: int, tolerance: float
) -> Eigenvalue:
    """Lanczos' method with full reorthogonalisation (Golub & Van Loan 2013, chapter 10), for a product v ↦ Hv.

    It finds the eigenvalue of largest value, not of largest magnitude; nan where H is not finite.
    """
    basis = start.new_empty(iterations, start.numel())
    basis[0] = start / start.norm()
    tridiagonal = torch.zeros(iterations, iterations, dtype=torch.float64)  # T = QᵀHQ
    found = Eigenvalue(torch.nan, torch.nan, 0)
    for k in range(iterations):
        w = product(basis[k])
        alpha = float(basis[k].double().dot(w.double()))
        tridiagonal[k, k] = alpha
        known = basis[: k + 1]
        for _ in range(2):  # "twice is enough" to be orthogonal to rounding
            w = w - known.T @ (known @ w)
        beta = float(w.double().norm())
        if not torch.tensor([alpha, beta]).isfinite().all():
            return Eigenvalue(torch.nan, torch.nan, k + 1)
        values, vectors = torch.linalg.eigh(tridiagonal[: k + 1, : k + 1])
        value, distance = float(values[-1]), beta * abs(float(vectors[-1, -1]))  # ‖Hv − λv‖ = β_k |s_k|
        relative = distance / abs(value) if value else torch.inf
        found = Eigenvalue(value, relative if distance else 0.0, k + 1)
        if found.residual <= tolerance or k + 1 == iterations:
            break
        basis[k + 1] = w / beta
        tridiagonal[k, k + 1] = tridiagonal[k + 1, k] = beta
    return found
