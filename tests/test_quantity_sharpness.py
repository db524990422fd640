"""Sharpness against known spectra and against the full Hessian."""

import math

import pytest
import torch
from measuring import Point, measured
from torch.nn import functional

from ics import nets
from ics.quantities.sharpness import largest_eigenvalue


def symmetric(eigenvalues: list[float]) -> torch.Tensor:
    q = torch.linalg.qr(torch.randn(len(eigenvalues), len(eigenvalues), dtype=torch.float64)).Q
    return q @ torch.diag(torch.tensor(eigenvalues, dtype=torch.float64)) @ q.T


def measure(model, loss_fn, x, y, **options):
    (row,) = measured("sharpness", model, x, y, loss_fn, **options)
    return row


@pytest.mark.parametrize("eigenvalues", [[5.0, 1.0, 0.5], [3.0, -40.0, 1.0, 0.0], [-1.0, -2.0], [7.0] * 4])
def test_quadratic(eigenvalues):
    h = symmetric(eigenvalues)
    row = measure(
        Point(torch.randn(len(eigenvalues))),
        lambda theta, y: theta @ h @ theta / 2,
        torch.zeros(1),
        None,
        tolerance=1e-9,
    )
    assert row["sharpness"] == pytest.approx(max(eigenvalues))
    assert row["two_over_lr"] == pytest.approx(20)
    assert row["edge_ratio"] == pytest.approx(max(eigenvalues) / 20)
    assert row["iterations"] <= len(set(eigenvalues)) + 1
    assert row["residual"] < 1e-6


def test_a_loss_without_curvature():
    row = measure(Point(torch.randn(4)), lambda theta, y: theta.sum(), torch.zeros(1), None, lr=0.0)
    assert (row["sharpness"], row["residual"], row["iterations"]) == (0, 0, 1)
    assert row["two_over_lr"] == math.inf


def test_tolerance_and_iterations_bound_the_work():
    h = symmetric([float(i) for i in range(60)])

    def loss_fn(theta: torch.Tensor, y: None) -> torch.Tensor:
        return theta @ h @ theta / 2

    few = measure(Point(torch.randn(60)), loss_fn, torch.zeros(1), None, iterations=4)
    assert few["iterations"] == 4 and few["residual"] > 0.01 and few["sharpness"] < 59
    enough = measure(Point(torch.randn(60)), loss_fn, torch.zeros(1), None, iterations=60, tolerance=0.01)
    assert enough["iterations"] < 60 and enough["residual"] <= 0.01
    assert enough["sharpness"] == pytest.approx(59, rel=0.02)  # its neighbour is at 58


def test_residual_is_what_it_says():
    h = symmetric([9.0, 8.0, 7.0, 1.0, -3.0])
    found = largest_eigenvalue(lambda v: h @ v, torch.ones(5, dtype=torch.float64), 3, 0.0)
    # The Ritz vector is not returned; some eigenvalue must lie within the residual.
    assert min(abs(e - found.value) for e in (9.0, 8.0, 7.0, 1.0, -3.0)) <= found.residual * found.value


def test_values_that_are_not_finite():
    found = largest_eigenvalue(lambda v: v * math.nan, torch.ones(3), 5, 0.1)
    assert math.isnan(found.value) and math.isnan(found.residual) and found.iterations == 1


@pytest.mark.parametrize("norm", ["none", "batch", "noisy_batch"])
def test_equals_the_full_hessian(norm):
    model = nets.build({"name": "mlp", "hidden": [5], "activation": "tanh"}, {"name": norm}, (3,), 2, seed=0).double()
    x, y = torch.randn(12, 3, dtype=torch.float64), torch.randint(2, (12,))
    state = torch.get_rng_state()
    row = measure(model, functional.cross_entropy, x, y, tolerance=1e-8, iterations=60)
    names, values = zip(*model.named_parameters(), strict=True)
    shapes = [v.shape for v in values]
    sizes = [v.numel() for v in values]

    def loss(flat: torch.Tensor) -> torch.Tensor:
        torch.set_rng_state(state)
        parts = {n: p.view(s) for n, p, s in zip(names, flat.split(sizes), shapes, strict=True)}
        return functional.cross_entropy(torch.func.functional_call(model, parts, (x,)), y)

    hessian = torch.autograd.functional.hessian(loss, torch.cat([v.detach().flatten() for v in values]))
    assert row["sharpness"] == pytest.approx(torch.linalg.eigvalsh(hessian)[-1].item(), rel=1e-6)


def test_start_vector_depends_on_seed_and_step_alone():
    h = symmetric([float(i) for i in range(60)])

    def one(number: int, seed: int) -> float:
        torch.manual_seed(7)  # of the point, which must be the same
        model = Point(torch.randn(60))
        torch.rand(number)
        row = measure(model, lambda theta, y: theta @ h @ theta / 2, torch.zeros(1), None, number=number,
                      iterations=3, seed=seed)  # fmt: skip
        return row["sharpness"]

    assert one(2, 5) == one(2, 5)
    assert len({one(2, 5), one(5, 2), one(3, 5)}) == 3
