"""Batch normalisation by hand against numerical derivatives, the NumPy formula and PyTorch's own."""

from typing import Any

import numpy as np
import pytest
import torch
from measuring import measured
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from ics.errors import UserError
from ics.laboratory.batch_norm_by_hand import BatchNormByHand, EvaluationNorm, TrainingNorm
from ics.laboratory.batch_norm_reference import RunningStatistics, batch_norm
from ics.nets import NORMS, build

LINEAR, SEQUENCE, CONV = (7, 3), (4, 3, 5), (4, 3, 2, 3)
SHAPES = pytest.mark.parametrize("shape", [LINEAR, SEQUENCE, CONV], ids=["NC", "NCL", "NCHW"])


def drawn(shape: tuple[int, ...], requires_grad: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    """x with another mean and scale per unit, γ, β; in double precision."""
    units = (1, -1, *(1,) * (len(shape) - 2))
    scale, shift = (torch.randn(shape[1], dtype=torch.float64).view(units) for _ in range(2))
    x = torch.randn(shape, dtype=torch.float64) * (1 + scale.abs()) + 3 * shift
    gamma, beta = torch.randn(2, shape[1], dtype=torch.float64)
    return tuple(t.clone().requires_grad_(requires_grad) for t in (x, gamma, beta))  # type: ignore[return-value]


def pair(shape: tuple[int, ...], **options: Any) -> tuple[BatchNormByHand, nn.Module]:
    """By hand and PyTorch's, with the same γ, β and running statistics."""
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 4: nn.BatchNorm2d}[len(shape)]
    by_hand, pytorch = BatchNormByHand(shape[1], **options), kind(shape[1], **options)
    if pytorch.affine:
        nn.init.normal_(pytorch.weight)
        nn.init.normal_(pytorch.bias)
    pytorch.running_mean.normal_()
    pytorch.running_var.uniform_(0.5, 2)
    by_hand.load_state_dict(pytorch.state_dict())
    return by_hand.double(), pytorch.double()


# --- derivatives -----------------------------------------------------------------------------------------------------


@SHAPES
@pytest.mark.parametrize("training", [True, False])
def test_first_and_second_derivatives(shape: tuple[int, ...], training: bool) -> None:
    mean, variance = torch.randn(shape[1], dtype=torch.float64), 0.5 + torch.rand(shape[1], dtype=torch.float64)

    def norm(x: Tensor, gamma: Tensor, beta: Tensor) -> Any:
        if training:
            return TrainingNorm.apply(x, gamma, beta, 0.1)  # y, and μ and σ² with their own gradients
        return EvaluationNorm.apply(x, gamma, beta, mean, variance, 0.1)

    assert gradcheck(norm, drawn(shape))
    assert gradgradcheck(norm, drawn(shape))


@SHAPES
@pytest.mark.parametrize("training", [True, False])
def test_hessian_vector_products_are_pytorchs(shape: tuple[int, ...], training: bool) -> None:
    """What sharpness is measured with."""
    x = drawn(shape, requires_grad=False)[0]
    found = []
    for norm in (n.train(training) for n in pair(shape)):
        parameters = list(norm.parameters())
        inputs = x.clone().requires_grad_()
        gradients = torch.autograd.grad(norm(inputs).pow(3).sum(), [inputs, *parameters], create_graph=True)
        along = sum((g * torch.linspace(-1, 1, g.numel()).view_as(g)).sum() for g in gradients)
        found.append(torch.autograd.grad(along, [inputs, *parameters]))
    for by_hand, pytorch in zip(*found, strict=True):
        torch.testing.assert_close(by_hand, pytorch, rtol=1e-9, atol=1e-9)


# --- the formula -----------------------------------------------------------------------------------------------------


@SHAPES
@pytest.mark.parametrize("fraction_kept", [0.9, 0.25])
def test_numpy_formula(shape: tuple[int, ...], fraction_kept: float) -> None:
    norm = BatchNormByHand(3, eps=0.01, momentum=fraction_kept, momentum_is="fraction_kept").double()
    running = RunningStatistics(np.zeros(3), np.ones(3))
    for training in (True, True, False, True, False):
        x, gamma, beta = drawn(shape, requires_grad=False)
        with torch.no_grad():
            norm.weight.copy_(gamma)
            norm.bias.copy_(beta)
        formula = batch_norm(x.numpy(), gamma.numpy(), beta.numpy(), running, training, fraction_kept, eps=0.01)
        np.testing.assert_allclose(norm.train(training)(x).detach().numpy(), formula, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(norm.running_mean.numpy(), running.mean, rtol=1e-12)
        np.testing.assert_allclose(norm.running_var.numpy(), running.variance, rtol=1e-12)


def test_a_batch_worked_out_with_pencil() -> None:
    """Values 1, 2, 3, 6: μ = 3, σ² = (4 + 1 + 0 + 9)/4 = 3.5, unbiased 14/3."""
    norm = BatchNormByHand(1, eps=0.0)
    y = norm(torch.tensor([[1.0], [2.0], [3.0], [6.0]]))
    torch.testing.assert_close(y.flatten(), torch.tensor([-2.0, -1.0, 0.0, 3.0]) / 3.5**0.5)
    assert norm.running_mean.item() == pytest.approx(0.9 * 0 + 0.1 * 3)
    assert norm.running_var.item() == pytest.approx(0.9 * 1 + 0.1 * 14 / 3)


@SHAPES
def test_shift_and_scale_of_the_input_are_lost(shape: tuple[int, ...]) -> None:
    """So a bias before it does nothing, and weights of twice the size neither (but for ε)."""
    norm, (x, _, _) = BatchNormByHand(3, eps=0.0).double(), drawn(shape, requires_grad=False)
    units = (1, 3, *(1,) * (len(shape) - 2))
    a, b = torch.tensor([2.0, 0.1, 7.0]).double().view(units), torch.tensor([-3.0, 0.0, 50.0]).double().view(units)
    torch.testing.assert_close(norm(a * x + b), norm(x))


@SHAPES
def test_the_gradient_keeps_no_part_along_the_ones_and_along_the_output(shape: tuple[int, ...]) -> None:
    """Σ dxᵢ = 0 and Σ dxᵢ x̂ᵢ = 0 (for ε = 0): what Theorem 4.1 of Santurkar et al. subtracts."""
    x = drawn(shape)[0]
    normalised = BatchNormByHand(3, eps=0.0, affine=False).double()(x)
    (dx,) = torch.autograd.grad(normalised, x, torch.randn_like(x))
    dims = (0, *range(2, len(shape)))
    zero = torch.zeros(3, dtype=torch.float64)
    torch.testing.assert_close(dx.sum(dims), zero, atol=1e-12, rtol=0)
    torch.testing.assert_close((dx * normalised.detach()).sum(dims), zero, atol=1e-12, rtol=0)


@SHAPES
def test_a_sample_depends_on_its_batch_in_training_only(shape: tuple[int, ...]) -> None:
    norm, x = BatchNormByHand(3).double(), drawn(shape, requires_grad=False)[0]
    others = x.clone()
    others[1:] += torch.randn_like(others[1:])
    assert (norm(x)[0] - norm(others)[0]).abs().max() > 0.01
    norm.eval()
    assert torch.equal(norm(x)[0], norm(others)[0])
    torch.testing.assert_close(norm(x)[:1], norm(x[:1]))


# --- PyTorch's -------------------------------------------------------------------------------------------------------


@SHAPES
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("momentum", [0.1, 1.0, None])
def test_equal_to_pytorch_in_both_modes(shape: tuple[int, ...], affine: bool, momentum: float | None) -> None:
    by_hand, pytorch = pair(shape, affine=affine, momentum=momentum, eps=1e-3)
    for training in (True, True, False):
        x, upstream = (drawn(shape, requires_grad=False)[0] for _ in range(2))
        results = []
        for norm in (by_hand.train(training), pytorch.train(training)):
            norm.zero_grad()
            inputs = x.clone().requires_grad_()
            y = norm(inputs)
            y.backward(upstream)
            results.append([y.detach(), inputs.grad, *(p.grad for p in norm.parameters()), *norm.buffers()])
        for ours, theirs in zip(*results, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


NETS = {
    "mlp": ({"name": "mlp", "hidden": (24, 16)}, (1, 8, 8)),
    "resnet": ({"name": "resnet", "depth": 8, "width": 0.25}, (1, 8, 8)),
}


def task(steps: int, shape: tuple[int, ...], dtype: torch.dtype) -> list[tuple[Tensor, Tensor]]:
    """Batches that can be learned from."""
    data = torch.randn(steps, 32, *shape, dtype=dtype)
    targets = (data.flatten(2)[..., :10] + 0.3 * torch.randn(steps, 32, 10, dtype=dtype)).argmax(-1)
    return list(zip(data, targets, strict=True))


def assert_equal_parts(ours: nn.Module, theirs: nn.Module, tolerance: float) -> None:
    """Weights, running statistics and gradients."""
    parts = [{**m.state_dict(), **{f"∇{name}": p.grad for name, p in m.named_parameters()}} for m in (ours, theirs)]
    assert parts[0].keys() == parts[1].keys()
    for name, value in parts[1].items():
        torch.testing.assert_close(parts[0][name], value, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("net", NETS)
def test_a_whole_training_run(net: str) -> None:
    """Losses, weights, gradients, running statistics and evaluation, in double precision."""
    settings, shape = NETS[net]
    batches = task(150, shape, torch.float64)
    models = [build(settings, {"name": name}, shape, 10, seed=0).double() for name in ("batch_by_hand", "batch")]
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9) for model in models]
    losses = []
    for x, y in batches:
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    by_hand, pytorch = np.array(losses).reshape(-1, 2).T
    assert pytorch[-5:].mean() < 0.9 * pytorch[0]  # something was learned
    np.testing.assert_allclose(by_hand, pytorch, rtol=1e-8)
    assert_equal_parts(*models, 1e-8)
    outputs = [model.eval()(batches[0][0]) for model in models]
    torch.testing.assert_close(*outputs, rtol=1e-8, atol=1e-8)


def test_every_step_of_a_training_run_in_single_precision() -> None:
    """From equal states, since any two orders of summation drift apart; tanh, since a ReLU may flip on an ulp."""
    settings, shape = {"name": "mlp", "hidden": (24, 16), "activation": "tanh"}, (1, 8, 8)
    by_hand, pytorch = (build(settings, {"name": name}, shape, 10, seed=0) for name in ("batch_by_hand", "batch"))
    optimizer = torch.optim.SGD(pytorch.parameters(), lr=0.1, momentum=0.9)
    for x, y in task(40, shape, torch.float32):
        by_hand.load_state_dict(pytorch.state_dict())
        for model in (by_hand, pytorch):
            model.zero_grad()
            F.cross_entropy(model(x), y).backward()
        assert_equal_parts(by_hand, pytorch, 1e-5)
        optimizer.step()


@pytest.mark.parametrize("quantity", ["shift", "landscape", "sharpness"])
def test_what_is_measured_under_it_is_what_is_measured_under_pytorchs(quantity: str) -> None:
    """The probe replays it, sharpness differentiates it twice."""
    settings, shape = NETS["mlp"]
    x, y = torch.randn(32, *shape, dtype=torch.float64), torch.randint(10, (32,))
    found = []
    for name in ("batch_by_hand", "batch"):
        model = build(settings, {"name": name}, shape, 10, seed=0).double()
        update = torch.optim.SGD(model.parameters(), lr=0.5).step
        found.append(measured(quantity, model, x, y, update=lambda model: update(), lr=0.5))
    for ours, theirs in zip(*found, strict=True):
        for column, value in theirs.items():
            exact = isinstance(value, str)
            assert ours[column] == (value if exact else pytest.approx(value, rel=1e-5, abs=1e-9, nan_ok=True)), column


def test_checkpoints_are_exchangeable() -> None:
    by_hand, pytorch = pair(LINEAR)
    by_hand(drawn(LINEAR)[0])
    pytorch.load_state_dict(by_hand.state_dict())
    assert pytorch.num_batches_tracked == 1
    assert torch.equal(pytorch.running_mean, by_hand.running_mean)


def test_half_precision_is_averaged_in_single() -> None:
    by_hand, pytorch = (norm.float() for norm in pair(CONV))
    x = (100 + torch.randn(64, 3, 8, 8)).bfloat16()
    for training in (True, False):
        ours, theirs = by_hand.train(training)(x), pytorch.train(training)(x)
        assert ours.dtype == torch.bfloat16
        torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02)
    torch.testing.assert_close(by_hand.running_mean, pytorch.running_mean)


def test_a_mean_far_above_the_spread_costs_no_precision() -> None:
    x = 1e4 + torch.randn(256, 2, 4, 4)
    exact = BatchNormByHand(2).double()(x.double())
    torch.testing.assert_close(BatchNormByHand(2)(x).double(), exact, rtol=0, atol=0.01)  # an ulp of 1e4 is 1e-3


# --- running statistics and errors -----------------------------------------------------------------------------------


def test_both_conventions_of_momentum() -> None:
    kept = NORMS.build({"name": "batch_by_hand", "momentum": 0.75, "momentum_is": "fraction_kept"})(3, 0)
    replaced = NORMS.build({"name": "batch_by_hand", "momentum": 0.25})(3, 0)
    for _ in range(4):
        x = drawn(LINEAR)[0].float()
        for norm in (kept, replaced):
            norm(x)
    torch.testing.assert_close(kept.running_mean, replaced.running_mean)
    torch.testing.assert_close(kept.running_var, replaced.running_var)


@pytest.mark.parametrize("shape", [(5, 4), (3,), (2, 4, 3, 3)])
def test_other_units_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match=r"3 units cannot take"):
        BatchNormByHand(3)(torch.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 3), (1, 3, 1, 1)])
def test_a_single_value_per_unit_trains_nothing_but_can_be_evaluated(shape: tuple[int, ...]) -> None:
    norm = BatchNormByHand(3)
    with pytest.raises(UserError, match="no variance"):
        norm(torch.ones(shape))
    assert norm.num_batches_tracked == 0
    torch.testing.assert_close(norm.eval()(torch.ones(shape)), torch.ones(shape), rtol=1e-4, atol=0)
