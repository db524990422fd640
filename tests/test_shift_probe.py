"""The probe against the definition, to the bit, on networks made to be awkward; and what it must leave alone."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import reference
import torch
import torchvision
from reference import compare_with_definition, cross_entropy, measured_step, sgd, targets
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from zoo import ZOO, Noisy, Residual, chain

from ics import ProbeError, ShiftProbe


@pytest.mark.parametrize("params", ["weight", "all"])
@pytest.mark.parametrize("name", ZOO)
def test_gradients_are_the_definitions_to_the_bit(name: str, params: str) -> None:
    make_model, make_x = ZOO[name]
    model = make_model()
    compare_with_definition(model, make_x(), sgd(model, 0.05, momentum=0.9, weight_decay=1e-2).step, params=params)


def train(measured: bool, make_model: Callable[[], nn.Module], x: Any, **options: Any) -> tuple[nn.Module, list[Any]]:
    """A model, and all that measuring must leave alone."""
    torch.manual_seed(7)
    model, y = make_model(), targets(x)
    optimizer = sgd(model, 0.05, momentum=0.9)
    if measured:
        measured_step(model, x, y, update=optimizer.step, count=3, **options)
    else:
        for _ in range(3):
            optimizer.zero_grad()
            cross_entropy(reference.forward(model, x), y).backward()
            optimizer.step()
    momentum = [state["momentum_buffer"] for state in optimizer.state.values()]
    return model, [model.state_dict(), [p.grad for p in model.parameters()], momentum, torch.get_rng_state()]


@pytest.mark.parametrize("noise", ["same", "fresh"])
@pytest.mark.parametrize("name", ZOO)
def test_measuring_changes_nothing(name: str, noise: str) -> None:
    make_model, make_x = ZOO[name]
    x = make_x()
    _, plain = train(False, make_model, x)
    model, measured = train(True, make_model, x, noise=noise)
    for a, b in zip(*map(tree_leaves, (plain, measured)), strict=True):
        assert a is b or torch.equal(a, b)
    for module in model.modules():
        assert "forward" not in module.__dict__
        assert not module._forward_pre_hooks
        assert not module._forward_hooks


def test_buffers_and_parameters_are_not_even_written_to() -> None:
    model, x, y = Residual(), torch.randn(4, 3, 8, 8), torch.randint(0, 4, (4,))
    with ShiftProbe(model, cross_entropy) as probe:
        cross_entropy(model(x), y).backward()
        tensors = [*model.parameters(), *model.buffers()]
        before = [(t._version, t.data_ptr(), id(t)) for t in tensors]
        with probe.observe(x, y):
            pass
        assert before == [(t._version, t.data_ptr(), id(t)) for t in [*model.parameters(), *model.buffers()]]


def test_the_first_layer_never_shifts_and_nothing_shifts_without_an_update() -> None:
    x = torch.randn(8, 6)
    first = measured_step(chain(), x).rows[0]
    assert (first.l2, first.cosine, first.relative_l2) == (0.0, 1.0, 0.0)
    assert all((row.l2, row.cosine) == (0.0, 1.0) for row in measured_step(chain(), x, update=list).rows)


def test_fresh_noise_moves_even_the_first_layer_and_the_same_noise_does_not() -> None:
    found = {noise: measured_step(Noisy(), torch.randn(8, 6), noise=noise).rows[0].l2 for noise in ("same", "fresh")}
    assert found["same"] == 0 < found["fresh"]


def test_a_zero_gradient_gives_no_cosine() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 4))
    with torch.no_grad():
        model[0].bias.fill_(-100.0)  # a dead layer
    row = measured_step(model, torch.randn(5, 3)).rows[0]
    assert row.l2 == 0
    assert math.isnan(row.cosine) and math.isnan(row.relative_l2)


@pytest.mark.parametrize(("moved", "shifted"), [("all", 3.0 * 1.5**2), ("weights", 3.0 * 2.0**2)])
def test_a_closed_form(moved: str, shifted: float) -> None:
    """L = ½(w₂(w₁x + b))²: G₂ = w₂(w₁x + b)²; whether b moves with w₁ decides G'₂ = w₂(w₁'x + b')²."""
    model = nn.Sequential(nn.Linear(1, 1), nn.Linear(1, 1, bias=False)).double()

    def put(*values: float) -> None:
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), values, strict=True):
                parameter.fill_(value)

    put(2.0, 1.0, 3.0)
    half_square = lambda out, y: 0.5 * out.square().sum()  # noqa: E731
    x, g = torch.ones(1, 1, dtype=torch.float64), 3.0 * 3.0**2
    row = measured_step(model, x, None, half_square, update=lambda: put(1.0, 0.5, 5.0), moved=moved).rows[1]
    assert (row.grad_norm, row.shifted_grad_norm, row.l2, row.cosine) == (g, shifted, g - shifted, 1.0)
    assert row.relative_l2 == pytest.approx((g - shifted) / g)


@pytest.mark.parametrize("moved", ["all", "weights"])
def test_layers_can_be_chosen_and_the_others_move_all_the_same(moved: str) -> None:
    x, y, model = torch.randn(8, 6), torch.randint(0, 4, (8,)), chain()
    every = measured_step(copy.deepcopy(model), x, y, moved=moved).rows
    some = measured_step(copy.deepcopy(model), x, y, moved=moved, layers=["12", 2]).rows
    assert some == [every[1], every[4]]
    assert [row.layer_index for row in some] == [2, 5]


def test_layers_are_known_after_the_first_measurement_and_count_in_order_of_execution() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x))

    probe, x, y = ShiftProbe(model := Backwards(), cross_entropy), torch.randn(8, 4), torch.randint(0, 4, (8,))
    with pytest.raises(ProbeError, match="first measurement"):
        _ = probe.layers
    cross_entropy(model(x), y).backward()
    with probe.observe(x, y):
        pass
    assert [(layer.index, layer.name) for layer in probe.layers] == [(1, "first"), (2, "last")]


def test_an_evaluation_that_leaves_layers_out_does_not_decide() -> None:
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.auxiliary = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.main(x)
            return x + self.auxiliary(x) if self.training else x

    model = Auxiliary()
    x, y = torch.randn(8, 4), torch.randint(0, 4, (8,))
    with ShiftProbe(model, cross_entropy, layers=["auxiliary"]) as probe:
        with torch.no_grad():
            model.eval()(x)
        cross_entropy(model.train()(x), y).backward()
        with probe.observe(x, y) as shift:
            pass
    assert [row.layer for row in shift.rows] == ["auxiliary"]


class TestBadInput:
    x, y = torch.randn(8, 6), torch.zeros(8, dtype=torch.long)

    def refused(self, match: str, **options: Any) -> None:
        with pytest.raises(ProbeError, match=match) as error:
            measured_step(chain(), self.x, self.y, **options)
        assert "\n" not in str(error.value)

    def test_a_layer_that_does_not_exist_lists_the_layers(self) -> None:
        self.refused(r"no layer 9; the measurable layers are 1 \(0\), 2 \(3\)", layers=[9])
        self.refused("no layer 'fc'", layers=["fc"])

    def test_unknown_options(self) -> None:
        self.refused("known: same, fresh", noise="some")
        self.refused("known: weight, all", params="bias")
        self.refused("moved='some' is unknown; known: all, weights", moved="some")
        self.refused("penalty=-1 is no coefficient", penalty=-1)

    def test_no_gradients(self) -> None:
        model = chain()
        probe = ShiftProbe(model, cross_entropy)
        with pytest.raises(ProbeError, match="no forward pass"), probe.observe(self.x, self.y):
            pass
        model(self.x)
        with pytest.raises(ProbeError, match="backward"), probe.observe(self.x, self.y):
            pass
        probe.close()
        with pytest.raises(ProbeError, match="closed"), probe.observe(self.x, self.y):
            pass

    def test_a_loss_that_is_no_scalar(self) -> None:
        model = chain()
        with ShiftProbe(model, lambda output, y: output) as probe:
            model(self.x).sum().backward()
            with pytest.raises(ProbeError, match=r"shape \(8, 4\)"), probe.observe(self.x, self.y):
                pass

    @pytest.mark.parametrize("layer", [nn.Embedding(3, 4), nn.Linear(6, 4).requires_grad_(False)])
    def test_no_measurable_layer(self, layer: nn.Module) -> None:
        x = torch.zeros(2, 6, dtype=torch.long if isinstance(layer, nn.Embedding) else torch.float)
        with pytest.raises(ProbeError, match="no measurable layer"):
            measured_step(nn.Sequential(layer, nn.LayerNorm(4), nn.Flatten()), x)  # the norm has a gradient

    def test_compiled_and_wrapped_models(self) -> None:
        for model, match in [
            (torch.compile(chain()), "compiled"),
            (nn.Sequential(torch.compile(chain())), "'0' is compiled"),
            (nn.DataParallel(chain()), "DataParallel"),
            (torch.jit.script(nn.Linear(2, 2)), "TorchScript"),
            (lambda x: x, "must be a torch"),
        ]:
            with pytest.raises(ProbeError, match=match):
                ShiftProbe(model, cross_entropy)  # type: ignore[arg-type]


def test_an_error_in_the_block_or_in_the_loss_leaves_everything_in_place() -> None:
    model, x, y = chain(), torch.randn(8, 6), torch.randint(0, 4, (8,))
    probe = ShiftProbe(model, cross_entropy)
    cross_entropy(model(x), y).backward()
    with pytest.raises(ZeroDivisionError), probe.observe(x, y) as shift:
        raise ZeroDivisionError
    assert shift.rows == []
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    probe.loss_fn = lambda output, target: 1 / 0
    said = r"cannot be run again \(ZeroDivisionError: division by zero\)"
    with pytest.raises(ProbeError, match=said), probe.observe(x, y):
        pass
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert not any("forward" in module.__dict__ for module in model.modules())


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small"])
def test_torchvision_networks(name: str) -> None:
    model = torchvision.models.get_model(name, num_classes=4, weights=None)
    compare_with_definition(model, torch.randn(2, 3, 32, 32), sgd(model, 0.01).step, count=1)
