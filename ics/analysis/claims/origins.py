"""Our own claims about where the shift comes from: it is local, and it is linear in the update."""

from collections.abc import Iterator

from ics.analysis.claims.claim import ALL_LAYERS, EARLY, LATE, Claim, Statistic
from ics.analysis.claims.interval import Range

PLACE = "ours, not the paper's"
LOCAL = Range(low=0.5)  # half of the shift comes from the two blocks next below
LINEAR = Range(high=0.2)  # ‖D − Σ H ΔW‖ / ‖D‖
NETWORKS = (
    ("vgg", 0.1, "origins scale=cpu"),
    ("deep_linear", 1e-6, "origins_dln"),
    ("deep_linear", 1e-7, "origins_dln"),
)
WORDS = {"standard": "the standard network's", "batch": "BatchNorm's"}


def claims() -> Iterator[Claim]:
    """All of them."""
    for model, lr, experiment in NETWORKS:
        for arm, whose in WORDS.items():
            for phase in (EARLY, LATE):
                for name, quantity, holds, text in (
                    (
                        "shift_is_local",
                        "origins_near_share",
                        LOCAL,
                        "half or more of {} shift comes from the two blocks next below",
                    ),
                    (
                        "shift_is_linear",
                        "origins_linear_error",
                        LINEAR,
                        "{} shift is linear in the update, but for a fifth at most",
                    ),
                ):
                    yield Claim(
                        name,
                        text.format(whose),
                        PLACE,
                        model,
                        lr,
                        Statistic(quantity, "median", phase, ALL_LAYERS),
                        arm,
                        None,
                        holds,
                        experiment,
                    )
