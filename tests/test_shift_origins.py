"""Origins of the shift: against deep copies with one block updated, finite differences, and the closed form."""

import copy
import math
from functools import partial
from itertools import pairwise

import pytest
import torch
from reference import execution_order, measured_step, sgd
from torch import Tensor, nn
from torch.nn import functional as F

from ics.shift.origins import ALL, INPUT, Origin


def convolutional() -> tuple[nn.Module, Tensor, Tensor]:
    layers = [
        nn.BatchNorm2d(2),
        *(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh()),
        *(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Softplus(), nn.Dropout(0.3), nn.Flatten()),
        nn.Linear(64, 5),
        nn.Tanh(),
        nn.Linear(5, 3),
    ]
    return nn.Sequential(*layers), torch.randn(6, 2, 4, 4), torch.randint(3, (6,))


def linear(depth: int = 4, width: int = 3) -> tuple[nn.Module, Tensor, Tensor]:
    network = nn.Sequential(*(nn.Linear(width, width, bias=False) for _ in range(depth)))
    return network, torch.randn(20, width), torch.randn(20, width)


def half_squared(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().sum() / 2


def measured(
    network: nn.Module, loss_fn: object, x: Tensor, y: Tensor, lr: float
) -> tuple[dict[tuple[int, int], Origin], dict[str, tuple[Tensor, Tensor]], nn.Module, Tensor]:
    """(cause, layer) → origin; layer → (G, G'); the network before the update; the random numbers' state then."""
    step = measured_step(network, x, y, loss_fn, sgd(network, lr).step, origins=True)  # type: ignore[arg-type]
    found = {(origin.cause_index, origin.layer_index): origin for origin in step.shift.origins}
    assert len(found) == len(step.shift.origins)
    return found, step.shift.gradients, step.old, step.random_state


@pytest.fixture(autouse=True)
def double() -> object:
    torch.manual_seed(3)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def test_every_pair_is_that_of_a_copy_with_one_block_updated() -> None:
    network, x, y = convolutional()
    found, gradients, before, state = measured(network, F.cross_entropy, x, y, 0.05)
    order = execution_order(before, x)
    weights = ["1.weight", "4.weight", "9.weight", "11.weight"]
    starts = [0, *(order.index(name) for name in weights)]
    updated = dict(network.named_parameters())
    for cause, (begin, end) in enumerate(pairwise(starts)):
        hybrid = copy.deepcopy(before)
        with torch.no_grad():
            for name in order[begin:end]:
                hybrid.get_parameter(name).copy_(updated[name])
        torch.set_rng_state(state)
        F.cross_entropy(hybrid(x), y).backward()
        for layer, name in enumerate(weights, start=1):
            g, shifted = gradients[name.removesuffix(".weight")]
            if layer <= cause:
                assert (cause, layer) not in found
                continue
            alone, whole = hybrid.get_parameter(name).grad - g, shifted - g
            origin = found[cause, layer]
            assert origin.l2 == pytest.approx(alone.norm().item(), rel=1e-9)
            assert origin.share == pytest.approx(((alone * whole).sum() / whole.square().sum()).item(), rel=1e-9)
            assert origin.gradient_norm == pytest.approx(g.norm().item(), rel=1e-12)
    assert found[INPUT, 1].cause == "input"
    assert found[INPUT, 1].share == pytest.approx(1)  # all of the first layer's shift comes from there
    assert found[ALL, 1].interaction == pytest.approx(0, abs=1e-9)


def test_the_linear_part_is_the_finite_difference_of_the_gradient() -> None:
    network, x, y = convolutional()
    found, _, before, state = measured(network, F.cross_entropy, x, y, 0.05)
    order, updated = execution_order(before, x), dict(network.named_parameters())

    def gradient(step: float) -> Tensor:
        hybrid = copy.deepcopy(before)
        with torch.no_grad():
            for name in order[order.index("1.weight") : order.index("4.weight")]:
                old = hybrid.get_parameter(name)
                old += step * (updated[name] - old)
        torch.set_rng_state(state)
        F.cross_entropy(hybrid(x), y).backward()
        return hybrid.get_parameter("9.weight").grad

    slope = (gradient(1e-4) - gradient(-1e-4)) / 2e-4
    origin = found[1, 3]
    assert origin.linear_l2 == pytest.approx(slope.norm().item(), rel=1e-6)
    part = gradient(1.0) - gradient(0.0)
    assert origin.linear_error == pytest.approx(((part - slope).norm() / part.norm()).item(), rel=1e-5)
    assert origin.linear_cosine == pytest.approx(F.cosine_similarity(part.flatten(), slope.flatten(), 0).item())


def test_the_closed_form_of_a_deep_linear_network() -> None:
    """L = ½‖W_k⋯W_1 X − Y‖²; see docs/method.md."""
    network, x, y = linear()
    found, _, before, _ = measured(network, half_squared, x, y, 1e-3)
    old = [module.weight.detach() for module in before]
    new = [module.weight.detach() for module in network]

    def gradient(weights: list[Tensor], layer: int) -> Tensor:
        """∂L/∂W_i = (W_k⋯W_{i+1})ᵀ (W_k⋯W_1 X − Y) (W_{i−1}⋯W_1 X)ᵀ, with X (d, N)."""
        below = x.T
        for weight in weights[:layer]:
            below = weight @ below
        above = torch.eye(3)
        for weight in weights[layer + 1 :]:
            above = weight @ above
        return above.T @ (above @ weights[layer] @ below - y.T) @ below.T

    for layer in range(1, 4):
        g = gradient(old, layer)
        whole = gradient([*new[:layer], *old[layer:]], layer) - g
        parts = [gradient([*old[:j], new[j], *old[j + 1 :]], layer) - g for j in range(layer)]
        for cause, part in enumerate(parts, start=1):
            assert found[cause, layer + 1].l2 == pytest.approx(part.norm().item(), rel=1e-8)
        rest = (whole - sum(parts)).norm() / whole.norm()
        assert found[ALL, layer + 1].interaction == pytest.approx(rest.item(), rel=1e-6, abs=1e-12)
        shares = [found[cause, layer + 1].share for cause in range(1, layer + 1)]
        assert sum(shares) == pytest.approx(1, abs=2 * rest.item() + 1e-12)


@pytest.mark.parametrize("name", ["interaction", "linear_error"])
def test_what_is_beyond_the_sum_and_beyond_the_line_shrinks_with_the_step(name: str) -> None:
    sizes = []
    for lr in (1e-4, 1e-5):
        torch.manual_seed(3)
        found, *_ = measured(*_with_loss(linear()), lr)
        sizes.append(getattr(found[ALL, 4], name))
    assert sizes[0] / sizes[1] == pytest.approx(10, rel=0.05)


def _with_loss(case: tuple[nn.Module, Tensor, Tensor]) -> tuple[nn.Module, object, Tensor, Tensor]:
    network, x, y = case
    return network, half_squared, x, y


def test_the_size_of_the_update_is_that_of_what_moves() -> None:
    network, x, y = linear()
    found, _, before, _ = measured(network, half_squared, x, y, 1e-3)
    moved = (network[1].weight - before[1].weight).norm() / before[1].weight.norm()
    assert found[2, 4].relative_update == pytest.approx(moved.item(), rel=1e-12)
    for origin, blocks in ((found[2, 4], [1]), (found[ALL, 3], [0, 1])):
        hybrid = nn.Sequential(*(network[i] if i in blocks else before[i] for i in range(4)))
        change = (hybrid(x) - before(x)).square().mean().sqrt()
        assert origin.output_change == pytest.approx(change.item(), rel=1e-9)


def test_outputs_without_numbers_have_no_change() -> None:
    network, x, y = linear()
    wrapped = Wrapped(network)
    found, *_ = measured(wrapped, lambda outputs, y: half_squared(outputs.values, y), x, y, 1e-3)
    assert math.isnan(found[1, 4].output_change) and found[1, 4].l2 > 0


class Opaque:
    """Outputs in a class of one's own, which nobody can look into."""

    def __init__(self, values: Tensor) -> None:
        self.values = values


class Wrapped(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Opaque:
        return Opaque(self.network(x))


def test_measuring_the_origins_changes_nothing() -> None:
    trained = []
    for with_origins in (False, True):
        torch.manual_seed(5)
        network, x, y = convolutional()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
        step = measured_step(network, x, y, F.cross_entropy, optimizer.step, count=3, origins=with_origins)
        assert bool(step.shift.origins) == with_origins
        trained.append([tensor.clone() for tensor in network.state_dict().values()] + [torch.get_rng_state()])
    assert all(map(torch.equal, *trained))


class NoSecondDerivative(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        return gradient.clone()


class Once(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return NoSecondDerivative.apply(x)


class Attention(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x[None, None]
        with nn.attention.sdpa_kernel(nn.attention.SDPBackend.FLASH_ATTENTION):
            return F.scaled_dot_product_attention(x, x, x)[0, 0]


@pytest.mark.parametrize("operation", [Once(), Attention()], ids=["once_differentiable", "not implemented"])
def test_a_model_without_second_derivative_keeps_the_rest(operation: nn.Module) -> None:
    network, x, y = linear()
    network.insert(2, operation)  # type: ignore[operator]
    with pytest.warns(UserWarning, match="the shift's linear part is not measured: .*derivative"):
        found, *_ = measured(network, half_squared, x, y, 1e-3)
    assert found[1, 4].l2 > 0
    assert math.isnan(found[1, 4].linear_l2) and math.isnan(found[ALL, 4].linear_error)


def test_the_example_of_the_docs() -> None:
    """L = ½(w₂w₁)², w₁ from 2 to 1; see docs/method.md."""
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        network[0].weight.fill_(2)
        network[1].weight.fill_(3)
    update = partial(nn.init.constant_, network[0].weight, 1.0)
    step = measured_step(network, torch.ones(1, 1), torch.zeros(1, 1), half_squared, update, origins=True)
    one, together = step.shift.origins
    assert (one.l2, one.share, one.linear_l2, together.interaction) == (9, 1, 12, 0)
    assert one.linear_error == pytest.approx(1 / 3)
