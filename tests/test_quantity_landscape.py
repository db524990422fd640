"""The landscape against closed forms on a quadratic, and against a slow re-implementation on deep copies."""

import copy
import itertools
import math

import pytest
import torch
from measuring import Point, measured
from torch import nn

from ics import nets
from ics.errors import UserError
from ics.quantities import QUANTITIES

H, THETA = torch.tensor([[3.0, 1.0], [1.0, 2.0]], dtype=torch.float64), torch.tensor([1.0, -2.0])


def quadratic(theta: torch.Tensor, y: object) -> torch.Tensor:
    """f(θ) = ½ θᵀHθ."""
    return theta @ H @ theta / 2


def measure(model: nn.Module, loss_fn, x, y, number=0, **options):
    return measured("landscape", model, x, y, loss_fn, number=number, **options)


@pytest.mark.parametrize(("relative_to", "unit"), [("lr", 0.1), ("one", 1.0)])
def test_quadratic_along_the_gradient(relative_to, unit):
    model, x = Point(THETA), torch.zeros(1)
    origin, *rows = measure(model, quadratic, x, None, factors=[0.5, 4], relative_to=relative_to)
    theta = model(x).detach()
    g = H @ theta
    assert (origin["direction"], origin["factor"], origin["gradient_distance"]) == ("origin", 0, 0)
    assert origin["loss"] == pytest.approx(float(theta @ g / 2))
    assert origin["gradient_norm"] == pytest.approx(float(g.norm()))
    assert math.isnan(origin["effective_beta"])
    assert [(row["direction"], row["factor"]) for row in rows] == [("gradient", 0.5), ("gradient", 4.0)]
    for row in rows:
        eta = unit * row["factor"]
        moved = theta - eta * g
        assert row["loss"] == pytest.approx(float(moved @ H @ moved / 2))
        assert row["gradient_norm"] == pytest.approx(float((H @ moved).norm()))
        assert row["gradient_distance"] == pytest.approx(float(eta * (H @ g).norm()))
        assert row["effective_beta"] == pytest.approx(float((H @ g).norm() / g.norm()))  # whatever the step length


def test_beta_along_any_direction_lies_between_the_eigenvalues():
    smallest, largest = torch.linalg.eigvalsh(H).tolist()
    seen = set()
    for number in range(5):
        rows = measure(Point(THETA), quadratic, torch.zeros(1), None, number, directions=["random", "gradient"])
        random = [row for row in rows if row["direction"] == "random"]
        assert len(random) == len(rows) // 2 == 4
        assert all(smallest <= row["effective_beta"] <= largest for row in random)
        seen.add(random[0]["loss"])
    assert len(seen) == 5, "another direction at each step"


def test_random_directions_depend_on_seed_and_step_alone():
    def losses(number: int, seed: int) -> list[float]:
        torch.rand(number + 1)
        rows = measure(Point(THETA), quadratic, torch.zeros(1), None, number, directions=["random"], seed=seed)
        return [row["loss"] for row in rows]

    assert losses(3, 1) == losses(3, 1)
    assert losses(3, 1) != losses(1, 3)


@pytest.mark.parametrize("penalty", [False, True])
@pytest.mark.parametrize("norm", ["none", "batch", "noisy_batch", "l1"])
def test_equals_slow_reimplementation(norm, penalty):
    """The penalty belongs to the loss if it is asked for; sums are over tensors."""
    model = nets.build({"name": "mlp", "hidden": [9, 7]}, {"name": norm}, (6,), 4, seed=0).double()
    loss_fn = nn.functional.cross_entropy
    x, y = torch.randn(16, 6, dtype=torch.float64), torch.randint(4, (16,))
    before, decay = torch.get_rng_state(), {p: 0.1 if p.ndim > 1 else 0.0 for p in model.parameters()}
    origin, *rows = measure(model, loss_fn, x, y, lr=0.5, factors=[0.5, 2], decay=decay, penalty=penalty)

    def derived(net: nn.Module) -> tuple[float, tuple[torch.Tensor, ...]]:
        torch.set_rng_state(before)
        loss = loss_fn(net(x), y)
        if penalty:
            loss = loss + sum(0.05 * p.square().sum() for p in net.parameters() if p.ndim > 1)
        return loss.item(), torch.autograd.grad(loss, list(net.parameters()))

    loss, g = derived(copy.deepcopy(model))
    assert origin["loss"] == pytest.approx(loss)
    for row in rows:
        eta = row["factor"] * 0.5
        moved = copy.deepcopy(model)
        with torch.no_grad():
            for p, d in zip(moved.parameters(), g, strict=True):
                p.sub_(eta * d)
        loss, there = derived(moved)
        parts = [b - a for a, b in zip(g, there, strict=True)]
        distance, length = (torch.cat([part.flatten() for part in all_]).norm().item() for all_ in (parts, g))
        assert row["loss"] == pytest.approx(loss)
        assert row["gradient_distance"] == pytest.approx(distance)
        assert row["effective_beta"] == pytest.approx(distance / (eta * length))
        assert row["gradient_distance_sum"] == pytest.approx(sum(part.norm().item() for part in parts))
        assert row["weight_distance_sum"] == pytest.approx(sum(part.norm().item() for part in parts if part.ndim > 1))


def test_overflow_is_recorded_as_such():
    rows = measure(
        Point(THETA).double(), lambda theta, y: quadratic(theta, y) ** 9, torch.zeros(1), None, factors=[1e300]
    )
    assert not math.isfinite(rows[1]["loss"])


def test_costs_one_pass_per_length_and_direction():
    model, passes = nn.Linear(3, 2), itertools.count()  # a list would be put back to what it held
    x, y = torch.randn(5, 3), torch.randn(5, 2)
    model.register_forward_hook(lambda *_: (next(passes), None)[1])
    measure(model, nn.functional.mse_loss, x, y, directions=["gradient", "random"], factors=[1, 2, 3])
    assert next(passes) == 1 + 6


def test_bad_options_are_refused():
    for options in ({"factors": []}, {"factors": [0]}, {"directions": ["up"]}, {"relative_to": "x"}, {"seed": -1}):
        with pytest.raises(UserError):
            QUANTITIES.build({"name": "landscape", **options}, model=Point(THETA), loss_fn=quadratic)
