"""What our runs measured, as the curves that the paper draws: by its names and in its units.

A curve is long rows: run, arm, lr, seed, status, layer (where there are several), step, and either `value` or, where
the paper shows a range, `low` and `high`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd

from ics.analysis.load import Runs
from ics.analysis.scales import Scale

OF_RUN = ["run", "arm", "lr", "seed", "status"]
ALL_UNITS = -1  # in a column `unit`: an average, or the values of all of them

# Share of right answers by guessing, in per cent, by setting `data.name`: all of these have ten classes.
CHANCE = {"cifar10": 10.0, "cifar10_folder": 10.0, "mnist": 10.0, "digits": 10.0}


@dataclass(frozen=True)
class Quantity:
    """One quantity of the paper, or one that belongs beside it.

    Attributes:
        table: where it comes from.
        columns: of that table, that it needs.
        curve: rows of the table (with `OF_RUN`) -> one row per run, layer and step.
        log: whether two values are compared by their ratio; otherwise by their difference.
        label: for people, with the unit.
        per_layer: whether there is one curve per layer.
        diverged: what counts as the value of a run that has diverged; without it, it has none.
    """

    table: str
    columns: tuple[str, ...]
    curve: Callable[[pd.DataFrame], pd.DataFrame]
    log: bool
    label: str
    per_layer: bool = False
    diverged: Literal["chance", "infinite"] | None = None


def _column(name: str, factor: float, rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(value=rows[name] * factor)


def _test_split(rows: pd.DataFrame) -> pd.DataFrame:
    return _column("accuracy", 100, rows[rows["split"] == "test"])


def _range(name: str, direction: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Smallest and largest over the step lengths; a value that overflowed to nan counts as infinite."""
    rows = rows[rows["direction"] == direction]
    values = rows[name].fillna(np.inf)
    found = values.groupby([rows[key] for key in ("run", "step")], observed=True, sort=False).agg(["min", "max"])
    first = rows.drop_duplicates(["run", "step"])
    return first.assign(low=found["min"].to_numpy(), high=found["max"].to_numpy())


def _largest(name: str, direction: str, rows: pd.DataFrame) -> pd.DataFrame:
    return _range(name, direction, rows).rename(columns={"high": "value"}).drop(columns="low")


def _of_all_units(name: str, rows: pd.DataFrame) -> pd.DataFrame:
    return _column(name, 1, rows[rows["unit"] == ALL_UNITS])


def _drift(name: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Mean over units of the distance from the first step measured."""
    unit = ["run", "layer_index", "unit"]
    start = rows.groupby(unit, observed=True, sort=False)[name].transform("first")
    distance = (rows[name] - start).abs()
    point = ["run", "layer_index", "step"]
    drift = distance.groupby([rows[key] for key in point], observed=True, sort=False).mean()
    return rows.drop_duplicates(point).assign(value=drift.to_numpy())


def _landscape(kind: str, name: str, label: str, direction: str) -> Quantity:
    build = _range if kind == "range" else _largest
    return Quantity("landscape", ("direction", "factor", name), partial(build, name, direction), True, label)


QUANTITIES: dict[str, Quantity] = {
    "train_accuracy_percent": Quantity(
        "training",
        ("accuracy",),
        partial(_column, "accuracy", 100),
        False,
        "training accuracy (%)",
        diverged="chance",
    ),
    "test_accuracy_percent": Quantity(
        "evaluation", ("split", "accuracy"), _test_split, False, "test accuracy (%)", diverged="chance"
    ),
    "train_loss": Quantity(
        "training", ("loss",), partial(_column, "loss", 1), True, "training loss", diverged="infinite"
    ),
    "activation_mean_step_change": Quantity(
        "activations", ("unit", "mean_step_change"), partial(_of_all_units, "mean_step_change"), False, "|Δμ|", True
    ),
    "activation_variance_step_change": Quantity(
        "activations",
        ("unit", "variance_step_change"),
        partial(_of_all_units, "variance_step_change"),
        False,
        "|Δσ²|",
        True,
    ),
    "activation_mean_drift": Quantity(
        "moments", ("unit", "mean"), partial(_drift, "mean"), False, "|μ(t) − μ(0)|", True
    ),
    "activation_variance_drift": Quantity(
        "moments", ("unit", "variance"), partial(_drift, "variance"), False, "|σ²(t) − σ²(0)|", True
    ),
    "edge_ratio": Quantity("sharpness", ("edge_ratio",), partial(_column, "edge_ratio", 1), True, "λ · lr / 2"),
    "input_shift_relative_wasserstein": Quantity(
        "input_shift",
        ("relative_wasserstein",),
        partial(_column, "relative_wasserstein", 1),
        True,
        "W₁ / σ of a layer's input",
        True,
    ),
} | {
    f"ics_{column}": Quantity("shift", (column,), partial(_column, column, 1), log, label, True)
    for column, log, label in (
        ("l2", True, "‖G − G′‖₂"),
        ("cosine", False, "cos∠(G, G′)"),
        ("relative_l2", True, "‖G − G′‖₂ / ‖G‖₂"),
    )
}
for _direction, _suffix in (("gradient", ""), ("random", "_random")):
    QUANTITIES |= {
        f"loss_range{_suffix}": _landscape("range", "loss", "loss along the line", _direction),
        f"gradient_predictiveness_range{_suffix}": _landscape(
            "range", "gradient_distance", "‖∇L(θ − ηd) − g‖₂", _direction
        ),
        f"effective_beta_smoothness{_suffix}": _landscape("largest", "effective_beta", "effective β", _direction),
    }


@dataclass
class Measured:
    """The curves of one scale's runs; each is built once.

    Attributes:
        runs: all runs.
        scale: those that count.
    """

    runs: Runs
    scale: Scale
    _built: dict[str, pd.DataFrame] = field(default_factory=dict)
    _parts: dict[tuple[str, str, float], pd.DataFrame] = field(default_factory=dict)

    def of(self, quantity: str, arm: str, lr: float) -> pd.DataFrame:
        """The rows of `counted` of one arm and learning rate."""
        key = (quantity, arm, lr)
        if key not in self._parts:
            curve = self.counted(quantity)
            same_rate = np.isclose(curve["lr"].astype("float64"), lr, atol=0)
            self._parts[key] = curve[(curve["arm"] == arm) & same_rate]
        return self._parts[key]

    def counted(self, quantity: str) -> pd.DataFrame:
        """Like `curve`, and runs that diverged count as what they are (`Quantity.diverged`) up to the others' end."""
        curve, kind = self.curve(quantity), QUANTITIES[quantity].diverged
        if kind is None or curve.empty:
            return curve
        good = curve[np.isfinite(curve["value"]) | (curve["status"] != "diverged")]
        steps = np.unique(curve["step"])
        data = self.scale.runs.set_index("run")["data.name"].astype(str)
        parts = [good]
        for run, own in curve[curve["status"] == "diverged"].groupby("run", observed=True):
            last = good.loc[good["run"] == run, "step"].max()
            value = np.inf if kind == "infinite" else CHANCE.get(data[str(run)], np.nan)
            later = pd.DataFrame({"step": steps[~(steps <= last)]})
            parts.append(later.assign(value=value, **{name: own[name].iloc[0] for name in OF_RUN}))
        counted: pd.DataFrame = pd.concat(parts, ignore_index=True)[list(curve.columns)]
        return counted

    def curve(self, quantity: str) -> pd.DataFrame:
        """The rows of all runs that measured it; none if there are none.

        Runs that diverged have no values from there on.
        """
        if quantity not in self._built:
            self._built[quantity] = self._build(QUANTITIES[quantity])
        return self._built[quantity]

    def _build(self, quantity: Quantity) -> pd.DataFrame:
        names = ["run", "step", *(["layer_index"] if quantity.per_layer else []), *quantity.columns]
        table = self.runs.get(quantity.table)
        if table is None or not set(names) <= set(table):
            return pd.DataFrame(columns=[*OF_RUN, "layer", "step", "value"])
        rows = table.loc[table["run"].isin(self.scale.runs["run"]), names]
        settings = self.scale.runs.set_index("run")
        of_row = settings.reindex(rows["run"].astype(str))
        rows = rows.assign(
            arm=of_row["arm"].astype(str).to_numpy(),
            lr=of_row["optimizer.lr"].to_numpy(),
            seed=of_row["seed"].to_numpy(),
            status=of_row["status"].astype(str).to_numpy(),
        )
        found = quantity.curve(rows).rename(columns={"layer_index": "layer"})
        values = [name for name in ("value", "low", "high") if name in found]
        layer = ["layer"] if quantity.per_layer else []
        return found[[*OF_RUN, *layer, "step", *values]].reset_index(drop=True)
