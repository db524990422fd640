"""Writes small run folders with made-up numbers, as a real run would leave them."""

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from ics.quantities.shift import Shift
from ics.runs.recorder import EVALUATION as EVALUATION
from ics.runs.recorder import TRAINING
from ics.tables import Table, to_json

SHIFT = Shift.table
SETTINGS: dict[str, Any] = {
    "experiment": "fig3_vgg",
    "seed": 0,
    "steps": 200,
    "batch_size": 128,
    "scale": None,
    "model": {"name": "vgg", "depth": 11, "width": 0.25, "head": [512, 512]},
    "norm": {"name": "batch", "eps": 1e-5},
    "data": {"name": "digits", "scaling": "standardize"},
    "optimizer": {"name": "sgd", "lr": 0.1, "momentum": 0.0, "weight_decay": 0.0005},
    "measure": {"shift": {"every": 100, "layers": None}},
}
DLN: dict[str, Any] = {
    "experiment": "fig3_dln",
    "model": {"name": "deep_linear", "depth": 25, "width": 10, "head": None},
    "data": {"name": "gaussian", "target": "normal", "scaling": None},
    "optimizer": {"lr": 1e-6, "weight_decay": 0.0},
}


def merged(base: Mapping[str, Any], *changes: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings with some changed."""
    result = dict(base)
    for change in changes:
        for name, value in change.items():
            nested = isinstance(value, Mapping) and isinstance(result.get(name), Mapping)
            result[name] = merged(result[name], value) if nested else value
    return result


def write_run(
    root: Path,
    name: str = "fig3_vgg/batch/seed0",
    settings: Mapping[str, Any] = SETTINGS,
    rows: Mapping[Table, Iterable[Mapping[str, Any]]] | None = None,
    state: str = "done",
    data_label: str | None = None,
) -> Path:
    """One run folder; with a few plain rows unless given."""
    folder = root / name
    folder.mkdir(parents=True)
    rows = rows if rows is not None else {TRAINING: training_rows([0.5, 0.25]), SHIFT: shift_rows([1.0, 2.0])}
    (folder / "config.yaml").write_text(yaml.safe_dump(dict(settings)))
    label = data_label or settings["data"]["name"]
    (folder / "provenance.json").write_text(json.dumps({"command": "made up", "data_label": label}))
    (folder / "tables.json").write_text(to_json(list(rows)))
    (folder / "status.json").write_text(json.dumps({"state": state, "step": 1, "error": None}))
    for table, records in rows.items():
        with (folder / f"{table.name}.csv").open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(table.header)
            writer.writerows(table.format(record) for record in records)
    return folder


def training_rows(
    losses: Iterable[float], steps: Iterable[int] | None = None, accuracies: Iterable[float] | None = None
) -> list[dict[str, Any]]:
    """Rows of training.csv, one step after the other unless told."""
    losses = list(losses)
    steps = range(len(losses)) if steps is None else steps
    accuracies = [0.5] * len(losses) if accuracies is None else accuracies
    return [
        {
            "step": int(step),
            "epoch": int(step) // 50,
            "loss": float(loss),
            "accuracy": float(accuracy),
            "lr": 0.1,
        }
        for step, loss, accuracy in zip(steps, losses, accuracies, strict=True)
    ]


def shift_rows(
    l2: Iterable[float],
    cosine: Iterable[float] | None = None,
    steps: Iterable[int] | None = None,
    layers: Iterable[int] = (5, 10),
) -> list[dict[str, Any]]:
    """Rows of shift.csv: the same values for every layer, one step after the other unless told."""
    l2, layers = list(l2), list(layers)
    cosine = [0.5] * len(l2) if cosine is None else list(cosine)
    steps = range(len(l2)) if steps is None else steps
    return [shift_row(s, i, a, c) for s, a, c in zip(steps, l2, cosine, strict=True) for i in layers]


def shift_row(step: int, layer: int, l2: float, cosine: float) -> dict[str, Any]:
    """One row of shift.csv."""
    own = {"step": int(step), "layer_index": int(layer), "layer": f"conv{layer}"}
    return filled(SHIFT, 2.0, **own, l2=float(l2), cosine=float(cosine), relative_l2=float(l2) / 2)


def filled(table: Table, other: Any, **given: Any) -> dict[str, Any]:
    """A row of a table with the same in every column that is not given."""
    return dict.fromkeys(table.header, other) | given
