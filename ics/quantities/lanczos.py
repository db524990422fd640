"""The largest eigenvalue of a symmetric matrix that is known only by its products with vectors."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Eigenvalue:
    """The largest eigenvalue λ, as far as it is known.

    Attributes:
        value: λ, a lower bound that rises from iteration to iteration.
        residual: ‖Hv − λv‖₂ / |λ| for the unit vector v found with it; some eigenvalue lies within residual · |λ| of λ.
        iterations: products with H.
    """

    value: float
    residual: float
    iterations: int


def largest_eigenvalue(
    product: Callable[[Tensor], Tensor], start: Tensor, iterations: int, tolerance: float
) -> Eigenvalue:
    """Lanczos' method with full reorthogonalisation (Golub & Van Loan 2013, chapter 10).

    Args:
        product: v ↦ Hv, vectors of shape (n,).
        start: any vector that is not orthogonal to the eigenvector; a random one will do.
        iterations: at most so many products; as many vectors of length n are held in memory.
        tolerance: enough once the residual is at most this.

    Returns:
        The eigenvalue of largest value, not of largest magnitude; nan where H is not finite.
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
        value, last = float(values[-1]), abs(float(vectors[-1, -1]))
        distance = beta * last  # ‖Hv − λv‖ = β_k |s_k|
        relative = distance / abs(value) if value else torch.inf
        found = Eigenvalue(value, relative if distance else 0.0, k + 1)
        if found.residual <= tolerance:
            return found
        if k + 1 < iterations:
            basis[k + 1] = w / beta
            tridiagonal[k, k + 1] = tridiagonal[k + 1, k] = beta
    return found
