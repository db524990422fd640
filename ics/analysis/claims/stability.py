"""The claim about distributions: with noise after BatchNorm they are less stable than without any norm (Figure 8)."""

from collections.abc import Iterator
from dataclasses import replace

from ics.analysis.claims.claim import Claim, Statistic
from ics.analysis.claims.interval import Range

LAYERS = (2, 9, 13)
LESS_STABLE = Range(low=0.0)  # log10 ratio


def claims() -> Iterator[Claim]:
    """All of them."""
    for moment in ("mean", "variance"):
        for kind, panel in (("step_change", "8a"), ("drift", "8b")):
            claim = Claim(
                "noisy_less_stable",
                f"noisy BatchNorm's activations are less stable than the standard network's: their {moment}"
                + (", from step to step" if kind == "step_change" else ", since the start"),
                f"Section 2.1, Figure {panel}",
                "vgg",
                0.1,
                Statistic(f"activation_{moment}_{kind}", "median", layers=LAYERS, scale="log10"),
                "noisy_batch",
                "standard",
                LESS_STABLE,
                "fig2 scale=cpu",
                headline=kind == "step_change",
            )
            yield claim
            for layer in LAYERS:
                yield replace(claim, statistic=replace(claim.statistic, layers=(layer,)), headline=False)
