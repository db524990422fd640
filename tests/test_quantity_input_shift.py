"""The input shift against closed forms and against SciPy-like reference distances."""

import copy
import math

import numpy as np
import pytest
import torch
from measuring import measured
from torch import nn

from ics import nets
from ics.errors import UserError


def measure(model, x, y, update, **options):
    return {row["layer_index"]: row for row in measured("input_shift", model, x, y, update=update, **options)}


def numbers(row) -> list[float]:
    return [row[name] for name in ("wasserstein", "relative_wasserstein", "mean_change", "variance_change")]


def two_layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))


def test_a_shift_by_c_has_distance_c():
    c = torch.tensor([0.5, -2.0, 1.0])
    model, x = two_layers(), torch.randn(50, 4)
    std = model[0](x).detach().std(0, correction=0).mean().item()
    rows = measure(model, x, torch.zeros(50, dtype=torch.long), lambda m: m[0].bias.add_(c))
    assert numbers(rows[1]) == [0, 0, 0, 0], "before the first layer nothing moves"
    distance = c.abs().mean().item()
    assert numbers(rows[2]) == pytest.approx([distance, distance / std, distance, 0], rel=1e-4, abs=1e-5)


def test_a_layers_own_weights_do_not_matter_for_its_input():
    x = torch.randn(50, 4)
    rows = measure(two_layers(), x, torch.zeros(50, dtype=torch.long), lambda m: m[1].weight.mul_(7))
    assert numbers(rows[2]) == [0, 0, 0, 0]


def test_stretching_by_a_factor():
    model, x = two_layers(), torch.randn(400, 4)
    inputs = model[0](x).detach()
    rows = measure(model, x, torch.zeros(400, dtype=torch.long), lambda m: [p.mul_(3) for p in m[0].parameters()])
    assert numbers(rows[2]) == pytest.approx([
        2 * inputs.abs().mean().item(),
        2 * (inputs.abs().mean() / inputs.std(0, correction=0).mean()).item(),
        2 * inputs.mean(0).abs().mean().item(),
        8 * inputs.var(0, correction=0).mean().item(),
    ], rel=1e-4)  # fmt: skip


def quantile_distance(a: np.ndarray, b: np.ndarray) -> float:
    """W₁ as the area between the two distribution functions."""
    points = np.sort(np.concatenate([a, b]))
    below = [np.searchsorted(np.sort(v), points[:-1], side="right") / len(v) for v in (a, b)]
    return float(np.sum(np.abs(below[0] - below[1]) * np.diff(points)))


@pytest.mark.parametrize("norm", ["none", "batch", "noisy_batch"])
def test_convolutions_against_the_area_between_distribution_functions(norm):
    model = nets.build({"name": "resnet", "depth": 8, "width": 0.25}, {"name": norm}, (3, 8, 8), 4, seed=0)
    x, y = torch.randn(6, 3, 8, 8), torch.randint(4, (6,))
    state = torch.get_rng_state()

    def inputs(net: nn.Module) -> dict[str, torch.Tensor]:
        net, seen = copy.deepcopy(net), {}
        for name, module in net.named_modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.register_forward_pre_hook(lambda m, args, name=name: seen.update({name: args[0].clone()}))
        torch.set_rng_state(state)
        with torch.no_grad():
            net(x)
        return seen

    def update(net: nn.Module) -> None:
        for p in net.parameters():
            p.sub_(0.5 * p.grad)

    before = inputs(model)
    torch.set_rng_state(state)
    rows = measure(model, x, y, update)
    after = inputs(model)
    assert len(rows) == len(before)
    for row in rows.values():
        a, b = (v[row["layer"]].double().movedim(1, 0).flatten(1).numpy() for v in (before, after))
        wasserstein = np.mean([quantile_distance(p, q) for p, q in zip(a, b, strict=True)])
        assert row["wasserstein"] == pytest.approx(wasserstein, rel=1e-4, abs=1e-7)
        assert row["mean_change"] == pytest.approx(np.abs(a.mean(1) - b.mean(1)).mean(), rel=1e-3, abs=1e-6)
        assert row["variance_change"] == pytest.approx(np.abs(a.var(1) - b.var(1)).mean(), rel=1e-3, abs=1e-6)
        assert row["relative_wasserstein"] == pytest.approx(wasserstein / a.std(1).mean(), rel=1e-4, abs=1e-6)


def test_fewer_samples_come_close():
    model, x = two_layers(), torch.randn(4000, 4)
    y = torch.zeros(4000, dtype=torch.long)

    def update(net: nn.Module) -> None:
        net[0].weight.add_(torch.randn(3, 4, generator=torch.Generator().manual_seed(1)))

    full = measure(copy.deepcopy(model), x, y, update, samples=10_000)[2]
    some = measure(model, x, y, update, samples=500)[2]
    assert some["wasserstein"] != full["wasserstein"]
    assert some["wasserstein"] == pytest.approx(full["wasserstein"], rel=0.15)
    assert some["mean_change"] == full["mean_change"]


def test_constant_input_has_no_relative_distance():
    model, x = two_layers(), torch.ones(5, 4)
    row = measure(model, x, torch.zeros(5, dtype=torch.long), lambda m: m[0].bias.add_(1))[2]
    assert row["wasserstein"] == pytest.approx(1, rel=1e-5)
    assert not math.isfinite(row["relative_wasserstein"])


def test_layers_can_be_chosen():
    x, y = torch.randn(5, 4), torch.zeros(5, dtype=torch.long)
    assert list(measure(two_layers(), x, y, lambda m: None, layers=[2])) == [2]
    with pytest.raises(UserError):
        measure(two_layers(), x, y, lambda m: None, samples=0)
