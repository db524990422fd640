"""Claims about accuracy and loss: batch normalisation, noise after it, noise without it, ℓp normalisations."""

from collections.abc import Iterator

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


def claims() -> Iterator[Claim]:
    """All of them."""

    def vgg(
        name: str,
        text: str,
        place: str,
        statistic: Statistic,
        arms: tuple[str, str | None],
        holds: Range,
        lr: float = 0.1,
        experiment: str = "fig1",
        headline: bool = True,
    ) -> Claim:
        options = f"{experiment} scale=cpu"
        return Claim(name, text, place, "vgg", lr, statistic, *arms, holds, options, headline)

    versus_standard = ("batch", "standard")
    yield vgg("bn_trains_faster", "BatchNorm trains faster", "Section 2, Figure 1a", SPEED, versus_standard, MORE)
    yield vgg("bn_trains_faster", "BatchNorm trains faster", "Figure 3a", SPEED, versus_standard, MORE,
              lr=0.01, experiment="fig3_vgg", headline=False)  # fmt: skip
    yield vgg("bn_generalises_better", "BatchNorm generalises better", "Section 2, Figure 1b", FINAL_TEST,
              versus_standard, MORE)  # fmt: skip
    yield vgg("bn_trains_at_high_rate", "BatchNorm trains", "Section 2, Figure 1",
              FINAL, ("batch", None), Range(low=TRAINS), lr=0.5)  # fmt: skip
    yield vgg("standard_fails_at_high_rate", "the standard network does not train",
              "Section 2, Figure 1", FINAL, ("standard", None), Range(high=TRAINS), lr=0.5)  # fmt: skip
    yield vgg("noisy_nearly_matches_bn", "noisy BatchNorm trains almost like BatchNorm", "Section 2.1, Figure 2",
              SPEED, ("noisy_batch", "batch"), Range(-NEARLY, NEARLY), experiment="fig2")  # fmt: skip
    yield vgg("noisy_beats_standard", "noisy BatchNorm trains better than the standard network",
              "Section 2.1, Figure 2", SPEED, ("noisy_batch", "standard"), MORE, experiment="fig2")  # fmt: skip
    yield vgg("noise_prevents_training", "the same noise on a standard network prevents it from training entirely",
              "Section 2.1, in words only", FINAL, ("noise_only", None), Range(high=TRAINS),
              experiment="fig2")  # fmt: skip
    for p, name in (("l1", "ℓ₁"), ("l2", "ℓ₂"), ("linf", "ℓ∞")):
        yield vgg("lp_as_good_as_bn", f"{name} normalisation trains as well as BatchNorm", "Section 3.3, Figure 5a",
                  SPEED, (p, "batch"), Range(low=-NEARLY), experiment="fig5_vgg")  # fmt: skip
        yield vgg("lp_beats_standard", f"{name} normalisation trains better than the standard network",
                  "Section 3.3, Figure 5a", SPEED, (p, "standard"), MORE, experiment="fig5_vgg")  # fmt: skip
        yield Claim("lp_as_good_as_bn", f"{name} normalisation reaches as low a loss as BatchNorm",
                    "Section 3.3, Figure 5b", "deep_linear", 1e-6, FINAL_LOSS, p, "batch", Range(high=NEARLY_LOSS),
                    "fig5_dln")  # fmt: skip
        yield Claim("lp_beats_standard", f"{name} normalisation reaches a lower loss than the standard network",
                    "Section 3.3, Figure 5b", "deep_linear", 1e-6, FINAL_LOSS, p, "standard", Range(high=0.0),
                    "fig5_dln")  # fmt: skip
    yield Claim("bn_trains_faster", "BatchNorm reaches a lower loss", "Figure 5b", "deep_linear", 1e-6, FINAL_LOSS,
                "batch", "standard", Range(high=0.0), "fig5_dln", headline=False)  # fmt: skip
