"""Activations: where they are looked at, and that the numbers are those of the distribution."""

import copy
import math

import numpy as np
import pytest
import torch
from measuring import identity, measured
from torch import nn
from torch.nn import functional

from ics import nets
from ics.errors import UserError
from ics.quantities import QUANTITIES
from ics.quantities.distribution import SAMPLE, describe, rounded, thinned
from ics.shift import ProbeError

PERCENTILES = (5, 15, 25, 50, 75, 85, 95)


def measure(model, x, y, *rest, name="activations", **options):
    return {(row["layer_index"], row["unit"]): row for row in measured(name, model, x, y, *rest, **options)}


def half(model: nn.Module) -> None:
    for p in model.parameters():
        p.mul_(0.5)


def expected(values: torch.Tensor) -> list[float]:
    a = values.double().numpy().ravel()
    return [a.mean(), a.var(), a.min(), a.max(), *np.percentile(a, PERCENTILES)]


def numbers(row) -> list[float]:
    return [row[name] for name in ("mean", "variance", "minimum", "maximum", *(f"p{p}" for p in PERCENTILES))]


# --- the numbers ---------------------------------------------------------------------------------------------------


def test_known_distribution():
    x = torch.stack([torch.arange(101.0), 3 * torch.arange(101.0) - 7], dim=1)
    rows = measure(nn.Sequential(identity(2)), x, torch.zeros(101, dtype=torch.long), units=[0, 1, 5])
    assert list(rows) == [(1, -1), (1, 0), (1, 1)]
    assert numbers(rows[1, 0]) == pytest.approx([50, (101**2 - 1) / 12, 0, 100, *PERCENTILES])
    assert numbers(rows[1, 1]) == pytest.approx([143, 9 * 850, -7, 293, *(3 * p - 7 for p in PERCENTILES)])
    assert numbers(rows[1, -1]) == pytest.approx(expected(x), rel=1e-5)


def test_changes_by_closed_form():
    """Halving an identity map halves every mean and quarters every variance."""
    x = torch.randn(40, 3) + torch.tensor([1.0, -2.0, 5.0])
    rows = measure(nn.Sequential(identity(3)), x, torch.zeros(40, dtype=torch.long), update=half)
    mean, variance = x.mean(0).abs() / 2, x.var(0, correction=0) * 3 / 4
    for name, change in {
        "mean_step_change": mean,
        "variance_step_change": variance,
    }.items():
        assert [rows[1, unit][name] for unit in range(3)] == pytest.approx(change.tolist(), rel=1e-4)
        assert rows[1, -1][name] == pytest.approx(change.mean().item(), rel=1e-4)


def test_all_units_average_covers_units_without_a_row():
    x = torch.randn(40, 6)
    few, all_units = (
        measure(nn.Sequential(identity(6)), x, torch.zeros(40, dtype=torch.long), update=half, units=units)
        for units in ([1], range(6))
    )
    assert list(few) == [(1, -1), (1, 1)]
    assert few[1, -1] == all_units[1, -1]


def test_the_step_change_is_that_of_the_next_batch():
    layer, y = nn.Sequential(identity(5)), torch.zeros(64, dtype=torch.long)
    one, other = torch.randn(64, 5), 2 * torch.randn(64, 5)
    row = measure(layer, one, y, next_x=other)[1, -1]
    assert row["mean_step_change"] == pytest.approx((one.mean(0) - other.mean(0)).abs().mean().item(), rel=1e-4)
    variances = one.var(0, correction=0) - other.var(0, correction=0)
    assert row["variance_step_change"] == pytest.approx(variances.abs().mean().item(), rel=1e-4)


def test_batch_normalisation_hides_the_batch_and_noise_changes_from_step_to_step():
    x, y = torch.randn(256, 12), torch.randint(3, (256,))
    change = {
        norm: measure(
            nets.build({"name": "mlp", "hidden": [40]}, {"name": norm}, (12,), 3, seed=0),
            x, y, layers=[1], next_x=torch.randn(256, 12),
        )[1, -1]["mean_step_change"]
        for norm in ("none", "batch", "noisy_batch")
    }  # fmt: skip
    assert change["none"] > 1e-2
    assert change["batch"] < 1e-6
    assert change["noisy_batch"] == pytest.approx(1 / 3, rel=0.25), "E|μ − μ′| for two draws from U(−½, ½)"


def test_percentiles_of_many_values_come_from_an_even_sample():
    values = torch.randn(64, 8, 32, 32)
    assert describe(values) == pytest.approx(expected(values), abs=0.02)
    columns = thinned(torch.arange(32).repeat(32_000), 1000)
    assert columns.numel() <= 1000 and columns.unique().numel() == 32, "not one column of the image only"
    assert thinned(torch.arange(SAMPLE), SAMPLE).numel() == SAMPLE


def test_rounding():
    assert [rounded(v) for v in (123456.7, -0.00012345678, 0.0, math.inf)] == [123457, -0.000123457, 0, math.inf]
    assert math.isnan(rounded(math.nan))


# --- the place -----------------------------------------------------------------------------------------------------


class Odd(nn.Module):
    """All that a foreign model may do: an in-place non-linearity before a norm, a shared norm, functional parts."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 5)
        self.relu = nn.ReLU(inplace=True)
        self.shared_norm = nn.BatchNorm1d(5)
        self.second = nn.Linear(5, 5)
        self.third = nn.Linear(5, 5)
        self.fourth = nn.Linear(5, 4)

    def forward(self, x):
        a = self.relu(self.first(x))
        a = self.second(self.shared_norm(a))
        a = torch.tanh(self.shared_norm(a))
        a = self.third(input=a)
        return self.fourth(functional.dropout(a, 0.5, self.training))


def own_pass(model: nn.Module, x: torch.Tensor, state: torch.Tensor, at: dict[int, tuple[str, str]]):
    """The values at the named modules' inputs or outputs (of the last call), by plain hooks on a copy."""
    model = copy.deepcopy(model)
    seen = {}
    modules = dict(model.named_modules())
    for index, (name, side) in at.items():
        if side == "input":
            modules[name].register_forward_pre_hook(lambda m, args, i=index: seen.update({i: args[0].clone()}))
        else:
            modules[name].register_forward_hook(lambda m, args, out, i=index: seen.update({i: out.clone()}))
    torch.set_rng_state(state)
    with torch.no_grad():
        model(x)
    return seen


@pytest.mark.parametrize("norm", ["none", "batch", "noisy_batch", "noise_only", "linf", "group"])
@pytest.mark.parametrize(
    ("network", "shape", "places"),
    [
        ({"name": "mlp", "hidden": [8, 8], "activation": "sigmoid"}, (6,),
         {1: ("sigmoid1", "input"), 2: ("sigmoid2", "input"), 3: ("classifier", "output")}),
        ({"name": "vgg", "depth": 11, "width": 0.125, "head": [8]}, (3, 32, 32),
         {1: ("relu1", "input"), 8: ("relu8", "input"), 9: ("fc_relu1", "input"), 10: ("classifier", "output")}),
        ({"name": "resnet", "depth": 8, "width": 0.5}, (3, 8, 8),
         {1: ("relu1", "input"), 2: ("stage1.block1.branch.relu1", "input"), 3: ("stage1.block1.branch", "output")}),
        ({"name": "deep_linear", "depth": 4, "width": 8, "norm_last": False}, (8,),
         {1: ("linear2", "input"), 2: ("linear3", "input"), 4: ("linear4", "output")}),
    ],
    ids=["mlp", "vgg", "resnet", "deep_linear"],
)  # fmt: skip
def test_looks_between_norm_and_nonlinearity(network, shape, places, norm):
    outputs = 8 if network["name"] == "deep_linear" else 4
    model = nets.build(network, {"name": norm}, shape, outputs, seed=0)
    x, y = torch.randn(6, *shape), torch.randint(outputs, (6,))
    state = torch.get_rng_state()
    rows = measure(model, x, y, units=[0, 2], layers=list(places))
    for index, values in own_pass(model, x, state, places).items():
        assert numbers(rows[index, -1]) == pytest.approx(expected(values), rel=1e-3, abs=1e-5)
        assert numbers(rows[index, 2]) == pytest.approx(expected(values[:, 2]), rel=1e-3, abs=1e-5)


def test_foreign_model():
    model, x, y = Odd(), torch.randn(10, 6), torch.randint(4, (10,))
    state = torch.get_rng_state()
    rows = measure(model, x, y)
    assert sorted({index for index, _ in rows}) == [1, 2, 3, 4]
    with torch.no_grad():
        first = model.first(x)
        second = model.shared_norm(model.second(model.shared_norm(first.relu())))
    seen = own_pass(model, x, state, {3: ("third", "output"), 4: ("fourth", "output")})
    for index, values in {1: first, 2: second, **seen}.items():
        assert numbers(rows[index, -1]) == pytest.approx(expected(values), rel=1e-4, abs=1e-6), index


def test_at_layer_looks_before_the_norm():
    model = nets.build({"name": "mlp", "hidden": [8]}, {"name": "batch"}, (6,), 3, seed=0)
    x, y = torch.randn(10, 6), torch.randint(3, (10,))
    row = measure(model, x, y, layers=[1], at="layer")[1, -1]
    assert numbers(row) == pytest.approx(expected(model.fc1(x).detach()), rel=1e-4)


def test_layers_by_name_and_bad_use():
    model = nets.build({"name": "mlp", "hidden": [8]}, {"name": "none"}, (6,), 3, seed=0)
    x, y = torch.randn(10, 6), torch.randint(3, (10,))
    assert {index for index, _ in measure(model, x, y, layers=["classifier"])} == {2}
    with pytest.raises(ProbeError, match="there is no layer 7"):
        measure(model, x, y, layers=[7])
    for options in ({"layers": [0]}, {"units": [-1]}, {"at": "input"}, {"percentiles": [3]}):
        with pytest.raises(UserError):
            QUANTITIES.build({"name": "activations", **options}, model=model, loss_fn=functional.cross_entropy)
    attention = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    loss_fn = lambda out, target: out.square().mean()  # noqa: E731
    with pytest.raises(ProbeError, match="without being called as a module"):
        measure(attention, torch.randn(3, 5, 4), None, loss_fn, layers=["self_attn.out_proj"])
    rows = measure(attention, torch.randn(3, 5, 4), None, loss_fn)
    assert {row["layer"] for row in rows.values()} == {"linear1", "linear2"}


# --- moments -------------------------------------------------------------------------------------------------------


def test_moments_are_those_of_evenly_spaced_units():
    model = nets.build({"name": "mlp", "hidden": [8, 3]}, {"name": "batch"}, (6,), 3, seed=0)
    x, y = torch.randn(10, 6), torch.randint(3, (10,))
    rows = measure(model, x, y, name="moments", units=4, layers=[1, 2])
    assert list(rows) == [*((1, unit) for unit in (0, 2, 4, 6)), *((2, unit) for unit in range(3))]
    values = own_pass(model, x, torch.get_rng_state(), {1: ("norm1", "output")})[1]
    for unit in (0, 2, 4, 6):
        found = rows[1, unit]["mean"], rows[1, unit]["variance"]
        assert found == pytest.approx(expected(values[:, unit])[:2], rel=1e-4, abs=1e-6)
