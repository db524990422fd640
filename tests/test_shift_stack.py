"""Stacked hybrids: right on every chain they take, and used by the probe only where they have the definition's bits."""

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_shift_probe import compare_with_definition
from torch import Tensor, nn

from ics import ShiftProbe, nets
from ics.shift.hybrids import Hybrids
from ics.shift.layers import Layer
from ics.shift.stack import LARGEST, Stack
from ics.shift.state import SwappedParameters


def deep_linear(norm: str) -> nn.Module:
    return nets.build({"name": "deep_linear", "depth": 7}, {"name": norm}, (10,), 10, seed=0)


def mlp(norm: str) -> nn.Module:
    return nets.build({"name": "mlp", "hidden": [9, 8]}, {"name": norm}, (1, 4, 4), 4, seed=0)


CHAINS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "deep linear": (lambda: deep_linear("none"), (64, 10)),
    "deep linear with BN": (lambda: deep_linear("batch"), (64, 10)),
    "images through an MLP": (lambda: mlp("none"), (32, 1, 4, 4)),
    "images through an MLP with BN": (lambda: mlp("batch"), (32, 1, 4, 4)),
    "nested, in place, frozen": (
        lambda: nn.Sequential(
            nn.Sequential(nn.Linear(6, 5), nn.ReLU(inplace=True)),
            nn.Sequential(nn.BatchNorm1d(5, affine=False), nn.Linear(5, 5, bias=False).requires_grad_(False)),
            nn.Tanh(),
            nn.Linear(5, 4),
        ),
        (16, 6),
    ),
}


def shifted(model: nn.Module, new: nn.Module, layers: list[Layer], x: Tensor, y: Tensor, loss_fn: Any) -> Any:
    """(the stack's G', the definition's), for an update from one model's parameters to the other's."""
    stack = Stack.of(model, layers)
    assert stack is not None
    order = [name for name, _ in model.named_parameters()]  # in a chain, that of execution
    names = {p: name for name, p in model.named_parameters()}
    asked = [
        (layer.name, own := [names[p] for p in layer.parameters], order[: order.index(own[0])]) for layer in layers
    ]
    expected = reference.shifted_gradients(copy.deepcopy(model), new, loss_fn, x, y, asked, torch.get_rng_state())
    old = {p: p.detach().clone() for p in model.parameters()}
    for p, updated in zip(model.parameters(), new.parameters(), strict=True):
        p.data = updated.data
    with SwappedParameters(old) as parameters:
        found = stack.gradients(x, lambda outputs: loss_fn(outputs, y), parameters)
    return found, expected


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=6),
    samples=st.integers(2, 9),
    between=st.lists(st.sampled_from(["none", "relu", "tanh", "batch"]), min_size=5, max_size=5),
    bias=st.booleans(),
    params=st.sampled_from(["weight", "all"]),
    seed=st.integers(0, 1000),
)
def test_the_stack_is_the_definition_up_to_rounding(
    sizes: list[int], samples: int, between: list[str], bias: bool, params: str, seed: int
) -> None:
    torch.manual_seed(seed)
    modules: list[nn.Module] = []
    for (wide, narrow), what in zip(pairwise(sizes), between, strict=False):
        modules.append(nn.Linear(wide, narrow, bias=bias))
        after: dict[str, nn.Module] = {"relu": nn.ReLU(), "tanh": nn.Tanh(), "batch": nn.BatchNorm1d(narrow)}
        modules += [after[what]] if what in after else []
    model = nn.Sequential(*modules).double()
    new = copy.deepcopy(model)
    with torch.no_grad():
        for p in new.parameters():
            p.add_(0.1 * torch.randn_like(p))
    linear = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.Linear)]
    layers = [
        Layer(i, name, tuple(m.parameters())[: 2 if params == "all" else 1])
        for i, (name, m) in enumerate(linear, start=1)
        if i % 3 or len(linear) < 3
    ]
    x, y = torch.randn(samples, sizes[0]).double(), torch.randn(samples, sizes[-1]).double()
    found, expected = shifted(model, new, layers, x, y, nn.functional.mse_loss)
    for layer in layers:
        for ours, theirs in zip(found[layer], expected[layer.name], strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-8, atol=1e-10), layer


@pytest.mark.parametrize("params", ["weight", "all"])
@pytest.mark.parametrize("name", CHAINS)
def test_the_probe_keeps_the_definitions_bits_on_chains(name: str, params: Any) -> None:
    make_model, shape = CHAINS[name]
    model = make_model()
    trainable = [p for p in model.parameters() if p.requires_grad]
    compare_with_definition(model, torch.randn(shape), torch.optim.SGD(trainable, lr=0.1), params, steps=4)


def test_the_stack_is_used_where_it_is_exact_and_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_stacks(monkeypatch)
    measure(deep_linear("none"), torch.randn(64, 10), steps=6)
    assert calls == [True] * 5  # the first measurement surveys the model, the second compares, the rest trust it


def test_a_stack_that_rounds_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_stacks(monkeypatch, error=1e-7)
    measure(deep_linear("none"), torch.randn(64, 10), steps=6)
    assert calls == [True]


def test_a_stack_that_is_slower_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_stacks(monkeypatch, slow=True)
    measure(deep_linear("none"), torch.randn(64, 10), steps=6)
    assert calls == [True]


def count_stacks(monkeypatch: pytest.MonkeyPatch, error: float = 0.0, slow: bool = False) -> list[bool]:
    """Notes every use of a stack. Its clock is the number of passes, so that the outcome depends on no machine."""
    calls: list[bool] = []
    clock = [0.0]
    by_stack, by_replay = Hybrids.stacked, Hybrids.replayed

    def stacked(self: Hybrids, *arguments: Any) -> Any:
        calls.append(True)
        clock[0] += 100 if slow else 1
        found: Any = by_stack(self, *arguments)
        return {layer: gradient * (1 + error) for layer, gradient in found.items()}

    def replayed(self: Hybrids, *arguments: Any) -> Any:
        for pair in by_replay(self, *arguments):
            clock[0] += 1
            yield pair

    monkeypatch.setattr(Hybrids, "stacked", stacked)
    monkeypatch.setattr(Hybrids, "replayed", replayed)
    monkeypatch.setattr("ics.shift.hybrids.time.perf_counter", lambda: clock[0])
    return calls


def measure(model: nn.Module, x: Tensor, steps: int) -> None:
    y = torch.randn(len(x), 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    with ShiftProbe(model, nn.functional.mse_loss) as probe:
        for _ in range(steps):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()  # type: ignore[no-untyped-call]
            with probe.observe(x, y):
                optimizer.step()


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 4)),
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4, 4)),
        nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4)),
        nn.Sequential(*[nn.Linear(4, 4)] * 2),  # one module twice
        nn.ModuleList([nn.Linear(4, 4)]),
    ],
    ids=["dropout", "convolution", "layer norm", "twice", "no chain"],
)
def test_what_is_no_chain_is_not_stacked(model: nn.Module) -> None:
    assert Stack.of(model, []) is None


def test_a_chain_is_stacked_only_when_small_and_in_training() -> None:
    model = deep_linear("batch")
    linear = [m for m in model if isinstance(m, nn.Linear)]  # type: ignore[attr-defined]
    stack = Stack.of(model, [Layer(i, str(i), tuple(m.parameters())) for i, m in enumerate(linear, start=1)])
    assert stack is not None
    assert stack.suits(torch.randn(64, 10))
    assert not stack.suits(torch.empty(LARGEST // 64, 10))
    assert not stack.suits((torch.randn(64, 10),))
    assert not stack.suits(torch.randn(64, 3, 10))
    assert not (model.eval() and stack.suits(torch.randn(64, 10)))
