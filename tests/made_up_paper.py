"""Runs that repeat the paper's curves to the digit, in all tables that figures, claims and distances are made from."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from made_up_runs import DLN, EVALUATION, SETTINGS, SHIFT, TRAINING, filled, merged, shift_row, training_rows, write_run

from ics.analysis.paper import paper_curves, paper_points
from ics.quantities.activations import Activations, Moments
from ics.quantities.histogram import Histogram
from ics.quantities.landscape import Landscape
from ics.quantities.sharpness import Sharpness
from ics.tables import Table

LANDSCAPE, ACTIVATIONS, MOMENTS, HISTOGRAM, SHARPNESS = (
    quantity.table for quantity in (Landscape, Activations, Moments, Histogram, Sharpness)
)
VGG16: dict[str, Any] = {
    "experiment": "vgg",
    "scale": "paper",
    "steps": 15000,
    "model": {"depth": 16, "width": 1.0},
    "data": {"name": "cifar10"},
}
Change = Callable[[str, int, Any], Any]


def same(quantity: str, seed: int, values: Any) -> Any:
    """The change that is none."""
    return values


def copies(
    root: Path,
    model: str,
    seeds: Iterable[int] = (0,),
    change: Change = same,
    arms: Sequence[str] = ("none", "batch", "noisy_batch", "l1", "l2", "linf"),
    rates: Sequence[float] | None = None,
    settings: Mapping[str, Any] | None = None,
    last_step: int = 2000,
) -> None:
    """Runs with the paper's values as ours.

    Args:
        root: where the run folders go.
        model: "vgg" or "dln".
        seeds: one run of every arm and rate each.
        change: what is done to a curve: (quantity, seed, values) -> values.
        arms: settings `norm.name`.
        rates: learning rates; the paper's by default.
        settings: changes to them.
        last_step: nothing is recorded after it.
    """
    base = merged(SETTINGS, DLN if model == "dln" else VGG16, settings or {})
    if model == "dln":
        base = merged(base, {"steps": 10000, "experiment": "dln"}, settings or {})
    points = paper_points(paper_curves())
    points = points[(points["model"] == model) & (points["step"] <= last_step)]
    for rate in rates or sorted(points["lr"].unique()):
        for norm in arms:
            own = points[(points["lr"] == rate) & (points["arm"] == ("standard" if norm == "none" else norm))]
            if own.empty:
                continue
            for seed in seeds:
                change_of = {"seed": seed, "norm": {"name": norm}, "optimizer": {"lr": float(rate)}}
                one = merged(base, change_of)
                name = f"{base['experiment']}/{norm}_lr{rate:g}/seed{seed}"
                write_run(root, name, one, _tables(own, model, seed, rate, change))


def _tables(own: pd.DataFrame, model: str, seed: int, rate: float, change: Change) -> dict[Table, list[dict[str, Any]]]:
    def curve(quantity: str, layer: int | None = None, column: str = "value") -> pd.Series:
        rows = own[own["quantity"] == quantity]
        rows = rows[rows["figure"] == rows["figure"].iloc[0]] if len(rows) else rows
        if layer is not None:
            rows = rows[rows["layer"] == layer]
        return pd.Series(change(quantity, seed, rows[column].to_numpy()), index=rows["step"].to_numpy())

    tables: dict[Table, list[dict[str, Any]]] = {}
    if model == "vgg":
        accuracy = curve("train_accuracy_percent") / 100
        tables[TRAINING] = training_rows(2.3 * (1 - accuracy) + 1e-3, accuracy.index, accuracy)
        test = curve("test_accuracy_percent") / 100
        tables[EVALUATION] = [
            {"step": int(step), "split": "test", "loss": 1.0, "accuracy": float(value)} for step, value in test.items()
        ]
    else:
        loss = curve("train_loss")
        tables[TRAINING] = training_rows(loss, loss.index, [float("nan")] * len(loss))
    rows = []
    for layer in (5, 10) if model == "vgg" else (9, 17):
        l2, cosine = curve("ics_l2", layer), curve("ics_cosine", layer)
        rows += [shift_row(step, layer, l2[step], cosine.get(step, 1.0)) for step in l2.index]
    tables[SHIFT] = _sorted(SHIFT, rows)
    tables[LANDSCAPE] = _landscape(curve)
    tables[ACTIVATIONS], tables[MOMENTS] = _stability(curve, model)
    tables[HISTOGRAM] = _histograms(model, seed, str(own["arm"].iloc[0]))
    edge = {"sharpness": 2 / rate, "two_over_lr": 2 / rate, "iterations": 9}
    tables[SHARPNESS] = [filled(SHARPNESS, 1.0, step=step, **edge) for step in (0, 1000, 2000)]
    return {table: rows for table, rows in tables.items() if rows}


def _landscape(curve: Any) -> list[dict[str, Any]]:
    edges = {name: (curve(f"{name}_range", None, "low"), curve(f"{name}_range", None, "high"))
             for name in ("loss", "gradient_predictiveness")}  # fmt: skip
    beta = curve("effective_beta_smoothness")
    rows = []
    for step in edges["loss"][0].index:
        middle = float(edges["loss"][0][step])
        rows.append(_point(step, "origin", 0.0, middle, 0.0, float("nan")))
        for direction in ("gradient", "random"):
            for which, factor in enumerate((0.5, 4.0)):
                loss, distance = (float(edges[name][which].get(step, 1.0)) for name in edges)
                rows.append(_point(step, direction, factor, loss, distance, float(beta.get(step, 1.0))))
    return _sorted(LANDSCAPE, rows)


def _point(step: int, direction: str, factor: float, loss: float, distance: float, beta: float) -> dict[str, Any]:
    place = {"step": int(step), "direction": direction, "factor": factor, "loss": loss}
    distances = {"gradient_distance": distance / 4, "gradient_distance_sum": distance}
    return filled(LANDSCAPE, 3 * distance, **place, **distances, gradient_norm=1.0, effective_beta=beta)


def _stability(curve: Any, model: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    activations, moments = [], []
    for layer in (2, 9, 13) if model == "vgg" else ():
        mean = curve("activation_mean_step_change", layer)
        variance = curve("activation_variance_step_change", layer)
        for step in variance.index:
            key = {"step": int(step), "layer_index": layer, "layer": f"conv{layer}", "unit": -1}
            changes = float(mean.get(step, 0.0)), float(variance[step])
            row = filled(ACTIVATIONS, 0.0, **key, mean_step_change=changes[0], variance_step_change=changes[1])
            activations.append(row)
        for step in (0, *variance.index):
            for unit in (0, 1):
                value = float((unit + 1) * step / 1000)
                key = {"step": int(step), "layer_index": layer, "unit": unit}
                moments.append(key | {"mean": value, "variance": 2 * value})
    return _sorted(ACTIVATIONS, activations), _sorted(MOMENTS, moments)


def _histograms(model: str, seed: int, arm: str) -> list[dict[str, Any]]:
    width = 2.0 ** (-2 - seed + (3 if arm == "standard" else 0))
    middles = width * (np.arange(-16, 16) + 0.5)
    rows = []
    for step in range(0, 2001, 500):
        spread = 4 * width * (1 + step / 4000)
        counts = np.rint(1000 * np.exp(-(middles**2) / (2 * spread**2))).astype(int)
        for layer in (2, 3, 9, 11, 13) if model == "vgg" else (1, 11, 24):
            key = {"step": step, "layer_index": layer, "unit": -1}
            rows.append(key | {"low": -np.inf, "high": float(middles[0] - width / 2), "count": 3})
            rows += [
                key | {"low": float(middle - width / 2), "high": float(middle + width / 2), "count": int(count)}
                for middle, count in zip(middles, counts, strict=True)
                if count
            ]
    return rows


def _sorted(table: Table, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: row["step"])
