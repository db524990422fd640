"""Norms and noise against their formulas."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ics.errors import UserError
from ics.nets import NORMS, ActivationNoise, LpNorm

CONV, LINEAR = (6, 16, 5, 4), (6, 16)


def make(name: str, shape: tuple[int, ...], **options: object) -> nn.Module:
    module = NORMS.build({"name": name, **options})(shape[1], len(shape) - 2)
    assert module is not None
    return module


def test_none_inserts_no_module() -> None:
    norm = NORMS.build({"name": "none"})
    assert norm(16, 0) is None and norm(16, 2) is None


@pytest.mark.parametrize("shape", [CONV, LINEAR])
def test_batch_is_the_textbook_formula_and_takes_its_options(shape: tuple[int, ...]) -> None:
    x = 3 + 2 * torch.randn(shape, dtype=torch.float64)
    norm = make("batch", shape, eps=0.1, momentum=0.25).double()
    dims = tuple(d for d in range(x.ndim) if d != 1)
    mean, var = x.mean(dims, keepdim=True), x.var(dims, unbiased=False, keepdim=True)
    torch.testing.assert_close(norm(x), (x - mean) / (var + 0.1).sqrt())
    torch.testing.assert_close(norm.running_mean, 0.25 * mean.flatten())
    assert make("batch", shape, affine=False).weight is None


# --- Algorithm 1 -----------------------------------------------------------------------------------------


def drawn(noise: ActivationNoise, shape: tuple[int, ...], seed: int = 0) -> tuple[Tensor, Tensor]:
    """The m and s of one call: a = 0 gives m, and a = 1 under the same draws gives s + m."""
    torch.manual_seed(seed)
    m = noise(torch.zeros(shape))
    torch.manual_seed(seed)
    return m, noise(torch.ones(shape)) - m


def test_noise_has_the_moments_of_algorithm_1() -> None:
    m, s = drawn(ActivationNoise(), (4, 200_000))
    assert m.mean().item() == pytest.approx(0, abs=0.003)
    assert s.mean().item() == pytest.approx(1.125, abs=0.002)  # the middle of U(1, 1.25)
    # Var m = Var U(−0.5, 0.5) + Var U(−0.1, 0.1);  Var s = Var U(1, 1.25) + 0.1²
    assert m.var().item() == pytest.approx(1 / 12 + 0.2**2 / 12, rel=0.01)
    assert s.var().item() == pytest.approx(0.25**2 / 12 + 0.1**2, rel=0.01)
    assert m.abs().max() <= 0.6


@pytest.mark.parametrize("shape", [(40_000, 8), (100, 8, 20, 20)])
def test_mean_and_scale_are_shared_within_a_unit_and_the_rest_is_not(shape: tuple[int, ...]) -> None:
    m, s = (values.transpose(0, 1).flatten(1) for values in drawn(ActivationNoise(), shape))  # (unit, rest)
    assert (m.max(1).values - m.min(1).values).max() <= 0.2 + 1e-6
    torch.testing.assert_close(m.var(1), torch.full((8,), 0.2**2 / 12), rtol=0.05, atol=0)
    torch.testing.assert_close(s.var(1), torch.full((8,), 0.1**2), rtol=0.05, atol=0)
    assert m.mean(1).std() > 0.1 and s.mean(1).std() > 0.03  # the units differ
    assert m[0].unique().numel() > 10_000  # and so do the activations of one unit, rows and columns included
    m_centred, s_centred = m - m.mean(1, keepdim=True), s - s.mean(1, keepdim=True)
    assert (m_centred * s_centred).mean().abs() < 1e-4  # m and s are drawn apart


def test_noise_options_are_the_constants_of_algorithm_1() -> None:
    fixed = ActivationNoise(mean_range=0, scale_range=(2, 2), mean_spread=0, scale_spread=0)
    torch.testing.assert_close(fixed(torch.arange(6.0).view(2, 3)), 2 * torch.arange(6.0).view(2, 3))
    m, s = drawn(ActivationNoise(mean_range=3, scale_range=(5, 7), mean_spread=0, scale_spread=0), (2, 10_000))
    assert torch.equal(m[0], m[1]) and 2.9 < m.abs().max() <= 3
    assert s.min() + 1e-5 >= 5 and s.max() <= 7 + 1e-5 and s.max() - s.min() > 1.9


def test_noise_is_new_at_each_step_repeats_with_the_seed_and_rests_in_evaluation() -> None:
    noise, a = ActivationNoise(), torch.randn(3, 5)
    torch.manual_seed(1)
    first, second = noise(a), noise(a)
    torch.manual_seed(1)
    assert torch.equal(noise(a), first) and not torch.equal(first, second)
    state = torch.get_rng_state()
    assert torch.equal(noise.eval()(a), a)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_gradient_through_the_noise_is_s() -> None:
    noise, shape = ActivationNoise(), (3, 5)
    _, s = drawn(noise, shape, seed=4)
    a = torch.randn(shape, requires_grad=True)
    torch.manual_seed(4)
    noise(a).sum().backward()
    torch.testing.assert_close(a.grad, s)


@pytest.mark.parametrize("shape", [CONV, LINEAR])
def test_noisy_batch_adds_the_noise_after_gamma_and_beta(shape: tuple[int, ...]) -> None:
    norm = make("noisy_batch", shape, mean_range=0, scale_range=(2, 2), mean_spread=0, scale_spread=0)
    plain = make("batch", shape)
    for module in (norm.batch, plain):
        nn.init.constant_(module.weight, 3.0)
        nn.init.constant_(module.bias, 5.0)
    x = torch.randn(shape)
    torch.testing.assert_close(norm(x), 2 * plain(x))
    torch.testing.assert_close(norm.eval()(x), plain.eval()(x))
    assert [name for name, _ in norm.named_children()] == ["batch", "noise"]


# --- ℓp norms --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [CONV, LINEAR])
@pytest.mark.parametrize("name", ["l1", "l2", "linf"])
def test_lp_norms_are_figure_5s_formula(name: str, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(1, 2, shape)
    gamma, beta, eps = rng.normal(size=16), rng.normal(size=16), 0.01
    norm = make(name, shape, eps=eps).double()
    norm.load_state_dict({**norm.state_dict(), "weight": torch.tensor(gamma), "bias": torch.tensor(beta)})
    expected = np.empty_like(y)
    for j in range(16):
        values = y[:, j]
        size = {
            "l1": np.mean(np.abs(values)),
            "l2": np.sqrt(np.mean(values**2)),
            "linf": np.max(np.abs(values)),
        }[name]
        expected[:, j] = gamma[j] * (values - values.mean()) / (size + eps) + beta[j]
    np.testing.assert_allclose(norm(torch.tensor(y)).detach().numpy(), expected, rtol=1e-12, atol=1e-12)
    bare = make(name, shape, eps=eps, affine=False).double()
    unscaled = (expected - beta.reshape(-1, *[1] * (y.ndim - 2))) / gamma.reshape(-1, *[1] * (y.ndim - 2))
    np.testing.assert_allclose(bare(torch.tensor(y)).numpy(), unscaled, rtol=1e-10, atol=1e-10)


def test_lp_norm_evaluates_with_running_averages() -> None:
    norm = make("l1", (4, 1), momentum=0.5, eps=0)
    norm(torch.tensor([[1.0], [3.0]]))  # mean 2, E|y| 2
    norm(torch.tensor([[-4.0], [8.0]]))  # mean 2, E|y| 6
    assert norm.running_mean.item() == pytest.approx(0.5 * (0.5 * 0 + 0.5 * 2) + 0.5 * 2)
    assert norm.running_norm.item() == pytest.approx(0.5 * (0.5 * 1 + 0.5 * 2) + 0.5 * 6)
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    out = norm.eval()(torch.tensor([[9.0]]))
    assert out.item() == pytest.approx((9 - 1.5) / 3.75)
    assert all(torch.equal(norm.state_dict()[key], value) for key, value in before.items())


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_lp_norm_gradients(p: float) -> None:
    torch.manual_seed(0)
    norm = LpNorm(3, p).double()
    y = torch.randn(4, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(norm, (y,))
    dead = torch.zeros(4, 3, dtype=torch.float64, requires_grad=True)
    (norm(dead) * torch.randn(4, 3)).sum().backward()
    assert dead.grad is not None and dead.grad.isfinite().all()


def test_lp_norm_refuses_a_batch_of_one_in_training_only() -> None:
    norm = make("l2", LINEAR)
    with pytest.raises(UserError, match=r"more than one value .* \(1, 16\)"):
        norm(torch.randn(1, 16))
    assert norm.eval()(torch.randn(1, 16)).shape == (1, 16)


# --- layer and group norms -------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [CONV, LINEAR])
def test_layer_norm_is_over_everything_in_a_sample(shape: tuple[int, ...]) -> None:
    x = 3 + 2 * torch.randn(shape)
    torch.testing.assert_close(make("layer", shape)(x), nn.functional.layer_norm(x, shape[1:]))
    assert make("layer", shape).weight.shape == (16,)


def test_group_norm_is_over_each_group() -> None:
    x = 3 + 2 * torch.randn(6, 16)
    expected = nn.functional.layer_norm(x.view(6, 4, 4), (4,)).view(6, 16)
    torch.testing.assert_close(make("group", LINEAR, groups=4)(x), expected)
