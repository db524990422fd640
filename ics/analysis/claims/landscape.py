"""Claims about the loss landscape (Figures 4, 10, 12, 13), and where the plateau of the effective β lies."""

import math
from collections.abc import Iterator
from dataclasses import replace

from ics.analysis.claims.claim import LATE, PHASES, Claim, Statistic
from ics.analysis.claims.interval import Range

SMALLER = Range(high=-0.05)  # log10 ratio: by a tenth
AT_THE_EDGE = 0.1  # log10: within a quarter of 2 / learning rate

VARIATION = Statistic("loss_range", "median", edge="width", scale="log10")
PREDICTIVENESS = Statistic("gradient_predictiveness_range", "median", edge="high", scale="log10")
BETA = Statistic("effective_beta_smoothness", "median", scale="log10")
SHARPNESS = Statistic("edge_ratio", "median", LATE, scale="log10")

_SMOOTHER = (
    (VARIATION, "bn_smaller_loss_variation", "the loss varies less along {}", "a"),
    (PREDICTIVENESS, "bn_gradients_more_predictive", "the gradient changes less along {}", "b"),
    (BETA, "bn_smaller_beta", "the effective β-smoothness along {} is smaller", "c"),
)
# Setting `model.name` -> the paper's figures, its rate, what makes the runs.
_NETS = {
    "vgg": ("4", "12", 0.1, "fig4 scale=cpu", "fig5_vgg scale=cpu"),
    "deep_linear": ("10", "13", 1e-6, "fig10", "fig5_dln"),
}


def claims() -> Iterator[Claim]:
    """All of them."""
    for model, (figure, lp_figure, rate, experiment, lp_experiment) in _NETS.items():
        for statistic, name, text, letter in _SMOOTHER:
            statement, place = f"with BatchNorm {text.format('the gradient')}", f"Section 3.2, Figure {figure}{letter}"
            claim = Claim(name, statement, place, model, rate, statistic, "batch", "standard", SMALLER, experiment)
            yield claim
            for phase in PHASES:
                yield claim.detail(phase=phase)
            yield replace(
                claim.detail(quantity=f"{statistic.quantity}_random"),
                text=f"with BatchNorm {text.format('a random direction')}",
                place="Section 3.2, in words only",
            )
            for arm, p in (("l1", "ℓ₁"), ("l2", "ℓ₂"), ("linf", "ℓ∞")):
                yield replace(
                    claim,
                    name="lp_smooths_as_well",
                    text=f"with {p} normalisation {text.format('the gradient')}",
                    place=f"Section 3.3, Figure {lp_figure}{chr(ord(letter) + 1)}",
                    arm=arm,
                    experiment=lp_experiment,
                )
        edge = math.log10(2 / rate)
        for arm in ("standard", "batch"):
            text = f"late in training the effective β of {arm} lies at 2 / learning rate, the edge of stability"
            place = f"Figure {figure}c (read off; the text does not say it)"
            at_edge = Range(edge - AT_THE_EDGE, edge + AT_THE_EDGE)
            late = replace(BETA, phase=LATE)
            plateau = Claim("beta_is_two_over_lr", text, place, model, rate, late, arm, None, at_edge, experiment)
            yield plateau
            yield replace(
                plateau,
                text=f"late in training the sharpness of {arm} lies at 2 / learning rate",
                place="not in the paper (Cohen et al. 2021)",
                statistic=SHARPNESS,
                holds=Range(-AT_THE_EDGE, AT_THE_EDGE),
                experiment=f"{experiment} measure.sharpness.every=500" if model == "vgg" else experiment,
                headline=False,
            )
