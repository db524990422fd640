"""What the explorer shows: the tables of both meanings of the shift, run by run, and the paper's curves."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ics.analysis.layers import PAPERS_DEPTH, common_layers, match_layers
from ics.analysis.load import Runs
from ics.analysis.paper import MODELS, paper_curves
from ics.analysis.scales import Scale, scales_with, split_by_scale
from ics.figures.style import ARMS
from ics.report.packing import Values, linear_codes, log_codes, packed

MAX_BYTES = 600_000
"""Of all packed numbers, as text in the page."""

POINTS = (200, 100, 75, 50, 34, 25, 17)
"""Steps per curve: the first number with which all numbers fit."""

LAYERS = 16
"""Deeper networks show every second layer, or third, …, and the paper's."""

_FEW = 2  # arms, without which there is nothing to compare

# Name in the page -> table, column. The relative shift is the first over the third, computed in the page.
_COLUMNS = {
    "l2": ("shift", "l2"),
    "cosine": ("shift", "cosine"),
    "grad_norm": ("shift", "grad_norm"),
    "input": ("input_shift", "relative_wasserstein"),
}
# The paper's name of a quantity -> the page's.
_PAPERS = {"ics_l2": "l2", "ics_cosine": "cosine"}


def explorer_data(runs: Runs | None) -> dict[str, Any]:
    """Everything the explorer needs, ready for JSON.

    Args:
        runs: what there is; None if nothing.

    Returns:
        `arms` (label and colour by name), and `scales`: each with its title, steps, layers, series (arm, rate, seed,
        whether it diverged), columns (packed codes of series × layer × step) and the paper's curves.
    """
    scales = list(_scales(runs)) if runs is not None else []
    for points in POINTS:
        found = [_scale(runs, scale, points) for scale in scales if runs is not None]
        if sum(len(text) for scale in found for text in scale["columns"].values()) <= MAX_BYTES:
            break
    shown = {series["arm"] for scale in found for series in scale["series"]}
    arms = {name: {"label": arm.label, "colour": arm.colour} for name, arm in ARMS.items() if name in shown}
    return {"arms": arms, "scales": found}


def _scales(runs: Runs) -> Iterator[Scale]:
    """Those with a table of the shift; networks that the paper has come first and are named as in its figures."""
    settings = runs.settings
    if "shift" not in runs or "model.name" not in settings:
        return
    with_shift = settings[settings["run"].isin(runs["shift"]["run"].unique())]
    names = [str(name) for name in with_shift["model.name"].unique()]
    for model in sorted(names, key=lambda name: [*PAPERS_DEPTH, name].index(name)):
        mine = with_shift[with_shift["model.name"] == model]
        of_model = scales_with(runs, model, ["shift"]) if model in PAPERS_DEPTH else _by_experiment(mine)
        for scale in of_model:
            arms = scale.runs["arm"]
            if arms.nunique() >= _FEW and arms.isin(list(ARMS)).all():
                yield scale


def _by_experiment(settings: pd.DataFrame) -> Iterator[Scale]:
    """Scales named by what sets them apart within their experiment."""
    for experiment, mine in settings.groupby("experiment", observed=True):
        for scale in split_by_scale(mine):
            yield Scale(f"{experiment}_{scale.slug}", f"{experiment}: {scale.title}", scale.runs)


def _scale(runs: Runs, scale: Scale, points: int) -> dict[str, Any]:
    settings = scale.runs.assign(arm=scale.runs["arm"].astype(str))
    order = {arm: number for number, arm in enumerate(ARMS)}
    settings = settings.sort_values(
        ["optimizer.lr", "arm", "seed"],
        key=lambda column: column.map(order) if column.name == "arm" else column * (-1, 1)[column.name == "seed"],
    )
    shift = runs["shift"]
    shift = shift[shift["run"].isin(settings["run"])]
    names = shift.drop_duplicates("layer_index").set_index("layer_index")["layer"]
    papers = _papers_layers(scale, shift)
    layers = _chosen(sorted(names.index), set(papers.values()))
    recorded = _common_steps(shift)
    steps = recorded[:: -(-len(recorded) // points)]
    columns = {}
    for name, (table, column) in _COLUMNS.items():
        rows = runs.get(table)
        if rows is None or not rows["run"].isin(settings["run"]).any():
            continue
        values = _values(rows, column, settings["run"], layers, steps)
        columns[name] = packed(linear_codes(values) if name == "cosine" else log_codes(values))
    return {
        "title": scale.title,
        "id": scale.slug,
        "data": str(settings["data_label"].iloc[0]),
        "steps": steps.tolist(),
        "every": int(np.diff(steps).min()) if len(steps) > 1 else 0,
        "layers": [{"index": int(index), "name": str(names[index])} for index in layers],
        "first": sorted(set(papers.values())) or [layers[len(layers) // 2]],
        "series": [
            {"arm": arm, "rate": float(rate), "seed": int(seed), "diverged": bool(status == "diverged")}
            for arm, rate, seed, status in zip(
                settings["arm"], settings["optimizer.lr"], settings["seed"], settings["status"].astype(str), strict=True
            )
        ],
        "columns": columns,
        "paper": list(_papers_curves(scale, papers, int(steps[-1]))),
    }


def _common_steps(shift: pd.DataFrame) -> NDArray[np.int64]:
    """The steps that every run measured unless it diverged before; all there are if none is common to all."""
    whole = shift[shift["status"].astype(str) != "diverged"]
    of_runs = [set(steps) for steps in whole.groupby("run", observed=True)["step"].unique()]
    common = set.intersection(*of_runs) if of_runs else set()
    return np.array(sorted(common or set(shift["step"])))


def _values(rows: pd.DataFrame, column: str, of_runs: pd.Series, layers: list[int], steps: Any) -> Values:
    """Run × layer × step; nan where nothing was measured."""
    rows = rows[rows["run"].isin(of_runs) & rows["layer_index"].isin(layers) & rows["step"].isin(steps)]
    wide = rows.assign(run=rows["run"].astype(str)).pivot(index=["run", "layer_index"], columns="step", values=column)
    index = pd.MultiIndex.from_product([of_runs.astype(str), layers])
    return wide.reindex(index=index, columns=steps).to_numpy(dtype=float).reshape(len(of_runs), len(layers), len(steps))


def _chosen(layers: list[int], always: set[int]) -> list[int]:
    every = -(-len(layers) // LAYERS)
    return [index for number, index in enumerate(layers) if number % every == 0 or index in always]


def _papers_layers(scale: Scale, shift: pd.DataFrame) -> dict[int, int]:
    """The paper's layers and ours; none for a network it does not have."""
    model = str(scale.runs["model.name"].iloc[0])
    if model not in PAPERS_DEPTH:
        return {}
    curves = _curves(model)
    wanted = sorted({int(layer) for layer in curves["layer"].dropna()})
    return match_layers(wanted, PAPERS_DEPTH[model], common_layers(shift), int(scale.runs["model.depth"].iloc[0]))


def _curves(model: str) -> pd.DataFrame:
    curves = paper_curves()
    return curves[(curves["model"].map(MODELS) == model) & curves["quantity"].isin(list(_PAPERS))]


def _papers_curves(scale: Scale, layers: dict[int, int], last: int) -> Iterator[dict[str, Any]]:
    """Those with numbers on their axis, up to our last step."""
    if not layers:
        return
    curves = _curves(str(scale.runs["model.name"].iloc[0]))
    curves = curves[curves["axis_labelled"] & (curves["step"] <= last)]
    for key, rows in curves.groupby(["quantity", "arm", "lr", "layer"], sort=True):
        quantity, arm, lr, layer = map(str, key)
        yield {
            "metric": _PAPERS[quantity],
            "arm": arm,
            "rate": float(lr),
            "layer": layers[int(layer)],
            "papers_layer": int(layer),
            "steps": rows["step"].tolist(),
            "values": [float(f"{value:.3g}") for value in rows["value"]],
        }
