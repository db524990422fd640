"""Interactive heat maps, as Vega-Lite specifications: every layer at every step, and which block moved which layer."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from ics.analysis.claims.words import rate as written
from ics.analysis.load import Runs
from ics.analysis.measured import QUANTITIES
from ics.figures.every_layer import EVERY_LAYER, MEASURES, binned
from ics.figures.origins import LIMIT, ORIGINS, PHASES, part
from ics.figures.runs import PAIR, PaperRuns
from ics.figures.style import ARMS, COLOURS
from ics.report.explorer import short

Specification = dict[str, Any]

LAYERS_SAY = (
    "One row per layer, medians over the seeds. Right: BatchNorm minus standard; blue where the shift is smaller with "
    "BatchNorm, orange where it is larger. Point at a cell for its values; press it to see its layer’s curves below."
)
ORIGINS_SAY = (
    "How much of a layer’s shift comes from updating one earlier block alone: red adds to it, blue works against it. "
    "Medians over seeds and steps, at the start (the first tenth of the training) and in its second half. Point at a "
    "cell for its values; press it to see its layer’s column below."
)
LABELS = {"labelOverlap": "parity", "labelSeparation": 6}
HEIGHT, CURVES_WIDTH, CURVES_HEIGHT = 190, 560, 150


def maps(runs: Runs | None) -> list[dict[str, Any]]:
    """Of each its `title`, what it `says`, and its `chart`, a Vega-Lite specification with its data."""
    if runs is None:
        return []
    layers = [
        (QUANTITIES[measure].label, LAYERS_SAY, found, rate, _every_layer(found, rate, measure))
        for _, found in EVERY_LAYER.find(runs)
        for rate, measure in product(found.rates, MEASURES)
    ]
    shares = [
        ("Origins of the shift", ORIGINS_SAY, found, found.rates[0], _origins(found)) for _, found in ORIGINS.find(runs)
    ]
    return [
        {"title": f"{what}: {found.scale.title}, learning rate {written(rate)}", "says": says, "chart": chart}
        for what, says, found, rate, chart in (*layers, *shares)
    ]


def _every_layer(found: PaperRuns, rate: float, measure: str) -> Specification:
    log = QUANTITIES[measure].log
    panels = binned(found.ours(measure, rate), found.last_step, log)
    medians = {name: panel.groupby("layer").median().stack() for name, panel in panels.items()}
    rows = pd.DataFrame(medians).rename_axis(["layer", "step"]).apply(short).reset_index()
    label = MEASURES[measure]
    less, more = COLOURS["batch"], COLOURS["standard"]
    far = float(np.nanquantile(rows["difference"].abs(), 0.98))
    values = rows[list(PAIR.shown)].to_numpy()
    limits = np.nanquantile(values, [0.01, 0.99]).tolist()
    one: Specification = {"domain": limits, "clamp": True, "scheme": "viridis", "reverse": log}
    colours = [less, "#fff", more][:: 1 if log else -1]
    two: Specification = {"domain": [-far, 0, far], "clamp": True, "range": colours, "interpolate": "rgb"}
    titles = {arm: ARMS[arm].label for arm in PAIR.shown} | {"difference": "BatchNorm − standard"}
    axes = ("step", "layer")
    tips = list(titles.items())
    heats = [
        _heat(titles["standard"], axes, ("standard", None, one), tips),
        _heat(titles["batch"], axes, ("batch", label, one), tips),
        _heat(titles["difference"], axes, ("difference", label, two), tips),
    ]
    curves = {
        "transform": [{"fold": list(PAIR.shown), "as": ["arm", "value"]}],
        "encoding": {"strokeDash": {"field": "layer", "type": "nominal", "legend": None}},
    }
    layers = rows["layer"].unique()
    first = int(layers[len(layers) // 2])
    return _chart(rows, heats, 3, PAIR.shown, curves, ("step", "training step"), label, first)


def _origins(found: PaperRuns) -> Specification:
    pair = ["arm", "cause_index", "layer_index"]
    parts = []
    for late, phase in PHASES.items():
        medians = part(found, late).groupby(pair)[["share", "l2", "linear_l2"]].median().apply(short).reset_index()
        parts.append(medians.assign(phase=phase))
    rows = pd.concat(parts).rename(columns={"cause_index": "block", "layer_index": "layer", "share": "value"})
    colours: Specification = {"domain": [-LIMIT, 0, LIMIT], "clamp": True, "scheme": "redblue", "reverse": True}
    says = [("value", "share"), ("l2", "‖S‖₂"), ("linear_l2", "‖H ΔW‖₂")]
    axes = ("layer", "block")
    last = list(PHASES.values())[-1]
    heats = [
        _heat(f"{ARMS[arm].label}, {phase}", axes, ("value", "share" if phase == last else None, colours), says)
        | {"transform": [{"filter": {"and": [{"field": "arm", "equal": arm}, {"field": "phase", "equal": phase}]}}]}
        for arm, phase in product(found.arms, PHASES.values())
    ]
    dash = {"field": "phase", "type": "nominal", "sort": list(PHASES.values()), "legend": {"title": None}}
    curves = {"transform": [], "encoding": {"strokeDash": dash}}
    first = int(rows["layer"].max())
    return _chart(rows, heats, 2, found.arms, curves, ("block", "block"), "share of the layer’s shift", first)


def _heat(
    title: str,
    axes: tuple[str, str],
    colour: tuple[str, str | None, Specification],
    values: Sequence[tuple[str, str]],
) -> Specification:
    """One map: what it is called, x and y, what its colour says, what pointing at a cell tells."""
    field, label, scale = colour
    across, down = (
        {"field": name, "type": "ordinal", "axis": {"title": name, "labelAngle": 0, "ticks": False, **LABELS}}
        for name in axes
    )
    tips = [{"field": name, "type": "ordinal"} for name in axes]
    tips += [{"field": name, "type": "quantitative", "title": words, "format": ".3~g"} for name, words in values]
    shown = {"field": field, "type": "quantitative", "title": label, "scale": scale}
    if label is None:  # the next map's legend says it
        shown["legend"] = None
    return {
        "title": title,
        "width": 220,
        "height": HEIGHT,
        "mark": {"type": "rect", "cursor": "pointer"},
        "encoding": {"x": across, "y": down, "color": shown, "tooltip": tips},
    }


def _chart(
    rows: pd.DataFrame,
    heats: Sequence[Specification],
    columns: int,
    arms: Sequence[str],
    curves: Specification,
    across: tuple[str, str],
    label: str,
    first: int,
) -> Specification:
    """The maps, and below them the curves of the layer that was pressed last."""
    named = [heat | {"name": f"map{number}"} for number, heat in enumerate(heats)]
    colour = {
        "field": "arm",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(arms), "range": [COLOURS[arm] for arm in arms]},
        "legend": {"labelExpr": f"{ {arm: ARMS[arm].label for arm in arms} }[datum.label]"},
    }
    names = {"x": across, "y": ("value", label)}
    places = {axis: {"field": field, "type": "quantitative", "title": words} for axis, (field, words) in names.items()}
    below = {
        "title": {"text": {"expr": "'Layer ' + join(chosen.layer, ', ')"}, "anchor": "start"},
        "width": CURVES_WIDTH,
        "height": CURVES_HEIGHT,
        "transform": [{"filter": {"param": "chosen", "empty": False}}, *curves["transform"]],
        "encoding": {**places, "color": colour, "detail": {"field": "layer"}},
        "layer": [
            {"mark": {"type": "line", "strokeWidth": 1.6}, "encoding": curves["encoding"]},
            {"mark": {"type": "point", "size": 16, "filled": True, "opacity": 1, "tooltip": True}},
        ],
    }
    chosen = {
        "name": "chosen",
        "select": {"type": "point", "fields": ["layer"], "clear": False},
        "value": [{"layer": first}],
        "views": [heat["name"] for heat in named],
    }
    records = rows.astype(object).where(rows.notna(), None).to_dict("records")
    return {
        "data": {"values": records},
        "params": [chosen],
        "vconcat": [{"concat": named, "columns": columns, "resolve": {"scale": {"color": "independent"}}}, below],
        "resolve": {"scale": {"color": "independent", "strokeDash": "independent"}},
    }
