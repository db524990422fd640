"""The paper's theorems as identities between numbers, in float64: the largest residual of each.

`python scripts/theory.py` writes them into ics/analysis/claims/theory.csv, which the claims read.

One BN layer after one linear layer: y = XW, ŷ whitened with the biased σ and ε = 0, z = γŷ + β, m samples. L is a
smooth loss of z that couples samples and units, L̂ the same as a function of y; g = ∂L/∂z_j for the unit j. Both sides
of an identity are computed independently: the left one by differentiating through the normalisation, the right one by
the formula.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.func import grad, jvp

RESOLUTION = 1e-12  # smaller residuals are not told apart: they are rounding, and differ from machine to machine
DRAWS = 20  # random instances of every identity
SAMPLES, INPUTS, UNITS = 12, 7, 5


class Layer:
    """One random layer, batch and loss.

    Attributes: x (samples, inputs); w and the optimum w_star (inputs, units); gamma, positive, and beta (units,);
    y = XW, its whitened ŷ, and z (samples, units); sigma (units,).
    """

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng([1805, 11604, seed])

        def normal(*shape: int) -> Tensor:
            return torch.from_numpy(draw.normal(size=shape))

        self.w, w_star, self.x = normal(INPUTS, UNITS), normal(INPUTS, UNITS), normal(SAMPLES, INPUTS)
        self.w_star = w_star if (w_star * self.w).sum() > 0 else -w_star  # Lemma 4.5 wants them less than 90° apart
        self.gamma, self.beta = torch.from_numpy(draw.uniform(0.5, 2, UNITS)), normal(UNITS)
        self.mix = torch.eye(SAMPLES, dtype=torch.float64) + 0.3 * normal(SAMPLES, SAMPLES)
        self.turn, self.weight = normal(UNITS, UNITS) / UNITS**0.5, normal(SAMPLES, UNITS)
        self.y = self.x @ self.w
        self.sigma, self.whitened = self.y.std(0, correction=0), whiten(self.y)
        self.z = self.normalised(self.y)

    def loss(self, z: Tensor) -> Tensor:
        """L(z)."""
        return (torch.tanh(self.mix @ z @ self.turn) * self.weight).sum()

    def normalised(self, y: Tensor) -> Tensor:
        """z as a function of y."""
        return self.gamma * whiten(y) + self.beta

    def loss_of_y(self, y: Tensor) -> Tensor:
        """L̂(y)."""
        return self.loss(self.normalised(y))


def whiten(y: Tensor) -> Tensor:
    """ŷ, with the biased σ."""
    return (y - y.mean(0)) / y.std(0, correction=0)


def curvature(function: Callable[[Tensor], Tensor], at: Tensor, v: Tensor) -> Tensor:
    """vᵀHv."""
    bent: Tensor = (jvp(grad(function), (at,), (v,))[1] * v).sum()
    return bent


def theorem_4_1(case: Layer, divisor: float = SAMPLES) -> Tensor:
    """‖∂L̂/∂y_j‖² = γ²/σ_j² (‖g‖² − ⟨1, g⟩²/m − ⟨g, ŷ_j⟩²/m): left − right over left; `divisor` is the last m."""
    left, g = grad(case.loss_of_y)(case.y).square().sum(0), grad(case.loss)(case.z)
    removed = g.sum(0) ** 2 / SAMPLES + (g * case.whitened).sum(0) ** 2 / divisor
    turned: Tensor = (left - (case.gamma / case.sigma) ** 2 * (g.square().sum(0) - removed)) / left
    return turned


def theorem_4_2(case: Layer) -> Tensor:
    """With v = ∂L̂/∂y_j: vᵀĤv = γ²/σ² vᵀH_jj v − γ/(mσ²) ⟨g, ŷ⟩ ‖v‖²."""
    through, g, found = grad(case.loss_of_y)(case.y), grad(case.loss)(case.z), []
    for unit, (gamma, sigma) in enumerate(zip(case.gamma, case.sigma, strict=True)):
        v = torch.zeros_like(through)
        v[:, unit] = through[:, unit]
        first = (gamma / sigma) ** 2 * curvature(case.loss, case.z, v)
        second = gamma / (SAMPLES * sigma**2) * (g * case.whitened)[:, unit].sum() * v.square().sum()
        found.append((curvature(case.loss_of_y, case.y, v) - first + second) / (first.abs() + second.abs()))
    return torch.stack(found)


def observation_4_3(case: Layer) -> Tensor:
    """γ = σ_j and β = the mean give back the activations without normalisation."""
    residual: Tensor = (case.sigma * case.whitened + case.y.mean(0) - case.y).norm() / case.y.norm()
    return residual


def lemma_4_5(case: Layer) -> Tensor:
    """With k = ⟨W*, W0⟩/‖W*‖² > 0: ‖W0 − kW*‖² = ‖W0 − W*‖² − ‖W*‖²(1 − k)²."""
    size = case.w_star.square().sum()
    k = (case.w_star * case.w).sum() / size
    left = (case.w - k * case.w_star).square().sum()
    return (left - ((case.w - case.w_star).square().sum() - size * (1 - k) ** 2)) / left


def scale_invariance(case: Layer) -> Tensor:
    """With BN the loss does not see the length of W: ŷ(kW) = ŷ(W) for k > 0, behind Lemma 4.5."""
    residual: Tensor = (whiten(case.x @ (3.7 * case.w)) - case.whitened).norm() / case.whitened.norm()
    return residual


RESIDUALS: dict[str, Callable[[Layer], Any]] = {
    "theorem_4_1": lambda case: theorem_4_1(case).abs().max(),
    "theorem_4_1_as_printed": lambda case: theorem_4_1(case, SAMPLES**0.5).max(),  # an upper bound, with √m
    "theorem_4_2": lambda case: theorem_4_2(case).abs().max(),
    "observation_4_3": observation_4_3,
    "lemma_4_5": lambda case: lemma_4_5(case).abs(),
    "scale_invariance": scale_invariance,
}


def residuals() -> pd.DataFrame:
    """A row for each claim: claim, draws, residual (the largest of all draws, at least `RESOLUTION`)."""
    cases = [Layer(seed) for seed in range(DRAWS)]
    worst = [max(RESOLUTION, *(float(residual(case)) for case in cases)) for residual in RESIDUALS.values()]
    return pd.DataFrame({"claim": list(RESIDUALS), "draws": DRAWS, "residual": worst})
