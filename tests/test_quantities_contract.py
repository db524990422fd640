"""What every registered quantity promises: it measures, and the training goes on as if it had not been there."""

import copy
import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import ics.runs.train  # noqa: F401  # knows the laboratory's quantities, too
from ics import nets
from ics.quantities import QUANTITIES, Quantity, Row, Step
from ics.runs.losses import cross_entropy, squared_error
from ics.shift import ProbeError
from ics.shift.watcher import Hook

STEPS = 4
# Options for a net of three layers, where the defaults are made for a large one.
OPTIONS: dict[str, dict[str, Any]] = {
    "landscape": {"directions": ["gradient", "random"]},
    "sharpness": {"iterations": 4},
}
NAMES = list(QUANTITIES)
# Running statistics that no training pass has moved have nothing to say, and this one says so.
REFUSED = {("train_eval_gap", "evaluation mode")}

Net = Callable[[], nn.Module]


class Dropping(nn.Module):
    """Functional dropout between norm and non-linearity, an in-place ReLU, and a norm that stays in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Linear(8, 8)
        self.fixed = nn.BatchNorm1d(8)
        self.last = nn.Linear(8, 3)
        self.unused = nn.Linear(2, 2)
        self.first.bias.requires_grad_(False)

    def train(self, mode: bool = True) -> "Dropping":
        super().train(mode)
        self.fixed.eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        a = self.relu(functional.dropout(self.norm(self.first(x)), 0.3, self.training))
        return self.last(self.fixed(self.second(a)).sigmoid())


class LossWithState(nn.Module):
    """A loss with a parameter, a buffer and noise of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, outputs: Tensor, y: Tensor) -> Tensor:
        self.calls += 1
        return cross_entropy(outputs * self.temperature + 0.1 * torch.randn_like(outputs), y)


def built(network: dict[str, Any], norm: str, shape: tuple[int, ...], outputs: int = 3) -> Net:
    return lambda: nets.build(network, {"name": norm}, shape, outputs, seed=0)


RESNET = {"name": "resnet", "depth": 8, "width": 0.25}
CASES: dict[str, tuple[Net, tuple[int, ...], bool, Any]] = {
    "standard": (built({"name": "mlp", "hidden": [8]}, "none", (6,)), (6,), True, cross_entropy),
    "noisy_batch": (built({"name": "mlp", "hidden": [8, 8]}, "noisy_batch", (6,)), (6,), True, cross_entropy),
    "convolutions": (built(RESNET, "noisy_batch", (3, 8, 8)), (3, 8, 8), True, cross_entropy),
    "running norms": (built({"name": "mlp", "hidden": [8, 8]}, "l1", (6,)), (6,), True, cross_entropy),
    "linear": (built({"name": "deep_linear", "depth": 4}, "batch", (10,), 10), (10,), True, squared_error),
    "dropout": (Dropping, (6,), True, cross_entropy),
    "evaluation mode": (built({"name": "mlp"}, "batch", (6,)), (6,), False, cross_entropy),
    "loss with state": (built({"name": "mlp", "hidden": [8]}, "batch", (6,)), (6,), True, LossWithState),
}


class Loop:
    """A training loop whose state can be looked at."""

    def __init__(self, case: str, names: list[str]) -> None:
        net, shape, training, loss_fn = CASES[case]
        torch.manual_seed(0)
        self.model = net().train(training)
        self.loss_fn = loss_fn() if isinstance(loss_fn, type) else loss_fn
        self.roots = [root for root in (self.model, self.loss_fn) if isinstance(root, nn.Module)]
        parameters = [p for root in self.roots for p in root.parameters()]
        self.optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=0.01)
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(3, 12, *shape, generator=generator)
        regression = self.loss_fn is squared_error
        self.y = self.x.flip(-1) if regression else torch.randint(3, (3, 12), generator=generator)
        self.number = 0
        self.quantities = {name: self.build(name) for name in names}

    def build(self, name: str) -> Quantity:
        return QUANTITIES.build({"name": name, **OPTIONS.get(name, {})}, model=self.model, loss_fn=self.loss_fn)

    def step(self) -> dict[str, list[Row]]:
        x, y = self.x[self.number % 3], self.y[self.number % 3]
        self.optimizer.zero_grad()
        loss = self.loss_fn(self.model(x), y)
        loss.backward()
        with ExitStack() as stack:
            step = Step(self.number, x, y, loss.item(), 0.05, lambda: x)
            rows = {name: stack.enter_context(quantity.observe(step)) for name, quantity in self.quantities.items()}
            self.optimizer.step()
        self.number += 1
        return copy.deepcopy(rows)

    def close(self) -> None:
        for quantity in self.quantities.values():
            quantity.close()

    def tensors(self) -> Iterator[tuple[str, Tensor | None]]:
        for root in self.roots:
            for name, p in root.named_parameters():
                yield f"parameter {name}", p.detach()
                yield f"gradient of {name}", p.grad
                yield f"momentum of {name}", self.optimizer.state[p].get("momentum_buffer")
            for name, buffer in root.named_buffers():
                yield f"buffer {name}", buffer
        yield "random state", torch.get_rng_state()

    def marks(self) -> dict[str, Any]:
        """What must not change although it is no tensor's value: modes, hooks, the very tensors and their memory."""
        found: dict[str, Any] = {"grad enabled": torch.is_grad_enabled()}
        for root in self.roots:
            for name, module in root.named_modules():
                hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
                found[f"module {name}"] = module.training, *map(len, hooks), "forward" in module.__dict__
            for name, p in [*root.named_parameters(), *root.named_buffers()]:
                found[f"tensor {name}"] = id(p), p.data_ptr(), p.requires_grad
        return found


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_training_is_bit_identical_with_and_without(name: str, case: str) -> None:
    if (name, case) in REFUSED:
        pytest.skip("says that it cannot measure this")
    plain = Loop(case, [])
    states = []
    for _ in range(STEPS):
        plain.step()
        states.append([None if t is None else t.clone() for _, t in plain.tensors()])
    measured = Loop(case, [name])
    marks: dict[str, Any] = {}
    for step, state in enumerate(states):
        measured.step()
        marks = marks or measured.marks()  # from the first step on, for which a quantity may watch more
        for (what, tensor), expected in zip(measured.tensors(), state, strict=True):
            assert (tensor is None) == (expected is None), what
            assert tensor is None or torch.equal(tensor, expected), f"{what} after step {step}"
    assert measured.marks() == marks
    modes = [module.training for root in plain.roots for module in root.modules()]
    assert modes == [module.training for root in measured.roots for module in root.modules()]


@pytest.mark.parametrize("name", NAMES)
def test_rows_fit_the_table(name: str) -> None:
    for case in [case for case in CASES if (name, case) not in REFUSED]:
        loop = Loop(case, [name])
        table = loop.quantities[name].table
        assert table.key[0] == "step" and set(table.key) <= set(table.header)
        assert len({column.name for column in table.columns}) == len(table.columns)
        for number in range(2):
            rows = [{"step": number, **row} for row in loop.step()[name]]
            assert rows or case != "noisy_batch"
            assert all(len(table.format(row)) == len(table.header) for row in rows)
            keys = [tuple(row[column] for column in table.key) for row in rows]
            assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("name", NAMES)
def test_no_hook_is_left_after_closing(name: str) -> None:
    for steps in (0, 2):
        without = Loop("dropout", []).marks()
        loop = Loop("dropout", [name])
        for _ in range(steps):
            loop.step()
        loop.close()
        left = {what: mark for what, mark in loop.marks().items() if not what.startswith("tensor")}
        assert left == {what: mark for what, mark in without.items() if not what.startswith("tensor")}


def test_quantities_share_one_watcher_of_the_training_pass() -> None:
    loop = Loop("running norms", NAMES)
    assert [type(hook) for hook in loop.model._forward_pre_hooks.values()].count(Hook) == 1
    first, *others = loop.quantities.values()
    first.close()
    first.close()
    loop.quantities = dict(zip(NAMES[1:], others, strict=True))
    assert loop.step()["shift"]
    loop.close()
    assert not loop.model._forward_pre_hooks


@pytest.mark.parametrize("case", ["noisy_batch", "running norms"])
def test_no_tensors_pile_up(case: str) -> None:
    def alive() -> int:
        gc.collect()
        return sum(issubclass(type(o), Tensor) for o in gc.get_objects())

    loop = Loop(case, NAMES)
    for _ in range(3):
        loop.step()
    before = alive()
    for _ in range(5):
        loop.step()
    assert alive() == before


@pytest.mark.parametrize("case", ["noisy_batch", "dropout", "running norms"])
def test_quantities_do_not_see_each_other(case: str) -> None:
    def rows(names: list[str]) -> list[dict[str, list[Row]]]:
        loop = Loop(case, names)
        return [loop.step() for _ in range(3)]

    together, reverse = rows(NAMES), rows(NAMES[::-1])
    for name in NAMES:
        for step, alone in enumerate(rows([name])):
            for others in (together, reverse):
                assert repr(alone[name]) == repr(others[step][name]), name  # repr: nan is not equal to itself


@pytest.mark.parametrize("name", NAMES)
def test_resuming_changes_no_row(name: str) -> None:
    """A quantity keeps nothing from step to step: one that is built in the middle of training finds the same."""
    whole = Loop("noisy_batch", [name])
    expected = [whole.step() for _ in range(4)]
    resumed = Loop("noisy_batch", [])
    for _ in range(2):
        resumed.step()
    resumed.quantities = {name: resumed.build(name)}
    for rows in expected[2:]:
        assert repr(resumed.step()) == repr(rows)


@pytest.mark.parametrize("name", ["landscape", "sharpness"])
def test_gradients_are_needed(name: str) -> None:
    loop = Loop("standard", [name])
    step = Step(0, loop.x[0], loop.y[0], 0.0, 0.1, lambda: loop.x[1])
    with pytest.raises(ProbeError, match=r"loss\.backward"), loop.quantities[name].observe(step):
        pass


@pytest.mark.parametrize("name", NAMES)
def test_an_error_inside_the_block_leaves_nothing_behind(name: str) -> None:
    loop = Loop("dropout", [name])
    loss = loop.loss_fn(loop.model(loop.x[0]), loop.y[0])
    loss.backward()
    marks = loop.marks()
    before = [(what, None if tensor is None else tensor.clone()) for what, tensor in loop.tensors()]
    step = Step(0, loop.x[0], loop.y[0], loss.item(), 0.05, lambda: loop.x[1])
    with pytest.raises(ZeroDivisionError), loop.quantities[name].observe(step) as rows:
        raise ZeroDivisionError
    assert name not in ("shift", "origins") or rows == []  # others know theirs before the update
    assert loop.marks() == marks
    for (what, tensor), (_, expected) in zip(loop.tensors(), before, strict=True):
        assert tensor is expected is None or torch.equal(tensor, expected), what
    assert loop.step()[name]
