"""One question, every reasonable reading: what BatchNorm does to the shift under every combination of choices.

After Simonsohn, Simmons and Nelson, "Specification curve analysis", Nature Human Behaviour 4 (2020), 1208–1214.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby, product
from typing import Any

import numpy as np
import pandas as pd

from ics.analysis.claims import covariate_shift
from ics.analysis.claims.claim import PHASES, WHOLE, Claim
from ics.analysis.claims.interval import Estimate, estimate, judge
from ics.analysis.load import Runs
from ics.analysis.measured import Measured, Unit, measured_by
from ics.analysis.progress import LEVELS, by_progress
from ics.analysis.scales import common_layers
from ics.analysis.select import select

SHIFT = "shift"
"""The table of the definition that the claims go by; others with its columns hold readings of it."""

STATISTICS = MEDIAN, MEAN, MEAN_LOG = "median", "mean", "mean of logarithms"
BY_STEP, BY_LOSS, BY_ACCURACY = "step", "training loss", "training accuracy"
REDUCED, INCREASED, UNDECIDED, NO_VALUE = "reduced", "increased", "undecided", "no value"

COLUMNS = {
    "model": "setting model.name of the runs",
    "network": "the kind of network, in words",
    "scale": "short name of the runs' scale",
    "scale_title": "the same in words",
    "lr": "learning rate",
    "definition": "the table that holds the shift, by its reading of the definition; `shift` is the one of the claims",
    "quantity": "measure of the shift",
    "statistic": "over the steps, layer by layer",
    "layers": "whose statistics are averaged: the paper's two; all: every one measured but the first; or one of ours",
    "phase": "of the training; by progress, of the levels",
    "alignment": "what is equal in the two networks that are compared: the step, the training loss or the accuracy",
    "effect": "BatchNorm minus standard, mean over pairs of runs with the same seed",
    "low": "lower end of its t-interval, as in the claims",
    "high": "upper end",
    "n": "pairs",
    "change": "reduced: the whole interval says that BatchNorm makes the shift smaller, or the cosine larger; "
    "increased: the opposite; else undecided; no value: no pair has any",
    "holds": "1: by the rule of the claims it does not reduce the shift; 0: it does; empty: undecided",
    "headline": "1: the reading that was written beforehand",
}


@lru_cache(maxsize=4)
def specifications(runs: Runs | None) -> pd.DataFrame:
    """Every reading of every comparison that the headline claims make, one row each, with the columns of `COLUMNS`.

    The frame is kept for whoever asks next, and not to be changed.

    The mean of logarithms is left out for the cosine, which may be negative.
    """
    claims = [claim for claim in covariate_shift.claims() if claim.name == covariate_shift.CLAIM and claim.headline]
    pairs = [list(same) for _, same in groupby(claims, lambda claim: (claim.model, claim.lr))]
    rows = [
        row
        for of_claims, (definition, by) in product(pairs, by_definition(runs).items())
        for measured in measured_by(by, of_claims[0].model, SHIFT)
        if all(len(measured.of("ics_l2", arm, of_claims[0].lr)) for arm in of_claims[0].arms)
        for row in _readings(of_claims, measured, definition)
    ]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values(["model", "lr", "scale"], key=_order, kind="stable").reset_index(drop=True)


def _order(column: pd.Series) -> pd.Series:
    """Of first appearance: the definitions of one scale stand together."""
    return pd.Series(pd.factorize(column)[0], index=column.index)


@lru_cache(maxsize=4)
def by_definition(runs: Runs | None) -> dict[str, Runs]:
    """The tables with the columns of `shift`, which itself is the first, and the runs with each in its place."""
    if runs is None or SHIFT not in runs:
        return {}
    alike = [name for name in runs if runs.schemas[name].columns == runs.schemas[SHIFT].columns]
    others = sorted(name for name in alike if name != SHIFT)
    return {SHIFT: runs} | {name: runs.instead(SHIFT, name) for name in others}


def _readings(claims: Sequence[Claim], measured: Measured, definition: str) -> Iterator[dict[str, Any]]:
    """Of the claims about one network at one rate, which differ in the measure."""
    first, scale = claims[0], measured.scale
    # The rows of the two arms at the rate, with a column for each of the measures, which are of one table.
    names = [claim.statistic.quantity for claim in claims]
    curves = [select(measured.counted(name), arm=list(first.arms), lr=first.lr) for name in names]
    rows = curves[0].assign(**{name: curve["value"] for name, curve in zip(names, curves, strict=True)})
    inner = [layer for layer in common_layers(rows, "layer") if layer > 1]
    papers = first.statistic.layers or ()
    ours = measured.layers(first.statistic.quantity, first.arms[-1], first.lr, papers).values()
    pair = " ".join(map(str, papers))
    chosen = {pair: list(ours), "all": inner} | {str(layer): [layer] for layer in inner} if inner else {}
    known = sorted({*ours, *inner})
    columns = {layers: [known.index(layer) for layer in which] for layers, which in chosen.items()}
    common = {
        "model": first.model,
        "network": scale.network,
        "scale": scale.slug,
        "scale_title": scale.title,
        "lr": first.lr,
        "definition": definition,
    }
    for alignment, aligned, length in _alignments(first, measured, rows):
        found = differences(claims, aligned, length, known)
        values = found.to_numpy(dtype=float).reshape(len(found), len(STATISTICS), len(claims), len(known))
        in_phase = {phase: found.index.get_level_values("phase") == phase.name for phase in (WHOLE, *PHASES)}
        for (at, claim), (number, statistic) in product(enumerate(claims), enumerate(STATISTICS)):
            if statistic == MEAN_LOG and claim.statistic.scale != "log10":
                continue
            beforehand = alignment == BY_STEP and definition == SHIFT and statistic == claim.statistic.reduce
            for phase, (layers, which) in product(in_phase, columns.items()):
                effects = values[in_phase[phase], number, at][:, which].mean(axis=1)
                effect = estimate(effects[~np.isnan(effects)].tolist())
                holds = judge(effect, claim.holds)
                yield common | {
                    "quantity": claim.statistic.quantity,
                    "statistic": statistic,
                    "layers": layers,
                    "phase": phase.name,
                    "alignment": alignment,
                    **vars(effect),
                    "change": change(effect, claim.unit),
                    "holds": np.nan if holds is None else int(holds),
                    "headline": int(beforehand and phase == WHOLE and layers == pair),
                }


def differences(claims: Sequence[Claim], rows: pd.DataFrame, length: int, layers: Sequence[int]) -> pd.DataFrame:
    """The claims' arm minus the one it is compared with, by every statistic over the steps of every phase.

    The median, and the mean of logarithms, are of the values as the claims scale them. The ratio of two plain means is
    written as a logarithm too.

    Args:
        claims: compare the same two arms; they differ in the measure.
        rows: arm, seed, layer, step, and a column for each measure; of one learning rate.
        length: of the training, in steps or levels.
        layers: wanted.

    Returns:
        A row per phase and seed, a column per statistic, measure and layer; nan where one of the two has no value.
    """
    names = [claim.statistic.quantity for claim in claims]
    logged = [claim.statistic.quantity for claim in claims if claim.statistic.scale == "log10"]
    phases = pd.concat({phase.name: phase.rows(rows, length) for phase in (WHOLE, *PHASES)}, names=["phase"])
    by = ["phase", "arm", "seed", "layer"]
    values = phases.droplevel(1).set_index(by[1:], append=True)[names].astype("float64")
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = values.assign(**values[logged].transform(np.log10))
        means = values.groupby(by, observed=True).mean()
        means = means.assign(**means[logged].transform(np.log10))
    of_scaled = scaled.groupby(by, observed=True)
    found = pd.concat({MEDIAN: of_scaled.median(), MEAN: means, MEAN_LOG: of_scaled.mean()}, axis=1).unstack("layer")
    arm = found.index.get_level_values("arm")
    one, other = (pd.DataFrame(found[arm == which]).droplevel("arm") for which in claims[0].arms)
    return one.sub(other).reindex(columns=pd.MultiIndex.from_product([STATISTICS, names, layers]))


def change(found: Estimate, unit: Unit) -> str:
    """What an interval says of the shift: of a cosine that grows, that it is reduced."""
    if found.n == 0:
        return NO_VALUE
    smaller = found.low > 0 if unit is Unit.COSINE else found.high < 0
    larger = found.high < 0 if unit is Unit.COSINE else found.low > 0
    return REDUCED if smaller else INCREASED if larger else UNDECIDED


def _alignments(claim: Claim, measured: Measured, rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, int]]:
    """What is equal in the two, their rows by it, and how far it goes."""
    steps = int(measured.scale.runs["steps"].iloc[0])
    yield BY_STEP, rows, steps
    for name, quantity in ((BY_LOSS, "train_loss"), (BY_ACCURACY, "train_accuracy_percent")):
        trained = select(measured.curve(quantity), arm=list(claim.arms), lr=claim.lr)
        if quantity == "train_loss":
            with np.errstate(divide="ignore", invalid="ignore"):
                trained = trained.assign(value=-np.log(trained["value"].astype(float)))
        if trained["value"].notna().any():
            yield name, by_progress(rows, trained, claim.arms, steps), LEVELS
