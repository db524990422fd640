"""What counts as moved, and a penalty in the loss: each against a naive computation on copies."""

from pathlib import Path
from typing import Any

import pytest
import small_runs
from reference import compare_with_definition
from zoo import ZOO

from ics import load_runs
from ics.runs.execute import run


@pytest.mark.parametrize("params", ["weight", "all"])
@pytest.mark.parametrize("reading", [{"moved": "weights"}, {"penalty": 0.05}], ids=str)
@pytest.mark.parametrize("name", ["residual", "dropout", "attention", "tied", "recurrent", "parametrized"])
def test_a_reading_has_its_definitions_bits(name: str, reading: dict[str, Any], params: str) -> None:
    make_model, make_x = ZOO[name]
    compare_with_definition(make_model(), make_x(), params=params, **reading)


# --- several readings in one run --------------------------------------------------------------------------------------


def test_a_run_holds_a_quantity_more_than_once(tmp_path: Path) -> None:
    own = {"quantity": "shift", "every": 4}
    measure = {
        "shift": {"every": 4},
        "same": own,
        "only_weights": own | {"moved": "weights"},
        "decayed": own | {"penalty": 0.1},
    }
    changes: dict[str, Any] = {"steps": 9, "measure": measure, "norm": {"name": "batch"}}
    run(small_runs.config(**changes), tmp_path / "run")
    runs = load_runs(tmp_path)
    keep = ["step", "layer_index", "l2", "cosine", "grad_norm"]
    tables = {name: runs[name][keep].reset_index(drop=True) for name in measure}
    assert tables["shift"].equals(tables["same"])
    first = tables["shift"].layer_index == 1
    assert (tables["only_weights"][first].l2 == 0).all()
    assert not tables["only_weights"].l2.equals(tables["shift"].l2)
    assert (tables["decayed"].grad_norm != tables["shift"].grad_norm).all()
