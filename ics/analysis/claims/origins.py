"""Our own claims about where the shift comes from: it is local, it is linear in the update, and BN's spike is scale."""

from collections.abc import Iterator

from ics.analysis.claims.claim import ALL_LAYERS, EARLY, LATE, START, Claim, Statistic
from ics.analysis.claims.interval import Range

PLACE = "ours, not the paper's"
LOCAL = Range(low=0.5)  # half of the shift comes from the two blocks next below
LINEAR = Range(high=0.2)  # ‖D − Σ H ΔW‖ / ‖D‖
ALIKE = Range(-0.3, 0.3)  # log10 ratio: within a factor of two
NETWORKS = (
    ("vgg", 0.1, "origins scale=cpu"),
    ("deep_linear", 1e-6, "origins_dln"),
    ("deep_linear", 1e-7, "origins_dln"),
)
WORDS = {"standard": "the standard network's", "batch": "BatchNorm's"}
OF_AN_ARM = (
    ("shift_is_local", "origins_near_share", LOCAL, "half or more of {} shift comes from the two blocks next below"),
    ("shift_is_linear", "origins_linear_error", LINEAR, "{} shift is linear in the update, but for a fifth at most"),
)
SPIKE = "at initialisation BatchNorm's larger shift is its gradients' scale alone: {} is within a factor of two"
OF_THE_SPIKE = (
    ("origins_relative_shift", "‖D‖ / ‖G‖"),
    ("origins_shift_per_update", "‖D‖ / ‖G‖ at the same relative update"),
    ("origins_shift_per_output_change", "‖D‖ / ‖G‖ at the same change of the outputs"),
)


def claims() -> Iterator[Claim]:
    """All of them."""
    for model, lr, experiment in NETWORKS:
        for arm, whose in WORDS.items():
            for phase in (EARLY, LATE):
                for name, quantity, holds, text in OF_AN_ARM:
                    statistic = Statistic(quantity, "median", phase, ALL_LAYERS)
                    yield Claim(name, text.format(whose), PLACE, model, lr, statistic, arm, None, holds, experiment)
        for quantity, what in OF_THE_SPIKE:
            statistic = Statistic(quantity, "median", START, ALL_LAYERS, scale="log10")
            text = SPIKE.format(what)
            yield Claim("spike_is_scale", text, PLACE, model, lr, statistic, "batch", "standard", ALIKE, experiment)
