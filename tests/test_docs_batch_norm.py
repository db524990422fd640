"""The numbers in docs/batch_norm.md, computed anew from the committed tables."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ics.analysis.load import Runs, load_runs

ROOT = Path(__file__).parents[1]
TEXT = " ".join((ROOT / "docs" / "batch_norm.md").read_text(encoding="utf-8").split())


@cache
def runs(experiment: str) -> Runs:
    return load_runs(ROOT / "results" / "reference" / "mnist" / experiment)


def said(values: Iterable[float], digits: str, unit: str = "") -> str:
    """Median and range as the page writes them."""
    numbers = [float(value) for value in values]
    middle, low, high = (format(f(numbers), digits) for f in (np.median, np.min, np.max))
    return f"{middle}{unit} [{low}, {high}]"


def per_seed(table: pd.DataFrame, norm: str, column: str) -> pd.Series:
    """The median over the rows of each run of a norm."""
    return table[table["norm.name"] == norm].groupby("run", observed=True)[column].median()


def test_running_stats() -> None:
    gap = runs("running_stats")["train_eval_gap"]
    late = gap[gap["step"] >= 234].assign(error=lambda rows: 100 * (1 - rows["accuracy"]))
    error = late.groupby(["statistics", "batch_size", "norm.momentum", "run"], observed=True)["error"].mean()
    for size in (1, 4, 16, 128):
        assert f"| {said(error['batch', size, 0.1], '.1f')} |" in TEXT
    for momentum in (0.1, 1.0):
        assert f"| {said(error['running', 128, momentum], '.1f')} |" in TEXT
    early = gap[(gap["step"] <= 40) & (gap["norm.momentum"] == 0.01) & (gap["batch_size"] == 128)]
    loss = early.groupby(["statistics", "run"], observed=True)["loss"].mean()
    assert f"costs a loss of {loss['running'].median():.2f} against {loss['batch'].median():.2f}" in TEXT


def test_running_statistics_lag_at_small_initial_weights() -> None:
    tables = runs("init_scale")
    training, evaluation = (
        rows[(rows["norm.name"] == "batch") & np.isclose(rows["model.init.std"], 0.00398107, atol=0)]
        for rows in (tables["training"], tables["evaluation"])
    )
    whole = evaluation[evaluation["split"] == "train"].groupby("step")["accuracy"].median() * 100
    assert f"answered {100 * training[training['step'] == 40]['accuracy'].median():.0f} % right" in TEXT
    assert (
        f"training set {whole[40]:.0f} % right in evaluation mode; twenty steps later it is {whole[60]:.0f} %" in TEXT
    )


def test_ioffe_szegedy() -> None:
    tables = runs("ioffe_szegedy")
    test = tables["evaluation"]
    test = test[test["split"] == "test"].assign(percent=lambda rows: 100 * rows["accuracy"])
    for step in (1000, 50000):
        at = test[test["step"] == step]
        assert " | ".join(said(per_seed(at, norm, "percent"), ".1f") for norm in ("none", "batch")) in TEXT
    activations = tables["activations"]
    units = activations[activations["unit"] >= 0].assign(width=lambda rows: rows["p85"] - rows["p15"])
    widths = units.pivot_table(index=["norm.name", "run", "unit"], columns="step", values="width", observed=True)
    factors = widths[4000] / widths[0]
    assert f"{said(factors['none'], '.0f')} | {said(factors['batch'], '.1f')}" in TEXT
    shift = tables["shift"]
    middle = shift[(shift["layer"] == "fc3") & (shift["step"] > 5000) & (shift["step"] <= 25000)]
    for column, digits in (("l2", ("#.2g", "#.2g")), ("relative_l2", (".2f", ".2f"))):
        none, batch = (said(per_seed(middle, n, column), d) for n, d in zip(("none", "batch"), digits, strict=True))
        assert f"{none} | {batch}" in TEXT


def test_mnist_mlp() -> None:
    tables = runs("mnist_mlp")
    end = tables["evaluation"]
    end = end[(end["step"] == 18750) & (end["split"] == "test")].assign(percent=lambda rows: 100 * rows["accuracy"])
    none, batch = (said(per_seed(end, norm, "percent"), ".1f", " %") for norm in ("none", "batch"))
    assert f"{none} without and {batch} with BN" in TEXT
    shift = tables["shift"]
    later = shift[(shift["layer"] == "fc2") & (shift["step"] >= 1875)]
    none, batch = (said(per_seed(later, n, "l2"), d) for n, d in (("none", ".2f"), ("batch", ".3f")))
    assert f"{none} without and {batch} with BN" in TEXT
    norms = [per_seed(later, n, "grad_norm").median() for n in ("none", "batch")]
    assert f"the size of the gradient, {norms[0]:.1f} against {norms[1]:.2f}" in TEXT
    relative = [per_seed(later, n, "relative_l2").median() for n in ("none", "batch")]
    assert f"the shift is {relative[0]:.2f} and {relative[1]:.3f}" in TEXT


def test_init_scale() -> None:
    tables = runs("init_scale")
    rows = tables["evaluation"]
    last = rows[rows["split"] == "train"].groupby("run", observed=True).tail(1)
    accuracy = last.groupby(["norm.name", "model.init.std"], observed=True)["accuracy"].median()
    learned = {norm: (accuracy[norm] > 0.5).sum() for norm in ("none", "batch")}
    assert len(accuracy["none"]) == 16
    assert learned == {"none": 2, "batch": 12}  # "two of sixteen", "more than half right at twelve"
    both = accuracy["none"] > 0.5
    assert (accuracy["none"][both] > accuracy["batch"][both]).all()
    smallest = last[(last["model.init.std"] == 0.0001) & (last["norm.name"] == "batch")]["accuracy"]
    assert f"{said(100 * smallest, '.0f', ' %')} is reached" in TEXT
    shift = tables["shift"]
    dead = shift[(shift["norm.name"] == "none") & (shift["model.init.std"] < 0.01) & (shift["step"] == 180)]
    assert dead["l2"].max() < 1e-5
    assert (dead["l2"] == 0).any()


@pytest.mark.parametrize("line", [line for line in TEXT.split("`") if line.startswith("T: ")])
def test_every_test_that_is_named_is_there(line: str) -> None:
    tests = (ROOT / "tests" / "test_batch_norm_by_hand.py").read_text(encoding="utf-8")
    assert f"def {line.removeprefix('T: ').rstrip('*')}" in tests
