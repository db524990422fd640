"""Claims about internal covariate shift (Definition 2.1, Figure 3): VGG and the deep linear network."""

from collections.abc import Iterator
from dataclasses import replace

from ics.analysis.claims.claim import ALL_LAYERS, PHASES, START, WHOLE, Claim, Statistic
from ics.analysis.claims.interval import Range

QUESTION = "Does batch normalisation reduce internal covariate shift?"
CLAIM = "bn_does_not_reduce_ics"
"""The claim that answers it."""

# Similar or larger: not smaller by more than a fifth; gradients not better aligned by more than 0.05.
NOT_REDUCED = Range(low=-0.1)  # log10 ratio
NOT_ALIGNED = Range(high=0.05)  # difference of cosines
SPIKE = Range(low=1.0)  # log10 ratio: ten times larger
NO_CORRELATION = Range(-0.2, 0.2)  # cosine at the first step
NEARLY_UNCORRELATED = Range(high=0.3)  # median of |cosine|: strong anti-correlation is no lack of correlation
ALMOST_NONE = Range(high=-1.0)  # log10 of ‖G − G′‖₂ / ‖G‖₂: a tenth
ALMOST_ALIGNED = Range(low=0.9)  # cosine

L2 = Statistic("ics_l2", "median", layers=ALL_LAYERS, scale="log10")
RELATIVE = Statistic("ics_relative_l2", "median", layers=ALL_LAYERS, scale="log10")
COSINE = Statistic("ics_cosine", "median", layers=ALL_LAYERS)
CORRELATION = replace(COSINE, scale="abs")

_METRICS = (
    (L2, NOT_REDUCED, "‖G − G′‖₂ is similar or larger"),
    (COSINE, NOT_ALIGNED, "cos∠(G, G′) is no higher"),
    (RELATIVE, NOT_REDUCED, "‖G − G′‖₂ / ‖G‖₂ is similar or larger"),
)

# Setting `model.name` -> the paper's layers, its rates, what makes the runs.
NETS = {
    "vgg": ((5, 10), (0.1, 0.01), "fig3_vgg scale=cpu"),
    "deep_linear": ((9, 17), (1e-6, 1e-7), "fig3_dln"),
}
_PLACE = {"vgg": "Section 2.2, Figure 3a", "deep_linear": "Section 2.2, Figure 3b"}


def claims() -> Iterator[Claim]:
    """All of them."""
    for model, (layers, rates, experiment) in NETS.items():
        for rate in rates:
            for metric, holds, text in _METRICS:
                whole = Claim(
                    CLAIM,
                    f"BatchNorm does not reduce the shift: {text}",
                    _PLACE[model],
                    model,
                    rate,
                    replace(metric, layers=layers),
                    "batch",
                    "standard",
                    holds,
                    experiment,
                )
                yield whole
                yield from _details(whole, layers)
    layers, rates, experiment = NETS["vgg"]
    for rate in rates:
        spike = Claim(
            "bn_spike_at_init",
            "at initialisation BatchNorm's shift is far larger",
            "Figure 3a, step 0 (read off; the text does not say it)",
            "vgg",
            rate,
            replace(L2, phase=START, layers=layers),
            "batch",
            "standard",
            SPIKE,
            experiment,
        )
        aligned = replace(
            spike,
            text="at initialisation BatchNorm's G and G′ are uncorrelated",
            statistic=replace(COSINE, phase=START, layers=layers),
            against=None,
            holds=NO_CORRELATION,
        )
        for claim in (spike, aligned):
            yield claim
            yield replace(claim, statistic=replace(claim.statistic, layers=ALL_LAYERS), headline=False)
    yield from _deep_linear()


def _deep_linear() -> Iterator[Claim]:
    layers, rates, experiment = NETS["deep_linear"]
    none = "the standard deep linear network has almost no internal covariate shift: "
    apart = "BatchNorm's G and G′ are almost uncorrelated in the deep linear network"
    for rate in rates:
        for name, text, arm, metric, holds in (
            ("standard_dln_has_no_ics", none + "cos∠(G, G′) is nearly 1", "standard", COSINE, ALMOST_ALIGNED),
            ("standard_dln_has_no_ics", none + "‖G − G′‖₂ is small beside ‖G‖₂", "standard", RELATIVE, ALMOST_NONE),
            ("bn_dln_gradients_uncorrelated", apart, "batch", CORRELATION, NEARLY_UNCORRELATED),
        ):
            statistic = replace(metric, layers=layers)
            claim = Claim(
                name, text, _PLACE["deep_linear"], "deep_linear", rate, statistic, arm, None, holds, experiment
            )
            yield claim
            yield from _details(claim, layers)


def _details(whole: Claim, layers: tuple[int, ...]) -> Iterator[Claim]:
    """The same claim phase by phase, for the same layers, for each of them, and for all layers."""
    for chosen in (layers, *((layer,) for layer in layers), ALL_LAYERS):
        for phase in (WHOLE, *PHASES):
            statistic = replace(whole.statistic, layers=chosen, phase=phase)
            if statistic != whole.statistic:
                yield replace(whole, statistic=statistic, headline=False)
