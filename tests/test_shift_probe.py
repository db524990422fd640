"""The probe against the definition, to the bit, on networks made to be awkward; and what it must leave alone."""

import copy
import gc
from collections.abc import Callable
from typing import Any

import pytest
import reference
import torch
from torch import Tensor, nn
from zoo import ZOO, Attention, Noisy, Residual, chain

from ics import ProbeError, ShiftProbe

OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "momentum and decay": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-2),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01, weight_decay=1e-2),
}


def loss_fn(output: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(output, y)


def targets(x: Any) -> Tensor:
    first = x if isinstance(x, Tensor) else next(iter(x.values() if isinstance(x, dict) else x))
    return torch.randint(0, 4, (len(first),))


def trainable(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def own_names(model: nn.Module, layer: Any) -> list[str]:
    return [name for name, p in model.named_parameters() if any(p is q for q in layer.parameters)]


def names_before(model: nn.Module, own: list[str], order: list[str]) -> list[str]:
    """What a pass uses before a layer; of its own module nothing that is registered later: its bias, in one kernel."""
    names = [name for name, _ in model.named_parameters()]
    later = set(names[names.index(own[0]) :])
    beside = {name for name in later if name.rpartition(".")[0] == own[0].rpartition(".")[0]}
    return [name for name in order[: min(order.index(name) for name in own)] if name not in beside]


def compare_with_definition(
    model: nn.Module,
    x: Any,
    optimizer: torch.optim.Optimizer,
    params: Any = "weight",
    steps: int = 2,
) -> None:
    """Train a few steps; at each, every G and G' must have the definition's bits."""
    y = targets(x)
    order = reference.execution_order(model, x)
    with ShiftProbe(model, loss_fn, params=params) as probe:
        for _ in range(steps):
            optimizer.zero_grad()
            start = torch.get_rng_state()
            old = copy.deepcopy(model)
            loss_fn(reference.forward(model, x), y).backward()
            expected_g = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
            with probe.observe(x, y, keep_gradients=True) as shift:
                optimizer.step()
            layers = [
                (layer.name, own := own_names(model, layer), names_before(model, own, order)) for layer in probe.layers
            ]
            expected = reference.shifted_gradients(old, model, loss_fn, x, y, layers, start)
            assert [row.layer for row in shift.rows] == [layer.name for layer in probe.layers]
            assert [row.layer_index for row in shift.rows] == list(range(1, len(shift.rows) + 1))
            for layer, own, _ in layers:
                g, g_shifted = shift.gradients[layer]
                flat = [torch.cat([t.flatten() for t in ts]) for ts in ([expected_g[n] for n in own], expected[layer])]
                assert torch.equal(g.flatten(), flat[0]), layer
                assert torch.equal(g_shifted.flatten(), flat[1]), layer


@pytest.mark.parametrize("name", ZOO)
def test_gradients_are_the_definitions_to_the_bit(name: str) -> None:
    make_model, make_x = ZOO[name]
    model = make_model()
    compare_with_definition(model, make_x(), OPTIMIZERS["momentum and decay"](trainable(model)))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("params", ["weight", "all"])
def test_every_optimizer_and_choice_of_parameters(optimizer: str, params: str) -> None:
    model = Residual()
    compare_with_definition(model, torch.randn(4, 3, 8, 8), OPTIMIZERS[optimizer](trainable(model)), params)


@pytest.mark.parametrize("mode", ["eval", "autocast"])
def test_other_modes(mode: str) -> None:
    model, x, y = chain(), torch.randn(16, 6), torch.randint(0, 4, (16,))
    if mode == "eval":
        model.eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with ShiftProbe(model, loss_fn) as probe:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mode == "autocast"):
            loss = loss_fn(model(x), y)
        loss.backward()
        with probe.observe(x, y) as shift:  # outside of autocast, as training loops have it
            optimizer.step()
    assert shift.rows[0].l2 == 0
    assert shift.rows[0].cosine == 1
    assert all(row.l2 > 0 for row in shift.rows[1:])


def train(
    measured: bool, make_model: Callable[[], nn.Module], x: Any, **options: Any
) -> tuple[nn.Module, dict[str, Any]]:
    torch.manual_seed(7)
    model, y = make_model(), targets(x)
    optimizer = torch.optim.SGD(trainable(model), lr=0.05, momentum=0.9)
    probe = ShiftProbe(model, loss_fn, **options) if measured else None
    for _ in range(3):
        optimizer.zero_grad()
        loss_fn(reference.forward(model, x), y).backward()
        if probe:
            with probe.observe(x, y):
                optimizer.step()
        else:
            optimizer.step()
    if probe:
        probe.close()
    return model, {
        "model": model.state_dict(),
        "gradients": [p.grad for p in model.parameters()],
        "random": torch.get_rng_state(),
        "momentum": [state["momentum_buffer"] for state in optimizer.state.values()],
    }


def leaves(tree: Any) -> list[Any]:
    return torch.utils._pytree.tree_leaves(tree)


@pytest.mark.parametrize("noise", ["same", "fresh"])
@pytest.mark.parametrize("name", ZOO)
def test_measuring_changes_nothing(name: str, noise: str) -> None:
    make_model, make_x = ZOO[name]
    x = make_x()
    _, plain = train(False, make_model, x)
    model, measured = train(True, make_model, x, noise=noise)
    for a, b in zip(leaves(plain), leaves(measured), strict=True):
        assert a is b or torch.equal(a, b)
    for module in model.modules():
        assert "forward" not in module.__dict__
        assert not module._forward_pre_hooks
        assert not module._forward_hooks


def test_buffers_and_parameters_are_not_even_written_to() -> None:
    model, x, y = Residual(), torch.randn(4, 3, 8, 8), torch.randint(0, 4, (4,))
    with ShiftProbe(model, loss_fn) as probe:
        loss_fn(model(x), y).backward()
        tensors = [*model.parameters(), *model.buffers()]
        before = [(t._version, t.data_ptr(), id(t)) for t in tensors]
        with probe.observe(x, y):
            pass
        assert before == [(t._version, t.data_ptr(), id(t)) for t in [*model.parameters(), *model.buffers()]]


def observe_once(model: nn.Module, x: Any, y: Any, **options: Any) -> list[Any]:
    optimizer = torch.optim.SGD(trainable(model), lr=0.1)
    with ShiftProbe(model, loss_fn, **options) as probe:
        optimizer.zero_grad()
        loss_fn(reference.forward(model, x), y).backward()
        with probe.observe(x, y) as shift:
            optimizer.step()
        return shift.rows


def test_the_first_layer_never_shifts_and_nothing_shifts_without_an_update() -> None:
    x, y = torch.randn(8, 6), torch.randint(0, 4, (8,))
    rows = observe_once(chain(), x, y)
    assert (rows[0].l2, rows[0].cosine, rows[0].relative_l2) == (0.0, 1.0, 0.0)
    model = chain()
    with ShiftProbe(model, loss_fn) as probe:
        loss_fn(model(x), y).backward()
        with probe.observe(x, y) as shift:
            pass
    assert all((row.l2, row.cosine) == (0.0, 1.0) for row in shift.rows)


def test_fresh_noise_moves_even_the_first_layer_and_the_same_noise_does_not() -> None:
    x, y = torch.randn(8, 6), torch.randint(0, 4, (8,))
    model = Noisy()
    assert observe_once(copy.deepcopy(model), x, y, noise="same")[0].l2 == 0
    assert observe_once(copy.deepcopy(model), x, y, noise="fresh")[0].l2 > 0


def test_a_zero_gradient_gives_no_cosine() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 4))
    with torch.no_grad():
        model[0].bias.fill_(-100.0)  # a dead layer
    rows = observe_once(model, torch.randn(5, 3), torch.randint(0, 4, (5,)))
    assert rows[0].l2 == 0
    assert rows[0].cosine != rows[0].cosine
    assert rows[0].relative_l2 != rows[0].relative_l2


def test_a_closed_form() -> None:
    """L = ½(w₂w₁x)²: G₂ = w₂w₁²x², and after w₁ ← w₁ − ηG₁, G'₂ = w₂(w₁ − ηG₁)²x²."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    with torch.no_grad():
        model[0].weight.fill_(2.0)
        model[1].weight.fill_(3.0)
    x = torch.full((1, 1), 1.0, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with ShiftProbe(model, lambda output, y: 0.5 * output.square().sum()) as probe:
        (0.5 * model(x).square().sum()).backward()
        with probe.observe(x, None) as shift:
            optimizer.step()
    g1, g2 = 3.0**2 * 2.0, 3.0 * 2.0**2
    shifted = 3.0 * (2.0 - 0.01 * g1) ** 2
    row = shift.rows[1]
    assert (row.grad_norm, row.shifted_grad_norm) == pytest.approx((g2, shifted))
    assert row.l2 == pytest.approx(g2 - shifted)
    assert row.relative_l2 == pytest.approx((g2 - shifted) / g2)
    assert row.cosine == 1.0


def test_layers_can_be_chosen_by_index_and_by_name() -> None:
    x, y = torch.randn(8, 6), torch.randint(0, 4, (8,))
    model = chain()
    every = observe_once(copy.deepcopy(model), x, y)
    some = observe_once(copy.deepcopy(model), x, y, layers=["12", 2])
    assert some == [every[1], every[4]]
    assert [row.layer_index for row in some] == [2, 5]


def test_layers_are_known_after_the_first_measurement_and_count_in_order_of_execution() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.last(self.first(x))

    probe, x, y = ShiftProbe(model := Backwards(), loss_fn), torch.randn(8, 4), torch.randint(0, 4, (8,))
    with pytest.raises(ProbeError, match="first measurement"):
        _ = probe.layers
    loss_fn(model(x), y).backward()
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
    with ShiftProbe(model, loss_fn, layers=["auxiliary"]) as probe:
        with torch.no_grad():
            model.eval()(x)
        loss_fn(model.train()(x), y).backward()
        with probe.observe(x, y) as shift:
            pass
    assert [row.layer for row in shift.rows] == ["auxiliary"]


def test_attention_is_measured_where_its_weights_are_used() -> None:
    rows = observe_once(Attention(), torch.randint(0, 11, (4, 5)), torch.randint(0, 4, (4,)))
    assert [row.layer for row in rows] == [
        "encoder.self_attn.in_proj_weight",
        "encoder.self_attn.out_proj",
        "encoder.linear1",
        "encoder.linear2",
        "attend.in_proj_weight",
        "attend.out_proj",
        "out",
    ]
    assert rows[0].l2 > 0  # the embeddings before it have moved


def test_an_error_in_the_block_or_in_the_loss_leaves_everything_in_place() -> None:
    model, x, y = chain(), torch.randn(8, 6), torch.randint(0, 4, (8,))
    probe = ShiftProbe(model, loss_fn)
    loss_fn(model(x), y).backward()
    with pytest.raises(ZeroDivisionError), probe.observe(x, y) as shift:
        raise ZeroDivisionError
    assert shift.rows == []
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    probe.loss_fn = lambda output, target: 1 / 0
    with pytest.raises(ZeroDivisionError), probe.observe(x, y):
        pass
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert torch.equal(state, torch.get_rng_state())
    assert not any("forward" in module.__dict__ for module in model.modules())


def test_memory_does_not_grow() -> None:
    model, x, y = Residual(), torch.randn(4, 3, 8, 8), torch.randint(0, 4, (4,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def tensors_after(measurements: int) -> int:
        for _ in range(measurements):
            optimizer.zero_grad()
            loss_fn(model(x), y).backward()
            with probe.observe(x, y):
                optimizer.step()
        gc.collect()
        return sum(isinstance(thing, Tensor) for thing in gc.get_objects())

    with ShiftProbe(model, loss_fn) as probe:
        assert tensors_after(3) == tensors_after(20)


class TestBadInput:
    x, y = torch.randn(8, 6), torch.zeros(8, dtype=torch.long)

    def refused(self, match: str, **options: Any) -> None:
        with pytest.raises(ProbeError, match=match) as error:
            observe_once(chain(), self.x, self.y, **options)
        assert "\n" not in str(error.value)

    def test_a_layer_that_does_not_exist_lists_the_layers(self) -> None:
        self.refused(r"no layer 9; the measurable layers are 1 \(0\), 2 \(3\)", layers=[9])
        self.refused("no layer 'fc'", layers=["fc"])

    def test_unknown_options(self) -> None:
        self.refused("known: same, fresh", noise="some")
        self.refused("known: weight, all", params="bias")

    def test_no_gradients(self) -> None:
        model = chain()
        probe = ShiftProbe(model, loss_fn)
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

    @pytest.mark.parametrize(
        ("layer", "match"),
        [
            (nn.Embedding(3, 4), "no measurable layer"),
            (nn.Linear(6, 4).requires_grad_(False), "no measurable layer"),
        ],
    )
    def test_no_measurable_layer(self, layer: nn.Module, match: str) -> None:
        other = nn.LayerNorm(4)  # something with a gradient
        x = torch.zeros(2, 6, dtype=torch.long if isinstance(layer, nn.Embedding) else torch.float)
        with pytest.raises(ProbeError, match=match):
            observe_once(nn.Sequential(layer, other, nn.Flatten()), x, torch.zeros(2, dtype=torch.long))

    def test_compiled_and_wrapped_models(self) -> None:
        with pytest.raises(ProbeError, match="compiled"):
            ShiftProbe(torch.compile(chain()), loss_fn)
        with pytest.raises(ProbeError, match="'0' is compiled"):
            ShiftProbe(nn.Sequential(torch.compile(chain())), loss_fn)
        with pytest.raises(ProbeError, match="DataParallel"):
            ShiftProbe(nn.DataParallel(chain()), loss_fn)
        with pytest.raises(ProbeError, match="TorchScript"):
            ShiftProbe(torch.jit.script(nn.Linear(2, 2)), loss_fn)
        with pytest.raises(ProbeError, match="must be a torch"):
            ShiftProbe(lambda x: x, loss_fn)  # type: ignore[arg-type]


def test_torchvision_networks() -> None:
    torchvision = pytest.importorskip("torchvision")
    x = torch.randn(2, 3, 32, 32)
    for name in ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_0"):
        model = torchvision.models.get_model(name, num_classes=4, weights=None)
        compare_with_definition(
            model,
            x if "squeeze" not in name else torch.randn(2, 3, 64, 64),
            torch.optim.SGD(model.parameters(), lr=0.01),
            steps=1,
        )
