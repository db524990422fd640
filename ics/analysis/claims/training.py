"""Claims about accuracy and loss: batch normalisation, noise after it, noise without it, ℓp normalisations."""

from collections.abc import Iterator
from dataclasses import replace

from ics.analysis.claims.claim import END, Claim, Statistic
from ics.analysis.claims.interval import Range

# Written before any result on CIFAR-10, like all constants in these files.
NEARLY = 5.0  # percentage points of mean training accuracy within which two trainings are nearly alike
TRAINS = 20.0  # per cent: above twice what guessing gives, a network trains; one that diverged counts as guessing
NEARLY_LOSS = 0.3  # log10: a final loss within a factor of two is as good

SPEED = Statistic("train_accuracy_percent", "mean")
FINAL = Statistic("train_accuracy_percent", "mean", END)
FINAL_TEST = Statistic("test_accuracy_percent", "last")
FINAL_LOSS = Statistic("train_loss", "median", END, scale="log10")

MORE = Range(low=0.0)


_FIG1, _FIG2, _LP, _LP_LINEAR = "fig1 scale=cpu", "fig2 scale=cpu", "fig5_vgg scale=cpu", "fig5_dln"  # make the runs


def claims() -> Iterator[Claim]:
    """All of them."""
    faster = Claim("bn_trains_faster", "BatchNorm trains faster", "Section 2, Figure 1a", "vgg", 0.1, SPEED,
                   "batch", "standard", MORE, _FIG1)  # fmt: skip
    yield faster
    yield replace(faster, place="Figure 3a", lr=0.01, experiment="fig3_vgg scale=cpu", headline=False)
    yield Claim("bn_generalises_better", "BatchNorm generalises better", "Section 2, Figure 1b", "vgg", 0.1, FINAL_TEST,
                "batch", "standard", MORE, _FIG1)  # fmt: skip
    yield Claim("bn_trains_at_high_rate", "BatchNorm trains", "Section 2, Figure 1", "vgg", 0.5, FINAL,
                "batch", None, Range(low=TRAINS), _FIG1)  # fmt: skip
    yield Claim("standard_fails_at_high_rate", "the standard network does not train", "Section 2, Figure 1", "vgg", 0.5,
                FINAL, "standard", None, Range(high=TRAINS), _FIG1)  # fmt: skip
    yield Claim("noisy_nearly_matches_bn", "noisy BatchNorm trains almost like BatchNorm", "Section 2.1, Figure 2",
                "vgg", 0.1, SPEED, "noisy_batch", "batch", Range(-NEARLY, NEARLY), _FIG2)  # fmt: skip
    yield Claim("noisy_beats_standard", "noisy BatchNorm trains better than the standard network",
                "Section 2.1, Figure 2", "vgg", 0.1, SPEED, "noisy_batch", "standard", MORE, _FIG2)  # fmt: skip
    yield Claim("noise_prevents_training", "the same noise on a standard network prevents it from training entirely",
                "Section 2.1, in words only", "vgg", 0.1, FINAL, "noise_only", None, Range(high=TRAINS),
                _FIG2)  # fmt: skip
    for p, name in (("l1", "ℓ₁"), ("l2", "ℓ₂"), ("linf", "ℓ∞")):
        yield Claim("lp_as_good_as_bn", f"{name} normalisation trains as well as BatchNorm", "Section 3.3, Figure 5a",
                    "vgg", 0.1, SPEED, p, "batch", Range(low=-NEARLY), _LP)  # fmt: skip
        yield Claim("lp_beats_standard", f"{name} normalisation trains better than the standard network",
                    "Section 3.3, Figure 5a", "vgg", 0.1, SPEED, p, "standard", MORE, _LP)  # fmt: skip
        yield Claim("lp_as_good_as_bn", f"{name} normalisation reaches as low a loss as BatchNorm",
                    "Section 3.3, Figure 5b", "deep_linear", 1e-6, FINAL_LOSS, p, "batch", Range(high=NEARLY_LOSS),
                    _LP_LINEAR)  # fmt: skip
        yield Claim("lp_beats_standard", f"{name} normalisation reaches a lower loss than the standard network",
                    "Section 3.3, Figure 5b", "deep_linear", 1e-6, FINAL_LOSS, p, "standard", Range(high=0.0),
                    _LP_LINEAR)  # fmt: skip
    yield Claim("bn_trains_faster", "BatchNorm reaches a lower loss", "Figure 5b", "deep_linear", 1e-6, FINAL_LOSS,
                "batch", "standard", Range(high=0.0), _LP_LINEAR, headline=False)  # fmt: skip
