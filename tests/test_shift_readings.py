"""What counts as moved, and a penalty in the loss: each against a naive computation on copies."""

import copy
from pathlib import Path
from typing import Any

import pytest
import reference
import small_runs
import torch
from test_shift_probe import OPTIMIZERS, loss_fn, own_names, targets, trainable
from torch import Tensor, nn
from zoo import ZOO, Residual

from ics import ProbeError, ShiftProbe, load_runs
from ics.errors import UserError
from ics.runs.execute import run

AWKWARD = ["chain", "residual", "called twice", "dropout", "attention", "tied", "frozen", "recurrent", "parametrized"]


def measured_step(model: nn.Module, x: Any, **options: Any) -> tuple[nn.Module, Tensor, Any, Any, Any]:
    """One step; the model before it, the random state of its pass, the targets, the probe and what it found."""
    y = targets(x)
    optimizer = OPTIMIZERS["momentum and decay"](trainable(model))
    with ShiftProbe(model, loss_fn, **options) as probe:
        for _ in range(2):
            optimizer.zero_grad()
            start, old = torch.get_rng_state(), copy.deepcopy(model)
            loss_fn(reference.forward(model, x), y).backward()
            with probe.observe(x, y, keep_gradients=True) as shift:
                optimizer.step()
    return old, start, y, probe, shift


@pytest.mark.parametrize("params", ["weight", "all"])
@pytest.mark.parametrize("name", AWKWARD)
def test_only_weights_move(name: str, params: Any) -> None:
    make_model, make_x = ZOO[name]
    model, x = make_model(), make_x()
    order = reference.execution_order(model, x)
    old, start, y, probe, shift = measured_step(model, x, moved="weights", params=params)
    weights = {name for layer in probe.layers for name in own_names(model, layer)}
    layers = []
    for layer in probe.layers:
        own = own_names(model, layer)
        earlier = [n for n in order[: min(order.index(n) for n in own)] if n in weights and n not in own]
        layers.append((layer.name, own, earlier))
    expected = reference.shifted_gradients(old, model, loss_fn, x, y, layers, start)
    assert len(layers) == len(shift.rows) > 1
    for layer, _, _ in layers:
        assert torch.equal(shift.gradients[layer][1].flatten(), torch.cat([t.flatten() for t in expected[layer]]))


def test_weights_that_are_not_asked_for_move_all_the_same() -> None:
    x = torch.randn(4, 3, 8, 8)
    torch.manual_seed(0)
    model = Residual()
    every = measured_step(copy.deepcopy(model), x, moved="weights")[-1].rows
    torch.manual_seed(0)
    one = measured_step(copy.deepcopy(Residual()), x, moved="weights", layers=[4])[-1].rows
    assert len(one) == 1
    assert one[0].layer_index == 4
    assert every[3].layer == one[0].layer


def test_what_moves_makes_a_difference_that_a_reader_can_check() -> None:
    """L = ½(w₂(w₁x + b))²: whether b moves with w₁ decides G'₂ = w₂(w₁x + b)²."""
    found = {}
    for moved in ("all", "weights"):
        model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1, bias=False)).double()
        with torch.no_grad():
            for p, value in zip(model.parameters(), (2.0, 1.0, 3.0), strict=True):
                p.fill_(value)
        x = torch.ones(1, 1, dtype=torch.float64)
        with ShiftProbe(model, lambda out, y: 0.5 * out.square().sum(), moved=moved) as probe:
            (0.5 * model(x).square().sum()).backward()
            with probe.observe(x, None) as shift, torch.no_grad():
                for p, value in zip(model.parameters(), (1.0, 0.5, 5.0), strict=True):
                    p.fill_(value)
        found[moved] = shift.rows[1].shifted_grad_norm
    assert found == {"all": 3.0 * 1.5**2, "weights": 3.0 * 2.0**2}


@pytest.mark.parametrize("params", ["weight", "all"])
def test_the_penalty_is_that_of_a_penalised_loss(params: Any) -> None:
    penalty = 0.05
    make_model, make_x = ZOO["tied"]
    torch.manual_seed(1)
    model, x = make_model(), make_x()
    order = reference.execution_order(model, x)
    old, start, y, probe, shift = measured_step(model, x, penalty=penalty, params=params)
    parameters = dict(old.named_parameters())
    layers = [
        (layer.name, own := own_names(model, layer), order[: min(order.index(n) for n in own)])
        for layer in probe.layers
    ]
    bare = reference.shifted_gradients(old, model, loss_fn, x, y, layers, start)

    def penalised_loss(hybrid: nn.Module) -> Tensor:
        return 0.5 * penalty * sum(p.square().sum() for p in hybrid.parameters())

    for layer, own, before in layers:
        shifted = shift.gradients[layer][1].flatten()
        w = torch.cat([parameters[name].detach().flatten() for name in own])
        plain = torch.cat([t.flatten() for t in bare[layer]])
        assert torch.equal(shifted, plain + penalty * w), layer  # the definition's bits
        # and it is the gradient of L + λ/2·‖W‖² over all parameters, within the rounding of another order of sums
        hybrid = copy.deepcopy(old)
        with torch.no_grad():
            for name in before:
                dict(hybrid.named_parameters())[name].copy_(dict(model.named_parameters())[name])
        hybrid.zero_grad()
        torch.set_rng_state(start)
        (loss_fn(reference.forward(hybrid, x), y) + penalised_loss(hybrid)).backward()
        whole = torch.cat([dict(hybrid.named_parameters())[name].grad.flatten() for name in own])
        assert torch.allclose(shifted, whole, rtol=1e-5, atol=1e-7), layer
    torch.manual_seed(1)
    without = measured_step(make_model(), make_x(), params=params)[-1]
    for row, other in zip(shift.rows, without.rows, strict=True):
        assert row.l2 == pytest.approx(other.l2, rel=1e-4, abs=1e-6)
        assert row.grad_norm != other.grad_norm


def test_options_that_are_none() -> None:
    with pytest.raises(ProbeError, match="moved='some' is unknown; known: all, weights"):
        ShiftProbe(Residual(), loss_fn, moved="some")  # type: ignore[arg-type]
    with pytest.raises(ProbeError, match=r"penalty=-1 is no coefficient"):
        ShiftProbe(Residual(), loss_fn, penalty=-1)


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


@pytest.mark.parametrize(
    ("measure", "says"),
    [
        ({"mine": {"quantity": "shft", "every": 1}}, "did you mean 'shift'"),
        ({"mine": {"every": 1}}, "unknown quantity 'mine'"),
        ({"training": {"quantity": "shift", "every": 1}}, "name of a table"),
        ({"a/b": {"quantity": "shift", "every": 1}}, "name of a table"),
    ],
)
def test_names_of_ones_own_are_checked(measure: dict[str, Any], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        run(small_runs.config(steps=1, measure=measure), tmp_path / "run")
