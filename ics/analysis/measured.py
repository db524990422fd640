"""What our runs measured, as the curves that the paper draws: by its names and in its units.

A curve is long rows: run, arm, lr, seed, status, layer (where there are several), step, and either `value` or, where
the paper shows a range, `low` and `high`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache, partial
from typing import Literal

import numpy as np
import pandas as pd

from ics.analysis.load import Runs
from ics.analysis.scales import Scale, scales_with
from ics.analysis.select import select

OF_RUN = ["run", "arm", "lr", "seed", "status"]
ALL_CAUSES = -1  # in a column `cause_index`: what all that comes before a layer did together
ALL_UNITS = -1  # in a column `unit`: an average, or the values of all of them

CHANCE = dict.fromkeys(("cifar10", "cifar10_folder", "mnist", "digits"), 10.0)
"""Right answers by guessing, in per cent, by setting `data.name`; for other data it is what untrained networks get."""


class Unit(StrEnum):
    """What a number, or the difference of two, is measured in."""

    RATIO = "log10 ratio"
    LOG = "log10"
    PERCENT = "%"
    POINTS = "percentage points"
    COSINE = "cosine"
    RESIDUAL = "relative residual"
    SHARE = "share"


@dataclass(frozen=True)
class Quantity:
    """One quantity of the paper, or one that belongs beside it.

    Attributes:
        table: where it comes from.
        columns: of that table, that it needs.
        curve: rows of the table (with `OF_RUN`) -> one row per run, layer and step.
        label: for people, with the unit.
        log: whether two values are compared by their ratio; otherwise by their difference.
        per_layer: whether there is one curve per layer.
        unit: of a value that is compared by its difference.
        diverged: what counts as the value of a run that has diverged; without it, it has none.
        better: a column that is used instead of the last of `columns` by the runs that have it.
    """

    table: str
    columns: tuple[str, ...]
    curve: Callable[[pd.DataFrame], pd.DataFrame]
    label: str
    log: bool = True
    per_layer: bool = False
    unit: Unit = Unit.COSINE
    diverged: Literal["chance", "infinite"] | None = None
    better: str | None = None


def _column(name: str, rows: pd.DataFrame, factor: float = 1) -> pd.DataFrame:
    return rows.assign(value=rows[name] * factor)


def _per_point(rows: pd.DataFrame, values: pd.Series, **reduced: str) -> pd.DataFrame:
    """One row per run, layer and step, with what its values come to: name of a column → how."""
    point = ["run", *(["layer_index"] if "layer_index" in rows else []), "step"]
    groups = values.groupby([rows[key] for key in point], observed=True, sort=False)
    return rows.drop_duplicates(point).assign(**{name: groups.agg(how).to_numpy() for name, how in reduced.items()})


def _percent(rows: pd.DataFrame) -> pd.DataFrame:
    return _column("accuracy", select(rows, split="test") if "split" in rows else rows, 100)


def _range(name: str, direction: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Smallest and largest over the step lengths; a value that overflowed to nan counts as infinite."""
    rows = select(rows, direction=direction)
    values = rows[name].fillna(np.inf)
    return _per_point(rows, values, low="min", high="max")


def _largest(name: str, direction: str, rows: pd.DataFrame) -> pd.DataFrame:
    return _range(name, direction, rows).rename(columns={"high": "value"}).drop(columns="low")


def _of_all_units(name: str, rows: pd.DataFrame) -> pd.DataFrame:
    return _column(name, select(rows, unit=ALL_UNITS))


def _drift(name: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Mean over units of the distance from the first step measured."""
    unit = ["run", "layer_index", "unit"]
    start = rows.groupby(unit, observed=True, sort=False)[name].transform("first")
    return _per_point(rows, (rows[name] - start).abs(), value="mean")


def _near_share(rows: pd.DataFrame) -> pd.DataFrame:
    """How much of a layer's shift comes from the two blocks next below it; layers with no others below are left out."""
    distance = rows["layer_index"] - rows["cause_index"]
    alone = rows[rows["cause_index"] >= 0]
    others = alone["layer_index"] > alone.groupby("run", observed=True)["cause_index"].transform("min") + 2
    near = alone[others & (distance[alone.index] <= 2)]
    return _per_point(near, near["share"], value="sum")


def _linear_error(rows: pd.DataFrame) -> pd.DataFrame:
    return _column("linear_error", rows[rows["cause_index"] == ALL_CAUSES])


def _relative_shift(per: str | None, rows: pd.DataFrame) -> pd.DataFrame:
    """‖D‖ / ‖G‖, or that for one unit of a size of the update, as if the shift were linear in it."""
    rows = rows[rows["cause_index"] == ALL_CAUSES]
    return rows.assign(value=rows["l2"] / rows["gradient_norm"] / (rows[per] if per else 1))


def _accuracy(table: str, columns: tuple[str, ...], label: str) -> Quantity:
    return Quantity(table, columns, _percent, label, log=False, unit=Unit.PERCENT, diverged="chance")


_difference = partial(Quantity, log=False, per_layer=True)


def _plain(table: str, column: str, label: str, log: bool = True, per_layer: bool = True) -> Quantity:
    return Quantity(table, (column,), partial(_column, column), label, log, per_layer)


QUANTITIES: dict[str, Quantity] = {
    "train_accuracy_percent": _accuracy("training", ("accuracy",), "training accuracy (%)"),
    "test_accuracy_percent": _accuracy("evaluation", ("split", "accuracy"), "test accuracy (%)"),
    "train_loss": Quantity("training", ("loss",), partial(_column, "loss"), "training loss", diverged="infinite"),
    "edge_ratio": _plain("sharpness", "edge_ratio", "λ · lr / 2", per_layer=False),
    "input_shift_relative_wasserstein": _plain("input_shift", "relative_wasserstein", "W₁ / σ of a layer's input"),
    "ics_l2": _plain("shift", "l2", "‖G − G′‖₂"),
    "ics_cosine": _plain("shift", "cosine", "cos∠(G, G′)", log=False),
    "origins_near_share": _difference(
        "origins", ("cause_index", "share"), _near_share, "share of the two blocks next below", unit=Unit.SHARE
    ),
    "origins_linear_error": _difference(
        "origins", ("cause_index", "linear_error"), _linear_error, "‖D − Σ H ΔW‖ / ‖D‖", unit=Unit.RESIDUAL
    ),
    "ics_relative_l2": _plain("shift", "relative_l2", "‖G − G′‖₂ / ‖G‖₂"),
}
for _name, _per, _label in (
    ("origins_relative_shift", None, "‖D‖ / ‖G‖"),
    ("origins_shift_per_update", "relative_update", "‖D‖ / ‖G‖ per relative update ‖ΔW‖ / ‖W‖"),
    ("origins_shift_per_output_change", "output_change", "‖D‖ / ‖G‖ per change of the outputs"),
):
    _needed = ("cause_index", "l2", "gradient_norm", *([_per] if _per else []))
    QUANTITIES[_name] = Quantity("origins", _needed, partial(_relative_shift, _per), _label, per_layer=True)
for _moment, _sign in (("mean", "μ"), ("variance", "σ²")):
    _change = f"{_moment}_step_change"
    QUANTITIES[f"activation_{_change}"] = _difference(
        "activations", ("unit", _change), partial(_of_all_units, _change), f"|Δ{_sign}|"
    )
    QUANTITIES[f"activation_{_moment}_drift"] = _difference(
        "moments", ("unit", _moment), partial(_drift, _moment), f"|{_sign}(t) − {_sign}(0)|"
    )
for _direction, _suffix in (("gradient", ""), ("random", "_random")):
    for _name, _curve, _of, _label, _better in (
        ("loss_range", _range, "loss", "loss along the line", None),
        # The paper sums the lengths over the parameter tensors; runs made before that was measured have one length.
        ("gradient_predictiveness_range", _range, "gradient_distance", "‖∇L(θ − ηd) − g‖₂", "gradient_distance_sum"),
        ("effective_beta_smoothness", _largest, "effective_beta", "effective β", None),
    ):
        QUANTITIES[_name + _suffix] = Quantity(
            "landscape", ("direction", "factor", _of), partial(_curve, _of, _direction), _label, better=_better
        )


class Measured:
    """The curves of one scale's runs; each is built once.

    Attributes:
        runs: all runs.
        scale: those that count.
        curve: quantity -> the rows of all runs that measured it, none if there are none; runs that diverged have no
            values from there on.
        counted: quantity -> the same, and runs that diverged count as what they are (`Quantity.diverged`) up to the
            others' end.
        of: quantity, arm, learning rate -> the rows of `counted` of these.
        layers: quantity, arm, learning rate, the paper's layer numbers -> these, and ours that stand for them.
    """

    def __init__(self, runs: Runs, scale: Scale) -> None:
        self.runs = runs
        self.scale = scale
        self.curve: Callable[[str], pd.DataFrame] = cache(self._curve)
        self.counted: Callable[[str], pd.DataFrame] = cache(self._counted)
        self.of: Callable[[str, str, float], pd.DataFrame] = cache(
            lambda quantity, arm, lr: select(self.counted(quantity), arm=arm, lr=float(lr))
        )
        self.layers: Callable[[str, str, float, tuple[int, ...]], dict[int, int]] = cache(
            lambda quantity, arm, lr, papers: scale.layers(papers, self.of(quantity, arm, lr))
        )

    def _curve(self, name: str) -> pd.DataFrame:
        quantity = QUANTITIES[name]
        layer = ["layer_index"] if quantity.per_layer else []
        names = ["run", "step", *layer, *quantity.columns]
        table = self.runs.get(quantity.table)
        if table is None or not set(names) <= set(table):
            return pd.DataFrame(columns=[*OF_RUN, "layer", "step", "value"])
        mine = table["run"].isin(self.scale.runs["run"])
        rows = table.loc[mine, [*names, "arm", "optimizer.lr", "seed", "status"]].astype({"arm": str, "status": str})
        if quantity.better in table:
            better, last = table.loc[mine, quantity.better], quantity.columns[-1]
            has = better.notna().groupby(rows["run"], observed=True).transform("any")
            rows[last] = better.where(has, rows[last])
        found = quantity.curve(rows).rename(columns={"layer_index": "layer", "optimizer.lr": "lr"})
        values = [column for column in ("value", "low", "high") if column in found]
        return found[[*OF_RUN, *(["layer"] if layer else []), "step", *values]].reset_index(drop=True)

    def _counted(self, name: str) -> pd.DataFrame:
        curve, kind = self.curve(name), QUANTITIES[name].diverged
        lost = curve["status"] == "diverged"
        if kind is None or not lost.any():
            return curve
        good = curve[np.isfinite(curve["value"]) | ~lost]
        steps = np.unique(curve["step"])
        parts = [good]
        for run, own in curve[lost].groupby("run", observed=True):
            last = good.loc[good["run"] == run, "step"].max()
            later = pd.DataFrame({"step": steps[~(steps <= last)]})
            value = np.inf if kind == "infinite" else self._chance(str(run))
            parts.append(later.assign(value=value, **{column: own[column].iloc[0] for column in OF_RUN}))
        counted: pd.DataFrame = pd.concat(parts, ignore_index=True)[list(curve.columns)]
        return counted

    def _chance(self, run: str) -> float:
        """What guessing gives: where the number of classes is not known, the accuracy before any training."""
        data = str(self.scale.runs.set_index("run").at[run, "data.name"])
        training = self.curve("train_accuracy_percent")
        return CHANCE.get(data, float(training.loc[training["step"] == training["step"].min(), "value"].mean()))


@lru_cache(maxsize=64)
def measured_by(runs: Runs, model: str, table: str) -> tuple[Measured, ...]:
    """The curves of every scale of a network's runs that have a table; each is built once, whoever asks.

    Raises:
        UserError: see `scales_with`.
    """
    return tuple(Measured(runs, scale) for scale in scales_with(runs, model, table))
