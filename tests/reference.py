"""The slow, obvious definition: k full forward and backward passes on deep copies. The oracle of the probe's tests."""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ics import ShiftProbe

Layers = Sequence[tuple[str, Sequence[str], Sequence[str]]]
"""Of each layer: its name, the names of W_i, the names of all parameters that come before it and move."""


def cross_entropy(out: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(out, y)


def forward(model: nn.Module, x: Any) -> Any:
    if isinstance(x, Mapping):
        return model(**x)
    return model(*x) if isinstance(x, tuple) else model(x)


def shifted_gradients(
    old: nn.Module,
    new: nn.Module,
    loss_fn: Callable[[Any, Any], Tensor],
    x: Any,
    y: Any,
    layers: Layers,
    random_state: Tensor,
) -> dict[str, tuple[Tensor, ...]]:
    """G' of every layer by Definition 2.1.

    Args:
        old: the model with the parameters before the update, W(t), and the buffers the passes start from.
        new: the model with the parameters after it, W(t + 1).
        random_state: the CPU generator's state before the training pass.

    Returns:
        layer name → gradients of the tensors of W_i.
    """
    result = {}
    kept = torch.get_rng_state()
    updated = dict(new.named_parameters())
    for name, own, before in layers:
        hybrid = copy.deepcopy(old)
        parameters = dict(hybrid.named_parameters())
        with torch.no_grad():
            for parameter in before:
                parameters[parameter].copy_(updated[parameter])
        torch.set_rng_state(random_state)
        hybrid.zero_grad()
        loss_fn(forward(hybrid, x), y).backward()
        result[name] = tuple(
            torch.zeros_like(parameters[n]) if parameters[n].grad is None else parameters[n].grad for n in own
        )
    torch.set_rng_state(kept)
    return result


class FirstTouch(TorchDispatchMode):
    """Order in which kernels first touch each parameter: found below autograd, unlike the probe's own way."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.names = {id(parameter): name for name, parameter in model.named_parameters()}
        self.order: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            name = self.names.get(id(leaf))
            if name is not None and name not in self.order:
                self.order.append(name)
        return func(*args, **(kwargs or {}))


def execution_order(model: nn.Module, x: Any) -> list[str]:
    """Names of the parameters in order of first use, from a pass on a copy."""
    copied = copy.deepcopy(model)
    kept = torch.get_rng_state()
    with FirstTouch(copied) as touch:
        forward(copied, x)
    torch.set_rng_state(kept)
    return touch.order


def layers_of(probe_layers: Iterable[Any], model: nn.Module, order: list[str], moved: str = "all") -> Layers:
    """The measured layers, and what comes before each in the order of execution.

    Of a layer's own module nothing moves that is registered later: its bias is used with it, in one kernel.
    """
    names = [name for name, _ in model.named_parameters()]
    owns = {
        layer.name: [name for name, p in model.named_parameters() if any(p is q for q in layer.parameters)]
        for layer in probe_layers
    }
    weights = {name for own in owns.values() for name in own}
    found = []
    for layer, own in owns.items():
        module = own[0].rpartition(".")[0]
        beside = {name for name in names[names.index(own[0]) :] if name.rpartition(".")[0] == module}
        before = [name for name in order[: min(map(order.index, own))] if name not in beside]
        found.append((layer, own, [name for name in before if moved == "all" or name in weights]))
    return found


def trainable(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def sgd(model: nn.Module, lr: float = 0.1, **options: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(trainable(model), lr, **options)  # type: ignore[arg-type]


def targets(x: Any) -> Tensor:
    first = x if isinstance(x, Tensor) else next(iter(x.values() if isinstance(x, dict) else x))
    return torch.randint(0, 4, (len(first),))


@dataclass
class Measured:
    """A step that was measured, and what the definition needs of it."""

    y: Any
    old: nn.Module
    """Before the pass."""
    random_state: Tensor
    """Of the CPU's generator, before the pass."""
    g: dict[str, Tensor]
    """What the backward pass left, by parameter."""
    probe: ShiftProbe
    shift: Any

    @property
    def rows(self) -> list[Any]:
        rows: list[Any] = self.shift.rows
        return rows


def measured_steps(
    model: nn.Module,
    x: Any,
    y: Any = None,
    loss_fn: Callable[[Any, Any], Tensor] = cross_entropy,
    update: Callable[[], object] | None = None,
    count: int = 1,
    origins: bool = False,
    **options: Any,
) -> Iterator[Measured]:
    """Train on one batch, each step measured.

    Args:
        y: class indices drawn at random, unless given.
        update: of the parameters; a step of `sgd` unless given.
    """
    y = targets(x) if y is None else y
    update = update or sgd(model).step
    with ShiftProbe(model, loss_fn, **options) as probe:
        for _ in range(count):
            model.zero_grad()
            random_state, old = torch.get_rng_state(), copy.deepcopy(model)
            loss_fn(forward(model, x), y).backward()
            g = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
            with probe.observe(x, y, keep_gradients=True, origins=origins) as shift, torch.no_grad():
                update()
            yield Measured(y, old, random_state, g, probe, shift)


def measured_step(model: nn.Module, x: Any, *rest: Any, **options: Any) -> Measured:
    """The last of some measured steps: of one, unless more are asked for."""
    return list(measured_steps(model, x, *rest, **options))[-1]


def compare_with_definition(
    model: nn.Module,
    x: Any,
    update: Callable[[], object] | None = None,
    loss_fn: Callable[[Any, Any], Tensor] = cross_entropy,
    count: int = 2,
    **options: Any,
) -> Measured:
    """Train; at each step every G and G' must have the definition's bits. Returns the last step."""
    order = execution_order(model, x)
    moved, penalty = options.get("moved", "all"), options.get("penalty", 0.0)
    for step in measured_steps(model, x, None, loss_fn, update, count, **options):
        layers = layers_of(step.probe.layers, model, order, moved)
        expected = shifted_gradients(step.old, model, loss_fn, x, step.y, layers, step.random_state)
        parameters = dict(step.old.named_parameters())
        assert [row.layer for row in step.rows] == [name for name, _, _ in layers]
        assert [row.layer_index for row in step.rows] == list(range(1, len(layers) + 1))
        for name, own, _ in layers:
            w = torch.cat([parameters[n].detach().flatten() for n in own])
            wanted = [step.g[n] for n in own], expected[name]
            for found, tensors in zip(step.shift.gradients[name], wanted, strict=True):
                gradient = torch.cat([t.flatten() for t in tensors])  # of the bare loss; λ‖W‖²/2 adds λW
                assert torch.equal(found.flatten(), gradient + penalty * w if penalty else gradient), name
    return step
