"""Claims about internal covariate shift (Definition 2.1, Figure 3): VGG and the deep linear network."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

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

# Setting `model.name` -> the paper's layers, its rates, what makes the runs.
NETS = {
    "vgg": ((5, 10), (0.1, 0.01), "fig3_vgg scale=cpu"),
    "deep_linear": ((9, 17), (1e-6, 1e-7), "fig3_dln"),
}
_PLACE = {"vgg": "Section 2.2, Figure 3a", "deep_linear": "Section 2.2, Figure 3b"}
_READ_OFF = "Figure 3a, step 0 (read off; the text does not say it)"

_Row = tuple[str, str, str, str | None, Statistic, Range]  # name, text, arm, against, statistic, the effects that hold

_IN_BOTH: tuple[_Row, ...] = tuple(
    (CLAIM, f"BatchNorm does not reduce the shift: {text}", "batch", "standard", metric, holds)
    for text, metric, holds in (
        ("‖G − G′‖₂ is similar or larger", L2, NOT_REDUCED),
        ("cos∠(G, G′) is no higher", COSINE, NOT_ALIGNED),
        ("‖G − G′‖₂ / ‖G‖₂ is similar or larger", RELATIVE, NOT_REDUCED),
    )
)
_AT_START: tuple[_Row, ...] = tuple(
    ("bn_spike_at_init", f"at initialisation BatchNorm's {text}", "batch", against, replace(metric, phase=START), holds)
    for text, against, metric, holds in (
        ("shift is far larger", "standard", L2, SPIKE),
        ("G and G′ are uncorrelated", None, COSINE, NO_CORRELATION),
    )
)
_NONE = "the standard deep linear network has almost no internal covariate shift: "
_APART = "BatchNorm's G and G′ are almost uncorrelated in the deep linear network"
_DEEP_LINEAR: tuple[_Row, ...] = (
    ("standard_dln_has_no_ics", f"{_NONE}cos∠(G, G′) is nearly 1", "standard", None, COSINE, ALMOST_ALIGNED),
    ("standard_dln_has_no_ics", f"{_NONE}‖G − G′‖₂ is small beside ‖G‖₂", "standard", None, RELATIVE, ALMOST_NONE),
    ("bn_dln_gradients_uncorrelated", _APART, "batch", None, CORRELATION, NEARLY_UNCORRELATED),
)


def claims() -> Iterator[Claim]:
    """All of them."""
    of_both = [(model, _IN_BOTH) for model in NETS]
    for model, rows in (*of_both, ("vgg", _AT_START), ("deep_linear", _DEEP_LINEAR)):
        layers, rates, experiment = NETS[model]
        for rate, (name, text, arm, against, metric, holds) in product(rates, rows):
            place = _READ_OFF if rows is _AT_START else _PLACE[model]
            statistic = replace(metric, layers=layers)
            claim = Claim(name, text, place, model, rate, statistic, arm, against, holds, experiment)
            yield claim
            if rows is _AT_START:
                yield claim.detail(layers=ALL_LAYERS)
                continue
            for chosen in (layers, *((layer,) for layer in layers), ALL_LAYERS):
                for phase in (WHOLE, *PHASES):
                    if (chosen, phase) != (layers, WHOLE):
                        yield claim.detail(layers=chosen, phase=phase)
