"""The claim about distributions: with noise after BatchNorm they are less stable than without any norm (Figure 8)."""

from collections.abc import Iterator

from ics.analysis.claims.claim import Claim, Statistic
from ics.analysis.claims.interval import Range

LAYERS = (2, 9, 13)
LESS_STABLE = Range(low=0.0)  # log10 ratio


def claims() -> Iterator[Claim]:
    """All of them."""
    for moment in ("mean", "variance"):
        for kind, panel in (("step_change", "8a"), ("drift", "8b")):
            when = "from step to step" if kind == "step_change" else "since the start"
            text = f"noisy BatchNorm's activations are less stable than the standard network's: their {moment}, {when}"
            place = f"Section 2.1, Figure {panel}"
            statistic = Statistic(f"activation_{moment}_{kind}", "median", layers=LAYERS, scale="log10")
            claim = Claim("noisy_less_stable", text, place, "vgg", 0.1, statistic, "noisy_batch", "standard",
                          LESS_STABLE, "fig2 scale=cpu", headline=kind == "step_change")  # fmt: skip
            yield claim
            for layer in LAYERS:
                yield claim.detail(layers=(layer,))
