"""The paper's theorems, checked as identities in float64: `scripts/theory.py` computes them, `theory.csv` has them."""

from importlib.resources import files

import pandas as pd

from ics.analysis.claims.interval import verdict

TOLERANCE = 1e-9  # relative; rounding leaves about 1e-13
RESOLUTION = 1e-12  # of the file: smaller residuals are rounding, and differ from machine to machine

# claim -> the identity, where it stands in the paper
IDENTITIES = {
    "theorem_4_1": (
        "‖∂L̂/∂y‖² = γ²/σ² (‖g‖² − ⟨1, g⟩²/m − ⟨g, ŷ⟩²/m)",
        "Theorem 4.1, with m where v3 prints √m in the last term",
    ),
    "theorem_4_1_as_printed": (
        "‖∂L̂/∂y‖² ≤ γ²/σ² (‖g‖² − ⟨1, g⟩²/m − ⟨g, ŷ⟩²/√m)",
        "Theorem 4.1 as v3 prints it",
    ),
    "theorem_4_2": ("with v = ∂L̂/∂y: vᵀĤv = γ²/σ² vᵀHv − γ/(mσ²) ⟨g, ŷ⟩ ‖v‖²", "Theorem 4.2"),
    "observation_4_3": ("γ = σ and β = the mean reproduce the un-normalised activations", "Observation 4.3"),
    "lemma_4_5": ("with k = ⟨W*, W₀⟩/‖W*‖²: ‖W₀ − kW*‖² = ‖W₀ − W*‖² − ‖W*‖²(1 − k)²", "Lemma 4.5"),
    "scale_invariance": ("with BatchNorm the loss does not depend on the length of W", "before Lemma 4.5"),
}
NAMES = list(IDENTITIES)


def theory_table() -> pd.DataFrame:
    """Rows of the claims table, one per identity; the effect is the largest residual of several random layers."""
    with (files("ics.analysis.claims") / "theory.csv").open(encoding="utf-8") as file:
        found = pd.read_csv(file)
    draws = int(found["draws"].iloc[0])
    holds = found["residual"] <= TOLERANCE
    return pd.DataFrame(
        {
            "claim": found["claim"],
            "headline": 1,
            "text": [IDENTITIES[name][0] for name in found["claim"]],
            "place": [IDENTITIES[name][1] for name in found["claim"]],
            "scale": "float64",
            "scale_title": "a numeric identity in float64, no training",
            "claimed_high": TOLERANCE,
            "effect_is": f"largest relative residual of {draws} random layers, batches and losses, "
            f"or {RESOLUTION:g} if that is larger",
            "effect": found["residual"],
            "unit": "relative residual",
            "interval": "none: deterministic",
            "n": draws,
            "holds": holds.astype(int),
            "verdict": [verdict(bool(one), papers_own=True) for one in holds],
            "rule": f"holds if no residual exceeds {TOLERANCE:g}",
            "papers_curves": "not shown",
            "note": "",
        }
    )
