"""The examples run as a reader would run them, and tell the truth."""

import re
from pathlib import Path

import pandas as pd
import pytest
from programs import ROOT, python, train

from ics import load_runs

EXAMPLES = ROOT / "examples"
OWN = sorted(path.stem for path in EXAMPLES.glob("own_*.py") if path.stem != "own_model")


def command(name: str) -> list[str]:
    """The command in the example's own docstring."""
    (words,) = re.findall(r"^python (scripts/train\.py .*)$", (EXAMPLES / f"{name}.py").read_text(), re.MULTILINE)
    return words.split()


def test_analyse_agrees_with_the_csv_files() -> None:
    found = python("examples/analyse.py")
    assert found.returncode == 0, found.stderr
    first, second, third = found.stdout.split("\n\n")
    table = pd.read_csv(ROOT / "results" / "reference" / "shift.csv.gz")

    def at_the_first_step(norm: str, column: str) -> float:
        mine = table.run.str.match(f"mnist/ioffe_szegedy/mlp_mnist_{norm}_.*/seed[0-9]$")
        values = table[mine & (table.step == 0) & (table.layer == "fc2")][column]
        assert len(values) == 3
        return float(values.median())

    for answer, column in ((first, "l2"), (second, "relative_l2")):
        ratio = at_the_first_step("batch", column) / at_the_first_step("none", column)
        layer_2 = answer.splitlines()[3].split()
        assert layer_2[:3] == ["0.1", "2", f"{ratio:.2f}"]

    runs = load_runs(ROOT / "results/reference/mnist/ioffe_szegedy", tables=["shift", "activations"])
    old = runs["activations"].query("unit == -1").set_index(["run", "step"])["mean_step_change"]
    new = runs["shift"].query("layer == 'fc3'").set_index(["run", "step"])["l2"]
    both = pd.DataFrame({"old": old, "new": new}).dropna().reset_index()
    rho = {run: rows["old"].rank().corr(rows["new"].rank()) for run, rows in both.groupby("run", observed=True)}
    batch, none = (
        pd.Series([v for run, v in rho.items() if f"_{norm}_" in run]).median() for norm in ("batch", "none")
    )
    assert third.splitlines()[-1].split() == ["0.1", "3", f"{batch:.2f}", f"{none:.2f}"]


def test_the_probe_on_a_network_from_elsewhere() -> None:
    found = python("examples/own_model.py")
    assert found.returncode == 0, found.stderr
    rows = [line.split() for line in found.stdout.splitlines()[1:]]
    assert [row[0] for row in rows] == ["0"] * 6 + ["1"] * 6 + ["2"] * 6
    for _, number, layer, l2, _, cosine in rows:
        assert (float(l2) == 0) == (float(cosine) == 1) == (layer == "conv1"), layer
        assert number == {"conv1": "#1", "fc": "#21"}.get(layer, number)


@pytest.mark.parametrize("name", OWN)
def test_ones_own_component_becomes_a_setting(name: str, tmp_path: Path) -> None:
    small = ["model.width=0.05", "data.limit=100"] if "experiment=quick" in command(name) else []
    words = [*command(name), *small, "steps=5", "batch_size=16", "evaluation.every=5", f"runs={tmp_path}"]
    found = python(*[word for i, word in enumerate(words) if not word.startswith("steps=") or i >= len(command(name))])
    assert found.returncode == 0, found.stderr
    runs = load_runs(tmp_path)
    (run,) = runs.settings.to_dict("records")
    assert run["plugin"] == f"examples.{name}"
    layers = runs["shift"]["layer_index"].max()
    match name:
        case "own_network":
            assert (run["model.name"], layers) == ("small_cnn", 3)
        case "own_norm":
            assert (run["norm.name"], layers) == ("rms", 11)
        case "own_dataset":
            assert (run["data_label"], layers) == ("rings", 3)
        case "own_quantity":
            assert (runs["update_size"]["relative"] > 0).all()


def test_each_takes_under_twenty_lines() -> None:
    assert OWN == ["own_dataset", "own_network", "own_norm", "own_quantity"]
    for name in OWN:
        lines = (EXAMPLES / f"{name}.py").read_text().splitlines()
        first = next(number for number, line in enumerate(lines) if line.startswith(("@", "class")))
        assert len([line for line in lines[first:] if line]) < 20, name
    for name in ("analyse", "own_model"):
        assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 60


def test_bad_plugins(tmp_path: Path) -> None:
    missing = train("plugin=no.such", f"runs={tmp_path}")
    assert missing.returncode == 2
    assert missing.stderr == ("error: plugin 'no.such' cannot be imported: ModuleNotFoundError: No module named 'no'\n")
    without = train("norm=own", "norm.name=rms", f"runs={tmp_path}")
    assert without.returncode == 2
    assert without.stderr.startswith("error: unknown norm 'rms'; ")
