"""Claims against runs and against the paper's own curves: one row of the claims table each."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from ics.analysis.claims.claim import Claim, Statistic
from ics.analysis.claims.interval import CONFIDENCE, estimate, judge, verdict
from ics.analysis.claims.training import FINAL, TRAINS
from ics.analysis.layers import PAPERS_DEPTH, common_layers, match_layers
from ics.analysis.load import Runs
from ics.analysis.measured import QUANTITIES, Measured
from ics.analysis.paper import MODELS, all_paper_points
from ics.analysis.scales import PAPERS_OWN, Scale, scales_with

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
    "papers_curves": "agree or disagree with the claim by the same rule; not shown: the paper shows no such curve",
    "note": "what else to know: diverged runs, layers that differ from the paper's, why there is no verdict",
}

PAIRED = "Student's t, paired by seed"
SINGLE = "Student's t"


@dataclass
class Evidence:
    """All runs, by scale, and the paper's curves.

    Attributes:
        runs: None if there are none.
    """

    runs: Runs | None
    _scales: dict[tuple[str, str], list[Measured]] = field(default_factory=dict)
    _values: dict[tuple[int, Statistic, str, float], pd.Series] = field(default_factory=dict)

    def measured(self, model: str, table: str) -> list[Measured]:
        """The scales of a network's runs that have a table."""
        if (model, table) not in self._scales:
            scales = scales_with(self.runs, model, [table]) if self.runs is not None else ()
            self._scales[model, table] = [Measured(self.runs, scale) for scale in scales] if self.runs else []
        return self._scales[model, table]

    def values(self, measured: Measured, statistic: Statistic, arm: str, lr: float) -> pd.Series:
        """The statistic of every run of an arm and rate, by seed."""
        key = (id(measured), statistic, arm, lr)
        if key not in self._values:
            rows = _of_layers(measured.of(statistic.quantity, arm, lr), statistic, measured.scale)
            steps = int(measured.scale.runs["steps"].iloc[0])
            found = {
                int(own["seed"].iloc[0]): statistic.of(own, steps) for _, own in rows.groupby("run", observed=True)
            }
            self._values[key] = pd.Series(found, dtype="float64").sort_index()
        return self._values[key]

    @cached_property
    def paper(self) -> dict[tuple[str, str], pd.DataFrame]:
        """The paper's points, by model and quantity."""
        groups = all_paper_points().groupby(["model", "quantity"], sort=False)
        return {(MODELS[str(model)], str(quantity)): rows for (model, quantity), rows in groups}


def evaluate(claims: Sequence[Claim], evidence: Evidence) -> pd.DataFrame:
    """The claims table: a row for every claim and every scale that has runs for it.

    A claim without any runs has one row, with n = 0 and the command that makes them.

    Raises:
        UserError: runs cannot be told apart; see `split_by_scale`.
    """
    rows = [row for claim in claims for row in _rows(claim, evidence)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(claim: Claim, evidence: Evidence) -> Iterator[dict[str, Any]]:
    own = _of_paper(claim, evidence.paper)
    said = "not shown" if math.isnan(own) else "agree" if own in claim.holds else "disagree"
    common = {
        "claim": claim.name,
        "headline": int(claim.headline),
        "text": claim.text,
        "place": claim.place,
        "model": claim.model,
        "lr": claim.lr,
        "quantity": claim.statistic.quantity,
        "phase": claim.statistic.phase.name,
        "effect_is": claim.effect,
        "claimed_low": _end(claim.holds.low),
        "claimed_high": _end(claim.holds.high),
        "unit": claim.unit,
        "rule": claim.rule,
        "papers_effect": own,
        "papers_curves": said,
    }
    met = False
    for measured in evidence.measured(claim.model, QUANTITIES[claim.statistic.quantity].table):
        if all(len(measured.of(claim.statistic.quantity, arm, claim.lr)) for arm in claim.arms):
            met = True
            yield common | _verdict(claim, measured, evidence)
    if not met:
        yield common | {"n": 0, "verdict": "undecided", "note": f"no runs; make them with: {claim.command}"}


def _verdict(claim: Claim, measured: Measured, evidence: Evidence) -> dict[str, Any]:
    values = evidence.values(measured, claim.statistic, claim.arm, claim.lr)
    table = pd.DataFrame({"value": values})
    if claim.against is not None:
        others = evidence.values(measured, claim.statistic, claim.against, claim.lr)
        table = table.join(others.rename("against"), how="inner")
    table = table.dropna()
    effects = table["value"] - table["against"] if "against" in table else table["value"]
    found = estimate(effects.tolist())
    holds = judge(found, claim.holds)
    scale = measured.scale
    return {
        "scale": scale.slug,
        "scale_title": scale.title,
        "network": scale.network,
        "data": str(scale.runs["data_label"].iloc[0]),
        "papers_own": int(scale.is_papers_own),
        "value": table["value"].mean(),
        "value_against": table["against"].mean() if "against" in table else math.nan,
        "effect": found.effect,
        "low": found.low,
        "high": found.high,
        "interval": PAIRED if claim.against else SINGLE,
        "n": found.n,
        "holds": math.nan if holds is None else int(holds),
        "verdict": verdict(holds, scale.is_papers_own),
        "note": "; ".join(_notes(claim, measured, evidence, found.n)),
    }


def _notes(claim: Claim, measured: Measured, evidence: Evidence, n: int) -> Iterator[str]:
    if n < 2:
        yield (
            ("no two runs of the same seed" if claim.against else "no value") if n == 0 else "one seed decides nothing"
        )
    for arm in claim.arms:
        own = measured.of(claim.statistic.quantity, arm, claim.lr)
        runs = own.drop_duplicates("run")
        if diverged := int((runs["status"] == "diverged").sum()):
            yield f"{diverged} of {len(runs)} runs of {arm} diverged"
        elif claim.model == "vgg" and (evidence.values(measured, FINAL, arm, claim.lr) <= TRAINS).any():
            yield f"runs of {arm} do not train (training accuracy up to {TRAINS:g} %)"
    if papers := claim.statistic.layers:
        ours = _our_layers(papers, own, measured.scale)
        if list(ours) != list(ours.values()):
            yield "our layers " + ", ".join(f"#{our} for the paper's #{layer}" for layer, our in ours.items())


def _end(bound: float) -> float:
    return bound if math.isfinite(bound) else math.nan


def _our_layers(papers: tuple[int, ...], curve: pd.DataFrame, scale: Scale) -> dict[int, int]:
    depth = int(scale.runs["model.depth"].iloc[0])
    papers_depth = PAPERS_DEPTH[str(scale.runs["model.name"].iloc[0])]
    return match_layers(papers, papers_depth, common_layers(curve, "layer"), depth)


def _of_layers(rows: pd.DataFrame, statistic: Statistic, scale: Scale) -> pd.DataFrame:
    if statistic.layers is None or rows.empty:
        return rows
    if not statistic.layers:
        return rows[rows["layer"] > 1]
    return rows[rows["layer"].isin(_our_layers(statistic.layers, rows, scale).values())]


def _of_paper(claim: Claim, points: dict[tuple[str, str], pd.DataFrame]) -> float:
    """The effect on the paper's own curves, all from one figure; nan if it does not show them."""
    layers = claim.statistic.layers
    mine = points.get((claim.model, claim.statistic.quantity))
    if mine is None or layers == ():
        return math.nan
    mine = mine[np.isclose(mine["lr"], claim.lr, atol=0) & mine["arm"].isin(claim.arms)]
    if layers:
        mine = mine[mine["layer"].isin(layers).fillna(False)]
    for _, figure in mine.groupby("figure", sort=False):
        values = []
        for arm in claim.arms:
            own = figure[figure["arm"] == arm]
            whole = layers is None or set(own["layer"]) == set(layers)
            values.append(
                claim.statistic.of(own, int(PAPERS_OWN[claim.model]["steps"])) if len(own) and whole else math.nan
            )
        if not any(map(math.isnan, values)):
            return values[0] - values[1] if len(values) == 2 else values[0]
    return math.nan
