"""Claims against runs and against the paper's own curves: one row of the claims table each."""

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd

from ics.analysis.claims import words
from ics.analysis.claims.claim import ALL_LAYERS, Claim, Statistic
from ics.analysis.claims.interval import CONFIDENCE, MOST_SEEDS, POWER, estimate, judge, seeds_to_decide, verdict
from ics.analysis.claims.training import FINAL, TRAINS
from ics.analysis.load import Runs
from ics.analysis.measured import QUANTITIES, Measured, measured_by
from ics.analysis.paper import PAPERS_NAME, all_paper_points
from ics.analysis.scales import PAPERS_OWN
from ics.analysis.select import select

COLUMNS = {
    "claim": "name of the claim that the row is part of",
    "headline": "1: the row stands for its claim; 0: a detail",
    "text": "the statement",
    "place": "where it stands in the paper",
    "model": "setting model.name of the runs",
    "scale": "short name of the runs' scale; different scales are never mixed",
    "scale_title": "the same in words",
    "network": "the kind of network, in words",
    "data": "label of their data",
    "papers_own": "1: the runs have the paper's own size and data; 0: they have not",
    "lr": "learning rate",
    "quantity": "what was measured",
    "phase": "of the training",
    "effect_is": "the statistic over that phase, and what is compared",
    "value": "mean over the seeds of the statistic of the runs the claim is about",
    "value_against": "the same of the runs they are compared with",
    "claimed_low": "the claim is true of effects from here; empty: no lower end",
    "claimed_high": "up to here; empty: no upper end",
    "effect": "mean over the seeds",
    "low": f"lower end of the {CONFIDENCE:.0%} confidence interval",
    "high": "upper end",
    "unit": "of the effect",
    "interval": "how the interval was made",
    "n": "seeds; pairs of runs with the same seed where two are compared",
    "holds": "1: the whole interval lies where the claim is true; 0: none of it does; empty: undecided",
    "verdict": "the same in words: supported, contradicted (with the paper's own size and data), borne out, not "
    "borne out at this scale (with others), undecided",
    "rule": "by which; written before any result on CIFAR-10",
    "papers_effect": "the same statistic on the paper's own curves, one run",
    "papers_as_far": "the same on as many of its steps as the runs have",
    "papers_curves": "agree or disagree with the claim by the same rule; not shown: the paper shows no such curve",
    "note": "what else to know: diverged runs, layers that differ from the paper's, why there is no verdict",
    "arm": "the kind of normalisation that the claim is about",
    "against": "the one it is compared with; empty: none",
    "layers": "the paper's layers; all: every one but the first; empty: the quantity knows no layers",
    "seeds_to_decide": f"seeds or pairs that would decide it with a chance of {POWER:.0%}, were effect and spread "
    f"those found; inf: more than {MOST_SEEDS}; empty: decided, a detail, or no spread known",
    "setup": "the scale without the number of steps: shorter runs of a set-up are the beginnings of longer ones",
    "steps": "of the runs",
}


OF_ONE_SETUP = ["claim", "quantity", "phase", "arm", "against", "layers", "lr", "setup"]
"""What rows of one set-up agree in that differ in the length of their runs."""

_OfLayers = dict[tuple[Any, ...], dict[int, float]]  # what tells curves apart -> layer -> statistic


def evaluate(claims: Sequence[Claim], runs: Runs | None) -> pd.DataFrame:
    """The claims table: a row for every claim and every scale that has runs for it.

    A claim without any runs has one row, with n = 0 and the command that makes them.

    Args:
        claims: from `catalogue.all_claims`.
        runs: what there is; None if nothing.

    Raises:
        UserError: runs cannot be told apart; see `split_by_scale`.
    """
    rows = [row for claim in claims for row in _rows(claim, runs)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def without_beginnings(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of the claims table that are independent evidence.

    Runs of one set-up and seed are one another's beginnings: of several lengths that with the most seeds counts, and of
    these the longest.
    """
    return rows.sort_values(["n", "steps"]).drop_duplicates(OF_ONE_SETUP, keep="last").sort_index()


def _papers_value(claim: Claim, steps: float = math.inf) -> float:
    """The effect on the first steps of the paper's own curves, all from one figure; nan if it does not show them."""
    layers = claim.statistic.layers
    of_curves = _of_paper(claim.model, claim.statistic.per_layer, min(steps, PAPERS_OWN[claim.model]["steps"]))
    shown = {(figure, arm): own for (figure, arm, lr), own in of_curves.items() if math.isclose(lr, claim.lr)}
    for figure in dict.fromkeys(figure for figure, _ in shown) if layers != ALL_LAYERS else ():
        of_arms = [shown.get((figure, arm), {}) for arm in claim.arms]
        values = [float(np.mean([own.get(layer, math.nan) for layer in layers or [0]])) for own in of_arms]
        if not any(map(math.isnan, values)):
            return values[0] - values[1] if claim.against else values[0]
    return math.nan


@lru_cache(maxsize=1024)
def _of_paper(model: str, statistic: Statistic, steps: int) -> _OfLayers:
    """Of the paper's curves: figure, arm, learning rate -> layer -> the statistic; figures in the paper's order."""
    points = select(all_paper_points(), model=PAPERS_NAME[model], quantity=statistic.quantity)
    keys = ["figure", "arm", "lr"]
    nested = _nested(statistic.of_layers(points, steps, keys), keys)
    return {key: nested[key] for figure in points["figure"].unique() for key in nested if key[0] == figure}


@lru_cache(maxsize=4096)
def _of_runs(measured: Measured, statistic: Statistic) -> _OfLayers:
    """Of our runs: arm, learning rate, seed -> layer -> the statistic."""
    steps, keys = int(measured.scale.runs["steps"].iloc[0]), ["arm", "lr", "seed"]
    return _nested(statistic.of_layers(measured.counted(statistic.quantity), steps, keys), keys)


def _nested(found: pd.DataFrame, keys: Sequence[str]) -> _OfLayers:
    """What `Statistic.of_layers` gives, by what tells its curves apart."""
    nested: _OfLayers = {}
    for *key, layer, value in found[[*keys, "layer", "value"]].itertuples(index=False):
        nested.setdefault(tuple(key), {})[layer] = value
    return nested


def _values(measured: Measured, statistic: Statistic, arm: str, lr: float) -> dict[int, float]:
    """The statistic of every run, by seed; nan where a layer has none."""
    layers = statistic.layers
    ours = set(measured.layers(statistic.quantity, arm, lr, layers).values()) if layers else set()
    found = {}
    for (of_arm, rate, seed), of_layers in _of_runs(measured, statistic.per_layer).items():
        if of_arm == arm and math.isclose(rate, lr):
            chosen = [
                v for layer, v in of_layers.items() if layers is None or layer in ours or (not layers and layer > 1)
            ]
            found[seed] = float(np.mean(chosen)) if chosen else math.nan
    return found


@lru_cache(maxsize=4096)
def _lost(measured: Measured, quantity: str, arm: str, lr: float) -> str:
    """Whether runs diverged or do not train, in words; "" if not."""
    runs = measured.of(quantity, arm, lr).drop_duplicates("run")
    if diverged := int((runs["status"] == "diverged").sum()):
        return f"{diverged} of {len(runs)} runs of {arm} diverged"
    images = measured.scale.runs["model.name"].iloc[0] == "vgg"
    if images and any(value <= TRAINS for value in _values(measured, FINAL, arm, lr).values()):
        return f"runs of {arm} do not train (training accuracy up to {TRAINS:g} %)"
    return ""


def _rows(claim: Claim, runs: Runs | None) -> Iterator[dict[str, Any]]:
    statistic = claim.statistic
    papers = _papers_value(claim)
    common = {
        **{name: getattr(claim, name) for name in ("text", "place", "model", "lr", "arm", "against")},
        "claim": claim.name,
        "headline": int(claim.headline),
        "quantity": statistic.quantity,
        "phase": statistic.phase.name,
        "effect_is": words.effect_is(claim),
        "claimed_low": math.nan if math.isinf(claim.holds.low) else claim.holds.low,
        "claimed_high": math.nan if math.isinf(claim.holds.high) else claim.holds.high,
        "unit": str(claim.unit),
        "rule": words.rule(claim),
        "papers_effect": papers,
        "papers_curves": "not shown" if math.isnan(papers) else "agree" if papers in claim.holds else "disagree",
        "layers": None if statistic.layers is None else " ".join(map(str, statistic.layers)) or "all",
    }
    found = [
        common | _verdict(claim, measured)
        for measured in (measured_by(runs, claim.model, QUANTITIES[statistic.quantity].table) if runs else ())
        if all(len(measured.of(statistic.quantity, arm, claim.lr)) for arm in claim.arms)
    ]
    yield from found or [common | {"n": 0, "verdict": "undecided", "note": f"no runs; make them with: {claim.command}"}]


def _verdict(claim: Claim, measured: Measured) -> dict[str, Any]:
    values = [_values(measured, claim.statistic, arm, claim.lr) for arm in claim.arms]
    seeds = [seed for seed in values[0] if not any(math.isnan(own.get(seed, math.nan)) for own in values)]
    numbers = np.array([[own[seed] for seed in seeds] for own in values])
    with np.errstate(invalid="ignore"):
        effects = numbers[0] - numbers[1] if claim.against else numbers[0]
    found = estimate(effects.tolist())
    holds = judge(found, claim.holds)
    scale = measured.scale
    steps = int(scale.runs["steps"].iloc[0])
    return {
        "scale": scale.slug,
        "scale_title": scale.title,
        "network": scale.network,
        "data": str(scale.runs["data_label"].iloc[0]),
        "papers_own": int(scale.is_papers_own),
        "setup": scale.setup,
        "steps": steps,
        "papers_as_far": _papers_value(claim, steps),
        "value": numbers[0].mean() if seeds else math.nan,
        "value_against": numbers[1].mean() if seeds and claim.against else math.nan,
        **vars(found),
        "interval": "Student's t, paired by seed" if claim.against else "Student's t",
        "holds": math.nan if holds is None else int(holds),
        "verdict": verdict(holds, scale.is_papers_own),
        "note": "; ".join(_notes(claim, measured, found.n)),
        "seeds_to_decide": seeds_to_decide(found, claim.holds) if claim.headline and holds is None else math.nan,
    }


def _notes(claim: Claim, measured: Measured, n: int) -> Iterator[str]:
    if n == 0:
        yield "no two runs of the same seed" if claim.against else "no value"
    elif n == 1:
        yield "one seed decides nothing"
    yield from filter(None, (_lost(measured, claim.statistic.quantity, arm, claim.lr) for arm in claim.arms))
    if papers := claim.statistic.layers:
        ours = measured.layers(claim.statistic.quantity, claim.arms[-1], claim.lr, papers)
        if list(ours) != list(ours.values()):
            yield "our layers " + ", ".join(f"#{our} for the paper's #{layer}" for layer, our in ours.items())
