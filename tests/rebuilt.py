"""The definition on rebuilt models, for those that no deep copy can catch, and an unmeasured twin of any training.

A training is a function of the seed. For every G' the whole of it is done again, without any probe, up to the step in
question, whose pass then finds the parameters before the layer updated.
"""

import functools
import random
import types
import warnings
from array import array
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import reference
import torch
from reference import cross_entropy
from torch import Tensor, nn

from ics import ProbeError, ShiftProbe

STEPS = 4
HOOKS = {name for name in vars(nn.Module()) if "_hooks" in name}


@dataclass
class Training:
    """A model and the loop that trains it; what is not given is as in any loop."""

    model: nn.Module
    loss_fn: Callable[[Any, Any], Tensor] = cross_entropy
    x: Callable[[], Any] = lambda: torch.randn(6, 4)
    y: Callable[[], Any] = lambda: torch.randint(0, 3, (6,))
    begin: Callable[["Training", int], Any] = lambda self, step: None
    loss: Callable[["Training", Any, Any], Tensor] = lambda self, x, y: self.loss_fn(
        reference.forward(self.model, x), y
    )
    backward: Callable[[Tensor], Any] = Tensor.backward
    then: Callable[["Training", int], Any] = lambda self, step: None
    clear: bool = True
    lr: Callable[[int], float] = lambda step: 0.3
    observed: Callable[[Any], Any] = lambda x: x

    def __post_init__(self) -> None:
        self.optimizer: Any = None

    def passes(self, step: int, prepare: Callable[[], None] = lambda: None) -> tuple[Any, Any]:
        """All of a step before its update."""
        self.begin(self, step)
        ids = [id(p) for p in self.model.parameters()]
        if self.optimizer is None or ids != self.ids:
            self.optimizer, self.ids = torch.optim.SGD(self.model.parameters(), momentum=0.9), ids
        self.optimizer.param_groups[0]["lr"] = self.lr(step)
        x, y = self.x(), self.y()
        if self.clear:
            self.optimizer.zero_grad()
        prepare()
        self.backward(self.loss(self, x, y))
        self.then(self, step)
        return x, y


def start(build: Callable[[], Training]) -> Training:
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    return build()


def values(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def state(training: Training, batch: Any) -> Any:
    """All that measuring must leave alone, in a form that can be compared."""
    generators = torch.get_rng_state(), random.getstate(), np.random.get_state()
    everything = training.model, training.loss_fn, training.optimizer.state_dict(), batch, generators
    return frozen(everything, {})


def frozen(thing: Any, seen: dict[int, Any]) -> Any:
    if isinstance(thing, int | float | complex | str | bytes | None | torch.dtype | type):
        return repr(thing)
    if id(thing) in seen:
        return "seen"
    seen[id(thing)] = thing
    inside = functools.partial(frozen, seen=seen)
    if isinstance(thing, Tensor):
        dense = thing.detach().to_dense() if thing.layout != torch.jagged else thing.detach().values()
        return (
            str(dense.dtype),
            dense.shape,
            None if dense.is_meta else dense.clone().numpy().tobytes(),
            thing.requires_grad,
            inside(thing.grad) if thing.is_leaf else None,
        )
    if isinstance(thing, np.ndarray) and thing.dtype == object:
        return [inside(item) for item in thing.flat]
    if isinstance(thing, np.ndarray | array | bytearray):
        return bytes(thing)
    if isinstance(thing, dict):
        return [(repr(key), inside(value)) for key, value in thing.items() if key not in HOOKS]
    if isinstance(thing, list | tuple | set | deque):
        return [inside(item) for item in thing]
    if isinstance(thing, torch.Generator):
        return inside(thing.get_state())
    if isinstance(thing, np.random.Generator):
        return inside(thing.bit_generator.state)
    if type(thing) is random.Random:
        return inside(thing.getstate())
    if isinstance(thing, functools.partial):
        return inside([thing.func, thing.args, thing.keywords])
    if isinstance(thing, types.MethodType):
        return inside([thing.__self__, thing.__func__])
    if isinstance(thing, types.FunctionType):
        return inside([cell.cell_contents for cell in thing.__closure__ or () if cell != types.CellType()])
    kept = [value for key, value in vars(type(thing)).items() if key.startswith("seen_")]
    return type(thing).__name__, inside(getattr(thing, "__dict__", None)), inside(kept)


def hooks(model: nn.Module) -> list[int]:
    return [len(vars(module)[name] or ()) for module in model.modules() for name in sorted(HOOKS)]


def check(build: Callable[[], Training], steps: int = STEPS, may_refuse: Collection[int] = ()) -> str:
    """Train; each row's G and G' must have the definition's bits, and the training those of its twin.

    Args:
        may_refuse: steps at which there may be an error instead of rows.

    Returns:
        "fast", the names of the layers that were measured by the definition, or "refused: " and the error.
    """
    twin, plain = start(build), []
    for step in range(steps):
        batch = twin.passes(step)
        before = gradients(twin.model)
        twin.optimizer.step()
        plain.append((state(twin, batch), before, values(twin.model)))
    outcome, slow, checks = "fast", set(), []
    measured = start(build)
    with ShiftProbe(measured.model, measured.loss_fn) as probe, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for step in range(steps):
            x, y = measured.passes(step)
            try:
                with probe.observe(measured.observed(x), y, keep_gradients=True) as shift:
                    measured.optimizer.step()
            except ProbeError as error:
                assert step in may_refuse and not shift.rows, error
                outcome = f"refused: {error}"
                if "cannot hold" in outcome:
                    return outcome
            else:
                name_of = {p: name for name, p in measured.model.named_parameters()}
                assert probe.layers and [layer.name for layer in probe.layers] == [row.layer for row in shift.rows]
                for layer in probe.layers:
                    own, moved = ([name_of[p] for p in some] for some in (layer.parameters, layer.before))
                    checks.append((step, own, moved, shift.gradients[layer.name]))
            assert state(measured, (x, y)) == plain[step][0], f"measuring changed the training of step {step}"
    slow = {name for w in caught for name in str(w.message).partition("other bits: ")[2].split(", ") if name}
    assert hooks(measured.model) == hooks(twin.model)
    for step, own, moved, found in checks:
        _, unmoved, after = plain[step]
        for side, wanted in zip(found, (unmoved, shifted(build, step, moved, after)), strict=True):
            parts = [wanted.get(name, torch.zeros_like(after[name])).flatten() for name in own]
            assert torch.equal(side.flatten(), torch.cat(parts)), f"step {step}, {own}"
    return ", ".join(sorted(slow)) or outcome


def shifted(build: Callable[[], Training], step: int, moved: list[str], after: dict[str, Tensor]) -> dict[str, Tensor]:
    """The gradients of step `step` where the parameters in `moved` have their values from after its update."""
    training = start(build)
    for earlier in range(step):
        training.passes(earlier)
        training.optimizer.step()

    def prepare() -> None:
        with torch.no_grad():
            for name, parameter in training.model.named_parameters():
                if name in moved and parameter.requires_grad:
                    parameter.copy_(after[name])

    training.passes(step, prepare)
    return gradients(training.model)
