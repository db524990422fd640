"""What the explorer shows: both meanings of the shift as medians and bands over seeds, and the paper's curves."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from ics.analysis.load import Runs
from ics.analysis.paper import PAPERS_NAME, paper_curves
from ics.analysis.scales import PAPERS_OWN, Scale, common_layers, scales_with, split_by_scale
from ics.analysis.seeds import over_seeds
from ics.analysis.select import select
from ics.figures.style import ARMS, darker
from ics.report.runtime import packed

MAX_BYTES = 500_000
"""Of all numbers, packed."""

POINTS = (200, 100, 75, 50, 34, 25, 17)
"""Steps per curve: the first number with which all numbers fit."""

LAYERS = 16
"""Deeper networks show every second layer, or third, …, and the paper's."""

_BAND = ("median", "low", "high")
_FEW = 2  # arms, without which there is nothing to compare
_SWEEP = 4  # more scales in one experiment are a sweep over something else, which has a figure of its own

METRICS: dict[str, dict[str, Any]] = {
    "l2": {
        "label": "‖G − G′‖₂",
        "says": "How far a layer’s gradient moves when the layers before it are updated. No shift: 0.",
        "papers": "ics_l2",
    },
    "cosine": {
        "label": "cos∠(G, G′)",
        "says": "The direction of a layer’s gradient before and after that update. No shift: 1; opposite: −1.",
        "papers": "ics_cosine",
    },
    "relative_l2": {
        "label": "‖G − G′‖₂ / ‖G‖₂",
        "says": "The same distance in lengths of the gradient, so that large and small gradients can be compared.",
    },
    "grad_norm": {"label": "‖G‖₂", "says": "The length of the gradient itself, before the update."},
    "relative_wasserstein": {
        "label": "W₁ / σ of the layer’s input (2015 meaning)",
        "says": "The older meaning: how far the distribution of a layer’s input moves (Wasserstein distance, in "
        "standard deviations) when the layers before it are updated, on the same batch.",
        "table": "input_shift",
    },
}
"""Column -> its words in the page; its table, if not `shift`; and the paper's name of it."""


def explorer_data(runs: Runs | None) -> dict[str, Any]:
    """Everything the explorer needs, ready for JSON.

    Returns:
        `arms` and `metrics` by name with what the page says of them, and `scales`: each with its title, data, steps,
        layers, the layers shown first, and curves: metric, arm, rate, layer, n (seeds), median, low and high by step
        (None where no seed has a value), and lost: the last step and value of runs that diverged. A curve of the
        paper has its own steps and its number of the layer.
    """
    scales = list(_scales(runs)) if runs is not None else []
    for points in POINTS:
        found = [_scale(runs, scale, points) for scale in scales if runs is not None]
        if not found or len(packed(json.dumps(found))) <= MAX_BYTES:
            break
    shown = {curve["arm"] for scale in found for curve in scale["curves"]}
    arms = {
        name: {"label": arm.label, "colour": arm.colour, "paper": [round(255 * part) for part in darker(arm.colour)]}
        for name, arm in ARMS.items()
        if name in shown
    }
    return {"arms": arms, "metrics": METRICS, "scales": found}


def _scales(runs: Runs) -> Iterator[Scale]:
    """Those with a table of the shift; networks that the paper has come first and are named as in its figures."""
    settings = runs.settings
    if "shift" not in runs or "model.name" not in settings:
        return
    with_shift = settings[settings["run"].isin(runs["shift"]["run"].unique())]
    scales = [scale for model in PAPERS_OWN for scale in scales_with(runs, model, "shift")]
    others = with_shift[~with_shift["model.name"].isin(list(PAPERS_OWN))]
    for experiment, mine in others.groupby("experiment", observed=True):
        named = [Scale(f"{experiment}_{s.slug}", f"{experiment}: {s.title}", s.runs) for s in split_by_scale(mine)]
        scales += named if len(named) <= _SWEEP else []
    for scale in scales:
        arms = scale.runs["arm"]
        if arms.nunique() >= _FEW and arms.isin(list(ARMS)).all():
            yield scale


def _scale(runs: Runs, scale: Scale, points: int) -> dict[str, Any]:
    shift = runs["shift"]
    shift = shift[shift["run"].isin(scale.runs["run"])]
    names = shift.drop_duplicates("layer_index").set_index("layer_index")["layer"].sort_index()
    model = PAPERS_NAME.get(str(scale.runs["model.name"].iloc[0]), "")  # no curves of a network it does not have
    quantities = [words["papers"] for words in METRICS.values() if "papers" in words]
    theirs = select(paper_curves(), model=model, quantity=quantities)
    papers = scale.layers(sorted(theirs["layer"].dropna().unique()), shift, "layer_index") if len(theirs) else {}
    layers = _chosen(names.index.tolist(), set(papers.values()))
    # The steps that every run measured unless it diverged before; all there are if none is common to all.
    common = common_layers(shift[shift["status"] != "diverged"], "step") or shift["step"].unique()
    recorded = [int(step) for step in common]
    steps = recorded[:: -(-len(recorded) // points)]
    tables = {name: runs.get(metric.get("table", "shift")) for name, metric in METRICS.items()}
    curves = [
        curve
        for name, table in tables.items()
        if table is not None
        for curve in _curves(table[table["run"].isin(scale.runs["run"])], name, layers, steps)
    ]
    return {
        "title": scale.title,
        "data": str(scale.runs["data_label"].iloc[0]),
        "steps": steps,
        "layers": [{"index": int(index), "name": str(names[index])} for index in layers],
        "first": sorted(map(int, set(papers.values()))) or [layers[len(layers) // 2]],
        "curves": curves + list(_papers_curves(theirs, papers, steps[-1])),
    }


def _curves(rows: pd.DataFrame, metric: str, layers: list[int], steps: list[int]) -> Iterator[dict[str, Any]]:
    rows = rows[rows["layer_index"].isin(layers)]
    by = ["arm", "optimizer.lr", "layer_index"]
    band = over_seeds(rows[rows["step"].isin(steps)], metric, by)
    wide = {name: band.pivot(index=by, columns="step", values=name).reindex(columns=steps) for name in _BAND}
    values = {name: dict(zip(frame.index, frame.to_numpy(), strict=True)) for name, frame in wide.items()}
    finite = rows[(rows["status"] == "diverged") & np.isfinite(rows[metric])]
    last = finite.drop_duplicates(["run", "layer_index"], keep="last").groupby(by, observed=True)
    lost = {key: list(zip(own["step"].tolist(), short(own[metric]), strict=True)) for key, own in last}
    for key, n in band.groupby(by, observed=True)["n"].max().to_dict().items():
        of_steps = {name: short(of_curves[key]) for name, of_curves in values.items()}
        yield _curve(metric, key) | of_steps | {"n": int(n), "lost": lost.get(key, [])}


def _papers_curves(theirs: pd.DataFrame, layers: dict[int, int], last: int) -> Iterator[dict[str, Any]]:
    """Those with numbers on their axis, up to our last step."""
    shown = theirs[theirs["axis_labelled"] & (theirs["step"] <= last)]
    for metric, words in METRICS.items():
        own = shown[shown["quantity"] == words.get("papers")]
        for (arm, lr, papers_layer), rows in own.groupby(["arm", "lr", "layer"]):
            layer = int(str(papers_layer))
            yield _curve(metric, (arm, lr, layers[layer])) | {
                "papers_layer": layer,
                "steps": rows["step"].tolist(),
                "median": short(rows["value"]),
            }


def _curve(metric: str, key: Any) -> dict[str, Any]:
    return {"metric": metric, "arm": str(key[0]), "rate": float(key[1]), "layer": int(key[2])}


def _chosen(layers: list[int], always: set[int]) -> list[int]:
    every = -(-len(layers) // LAYERS)
    return [index for number, index in enumerate(layers) if number % every == 0 or index in always]


def short(values: Iterable[float]) -> list[float | None]:
    """With three digits; None for what is no number."""
    return [float(f"{value:.3g}") if np.isfinite(value) else None for value in values]
