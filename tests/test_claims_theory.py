"""The theorems: the exact derivatives against the complex step, and identities that fail when they are wrong."""

import numpy as np
import pytest

from ics.analysis.claims import theory
from ics.analysis.claims.taylor import Taylor
from ics.analysis.claims.theory import Instance, evaluate_theory


def direct(case: Instance, y: np.ndarray) -> complex:
    """L̂(y), written down plainly; takes complex numbers."""
    centred = y - y.mean(axis=0)
    whitened = centred / np.sqrt((centred * centred).mean(axis=0))
    z = case.gamma * whitened + case.beta
    return complex(np.sum(np.tanh(case.mix @ z @ case.turn) * case.weight))


def test_derivatives_are_exact() -> None:
    case = Instance.draw(3)
    rng = np.random.default_rng(0)
    direction = rng.normal(size=case.y.shape)
    line = case.normalised(Taylor(case.y, direction, np.zeros_like(direction)))
    step = 1e-30
    slope = direct(case, case.y + 1j * step * direction).imag / step
    assert case.slope(line) == pytest.approx(slope, rel=1e-12)
    h = 1e-4  # of f(x + ih): Re f = f − h² f″/2 + h⁴ f⁗/24
    curvature = 2 * (direct(case, case.y).real - direct(case, case.y + 1j * h * direction).real) / h**2
    assert case.curvature(line) == pytest.approx(curvature, rel=1e-5)


def test_the_arithmetic_of_series() -> None:
    x = Taylor(np.array(2.0), np.array(1.0), np.array(0.0))  # 2 + t
    cube = x * x * x
    assert (cube.a, cube.b, cube.c) == (8, 12, 6)
    quotient = (cube + 1.0) / x  # x² + 1/x: f′ = 2x − 1/x², f″/2 = 1 + 1/x³
    assert (quotient.a, quotient.b, quotient.c) == (4.5, 3.75, 1.125)
    root = (x * x).sqrt()
    assert (root.a, root.b, root.c) == (2, 1, 0)
    assert ((x - x).a, (x * 3.0).b) == (0, 3)


def test_the_identities_hold_and_the_misprint_does_not() -> None:
    verdicts = evaluate_theory().set_index("claim")["verdict"].to_dict()
    assert verdicts.pop("theorem_4_1_as_printed") == "contradicted"
    assert set(verdicts.values()) == {"supported"}
    assert len(verdicts) == 5


@pytest.mark.parametrize("identity", [theory.theorem_4_1, theory.theorem_4_2, theory.lemma_4_5])
def test_residuals_are_rounding(identity: object) -> None:
    assert callable(identity)
    assert max(identity(Instance.draw(seed)) for seed in range(40)) < theory.RESOLUTION


def test_a_wrong_formula_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    right = theory._gradients

    def wrong(case: Instance, unit: int) -> tuple[theory.Array, theory.Array]:
        through, g = right(case, unit)
        return through * (1 + 1e-6), g

    monkeypatch.setattr(theory, "_gradients", wrong)
    table = evaluate_theory().set_index("claim")
    assert table.loc["theorem_4_1", "verdict"] == "contradicted"
    assert table.loc["theorem_4_1", "effect"] == pytest.approx(2e-6, rel=0.01)
