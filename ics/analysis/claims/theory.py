"""The paper's theorems as identities between numbers, in float64; nothing here needs a run.

One BN layer after one linear layer: y = Wx, ŷ whitened with the biased σ and ε = 0, z = γŷ + β, m samples. L is a
smooth loss of z that couples samples and units, L̂ the same as a function of y; g = ∂L/∂z_j for the unit j. Both sides
of an identity are computed independently: the left one by differentiating through the normalisation, exactly, the
right one by the formula.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ics.analysis.claims.interval import verdict
from ics.analysis.claims.judge import COLUMNS
from ics.analysis.claims.taylor import Array, Taylor

TOLERANCE = 1e-9  # relative; rounding leaves about 1e-13
RESOLUTION = 1e-12  # smaller residuals are not told apart: they are rounding, and differ from machine to machine
DRAWS = 20  # random instances of every identity
SAMPLES, INPUTS, UNITS = 12, 7, 5


@dataclass(frozen=True)
class Instance:
    """One random layer, batch and loss.

    Attributes:
        x: (samples, inputs).
        w: (inputs, units).
        gamma: (units,), positive.
        beta: (units,).
        mix: (samples, samples), of the loss.
        turn: (units, units), of the loss.
        weight: (samples, units), of the loss.
        w_star: like w: an optimum, wherever it may be.
    """

    x: Array
    w: Array
    gamma: Array
    beta: Array
    mix: Array
    turn: Array
    weight: Array
    w_star: Array

    @classmethod
    def draw(cls, seed: int) -> "Instance":
        """From a seed."""
        rng = np.random.default_rng([1805, 11604, seed])
        w = rng.normal(size=(INPUTS, UNITS))
        w_star = rng.normal(size=(INPUTS, UNITS))
        return cls(
            x=rng.normal(size=(SAMPLES, INPUTS)),
            w=w,
            gamma=rng.uniform(0.5, 2, UNITS),
            beta=rng.normal(size=UNITS),
            mix=np.eye(SAMPLES) + 0.3 * rng.normal(size=(SAMPLES, SAMPLES)),
            turn=rng.normal(size=(UNITS, UNITS)) / np.sqrt(UNITS),
            weight=rng.normal(size=(SAMPLES, UNITS)),
            w_star=w_star if np.sum(w_star * w) > 0 else -w_star,  # Lemma 4.5 wants them less than 90° apart
        )

    @property
    def y(self) -> Array:
        """The activations before the normalisation: (samples, units)."""
        return self.x @ self.w

    @property
    def sigma(self) -> Array:
        """σ of every unit, biased."""
        sigma: Array = self.y.std(axis=0)
        return sigma

    @property
    def whitened(self) -> Array:
        """ŷ: (samples, units)."""
        whitened: Array = (self.y - self.y.mean(axis=0)) / self.sigma
        return whitened

    @property
    def z(self) -> Array:
        """γŷ + β."""
        return self.gamma * self.whitened + self.beta

    def slope(self, z: Taylor) -> float:
        """The derivative of L along the line that z is."""
        return float(np.sum(z.linear(self.mix, self.turn).tanh().b * self.weight))

    def curvature(self, z: Taylor) -> float:
        """The second derivative of L along it."""
        return 2 * float(np.sum(z.linear(self.mix, self.turn).tanh().c * self.weight))

    def normalised(self, y: Taylor) -> Taylor:
        """z as a function of y."""
        centred = y - y.mean()
        return centred / (centred * centred).mean().sqrt() * self.gamma + self.beta


def _line(point: Array, direction: Array) -> Taylor:
    return Taylor(point, direction, np.zeros_like(point))


def _units(unit: int) -> Iterator[Array]:
    """The directions in which a unit's activations can change, sample by sample."""
    for sample in range(SAMPLES):
        direction = np.zeros((SAMPLES, UNITS))
        direction[sample, unit] = 1.0
        yield direction


def _gradients(case: Instance, unit: int) -> tuple[Array, Array]:
    """∂L̂/∂y_j, through the normalisation, and g = ∂L/∂z_j: (samples,) each."""
    through = [case.slope(case.normalised(_line(case.y, direction))) for direction in _units(unit)]
    plain = [case.slope(_line(case.z, direction)) for direction in _units(unit)]
    return np.array(through), np.array(plain)


def _theorem_4_1(case: Instance, divisor: float) -> Iterator[tuple[float, float]]:
    """Both sides of Theorem 4.1 for every unit; `divisor` is that of the last term."""
    for unit in range(UNITS):
        through, g = _gradients(case, unit)
        removed = g.sum() ** 2 / SAMPLES + (g @ case.whitened[:, unit]) ** 2 / divisor
        right = (case.gamma[unit] / case.sigma[unit]) ** 2 * (g @ g - removed)
        yield float(through @ through), float(right)


def theorem_4_1(case: Instance) -> float:
    """‖∂L̂/∂y_j‖² = γ²/σ_j² (‖g‖² − ⟨1, g⟩²/m − ⟨g, ŷ_j⟩²/m)."""
    return max(abs(left - right) / left for left, right in _theorem_4_1(case, SAMPLES))


def theorem_4_1_as_printed(case: Instance) -> float:
    """By how much ‖∂L̂/∂y_j‖² exceeds the bound that v3 prints, with √m in the last term; 0 if it never does."""
    return max(0.0, *((left - right) / left for left, right in _theorem_4_1(case, SAMPLES**0.5)))


def theorem_4_2(case: Instance) -> float:
    """With v = ∂L̂/∂y_j: vᵀĤv = γ²/σ² vᵀH_jj v − γ/(mσ²) ⟨g, ŷ⟩ ‖v‖²."""
    worst = 0.0
    for unit in range(UNITS):
        v, g = _gradients(case, unit)
        direction = np.zeros((SAMPLES, UNITS))
        direction[:, unit] = v
        left = case.curvature(case.normalised(_line(case.y, direction)))
        plain = case.curvature(_line(case.z, direction))
        gamma, sigma = case.gamma[unit], case.sigma[unit]
        first = (gamma / sigma) ** 2 * plain
        second = gamma / (SAMPLES * sigma**2) * (g @ case.whitened[:, unit]) * (v @ v)
        worst = max(worst, abs(left - (first - second)) / (abs(first) + abs(second)))
    return float(worst)


def observation_4_3(case: Instance) -> float:
    """γ = σ_j and β = the mean give back the activations without normalisation."""
    return _distance(case.sigma * case.whitened + case.y.mean(axis=0), case.y)


def scale_invariance(case: Instance) -> float:
    """With BN the loss does not see the length of W: z(kW) = z(W) for k > 0, behind Lemma 4.5."""
    longer = case.x @ (3.7 * case.w)
    return _distance((longer - longer.mean(axis=0)) / longer.std(axis=0), case.whitened)


def lemma_4_5(case: Instance) -> float:
    """With k = ⟨W*, W0⟩/‖W*‖² > 0: ‖W0 − kW*‖² = ‖W0 − W*‖² − ‖W*‖²(1 − k)²."""
    w0, w_star = case.w.ravel(), case.w_star.ravel()
    k = (w_star @ w0) / (w_star @ w_star)
    left = np.sum((w0 - k * w_star) ** 2)
    return float(abs(left - (np.sum((w0 - w_star) ** 2) - w_star @ w_star * (1 - k) ** 2)) / left)


def _distance(left: Array, right: Array) -> float:
    return float(np.linalg.norm(left - right) / np.linalg.norm(right))


_IDENTITIES: tuple[tuple[str, str, str, Callable[[Instance], float]], ...] = (
    (
        "theorem_4_1",
        "‖∂L̂/∂y‖² = γ²/σ² (‖g‖² − ⟨1, g⟩²/m − ⟨g, ŷ⟩²/m)",
        "Theorem 4.1, with m where v3 prints √m in the last term",
        theorem_4_1,
    ),
    (
        "theorem_4_1_as_printed",
        "‖∂L̂/∂y‖² ≤ γ²/σ² (‖g‖² − ⟨1, g⟩²/m − ⟨g, ŷ⟩²/√m)",
        "Theorem 4.1 as v3 prints it",
        theorem_4_1_as_printed,
    ),
    (
        "theorem_4_2",
        "with v = ∂L̂/∂y: vᵀĤv = γ²/σ² vᵀHv − γ/(mσ²) ⟨g, ŷ⟩ ‖v‖²",
        "Theorem 4.2",
        theorem_4_2,
    ),
    (
        "observation_4_3",
        "γ = σ and β = the mean reproduce the un-normalised activations",
        "Observation 4.3",
        observation_4_3,
    ),
    ("lemma_4_5", "with k = ⟨W*, W₀⟩/‖W*‖²: ‖W₀ − kW*‖² = ‖W₀ − W*‖² − ‖W*‖²(1 − k)²", "Lemma 4.5", lemma_4_5),
    (
        "scale_invariance",
        "with BatchNorm the loss does not depend on the length of W",
        "before Lemma 4.5",
        scale_invariance,
    ),
)
NAMES = [name for name, *_ in _IDENTITIES]


def evaluate_theory() -> pd.DataFrame:
    """Rows of the claims table, one per identity; the effect is the largest residual of `DRAWS` random instances."""
    cases = [Instance.draw(seed) for seed in range(DRAWS)]
    rows = []
    for name, text, place, residual in _IDENTITIES:
        worst = max(residual(case) for case in cases)
        holds = bool(worst <= TOLERANCE)
        rows.append(
            {
                "claim": name,
                "headline": 1,
                "text": text,
                "place": place,
                "scale": "float64",
                "scale_title": "a numeric identity in float64, no training",
                "claimed_high": TOLERANCE,
                "effect_is": f"largest relative residual of {DRAWS} random layers, batches and losses, "
                f"or {RESOLUTION:g} if that is larger",
                "effect": max(worst, RESOLUTION),
                "unit": "relative residual",
                "interval": "none: deterministic",
                "n": DRAWS,
                "holds": int(holds),
                "verdict": verdict(holds, papers_own=True),
                "rule": f"holds if no residual exceeds {TOLERANCE:g}",
                "papers_curves": "not shown",
                "note": "",
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))
