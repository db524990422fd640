"""Quantities that run the training pass again, and where in it the values of layers are looked at.

The layers are those of `ShiftProbe`, under the same numbers. Of each, the first call counts, and one of three tensors:

- "input": what the layer is given;
- "layer": what it returns;
- "pre_activation": what it returns after the normalisation and noise that follow it directly, hence what the
  non-linearity is given where one comes next (Santurkar et al. 2018 look there, and place noise after γ, β and before
  the non-linearity). A module counts as normalisation or noise where it has no submodules, its class's name contains
  "norm" or "noise", and it turns the very tensor that the layer or the last such module returned into one of the same
  shape. Without any, this is the layer's own output: in a standard network, before a pre-activation block's addition,
  and where a model normalises by functions instead of modules.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.hooks import RemovableHandle

from ics.quantities.base import LossFunction, Row, Step
from ics.shift import Layer, ProbeError
from ics.shift.layers import Kinds, ParameterUse, candidates, find_layers, select_layers
from ics.shift.passes import Passes
from ics.shift.watcher import PassWatcher, TrainingPass


class PassQuantity:
    """A quantity that knows how the last training pass began, and runs it again without a trace.

    Args:
        model: called as `model(x)`.
        loss_fn: `loss_fn(model(x), y)` → scalar tensor; may be a module with parameters and buffers of its own.
    """

    def __init__(self, model: nn.Module, loss_fn: LossFunction) -> None:
        self.model = model
        self.loss_fn = loss_fn
        self.watcher = PassWatcher.of(model, loss_fn)
        self.hooks = ExitStack()
        self.hooks.callback(self.watcher.close)

    @contextmanager
    def observe(self, step: Step) -> Iterator[list[Row]]:
        """All rows are known before the update."""
        yield self.rows(step)

    def rows(self, step: Step) -> list[Row]:
        """What is measured before the update."""
        raise NotImplementedError

    @property
    def last(self) -> TrainingPass:
        """The conditions of the last training pass: to be asked for on entry, before the update.

        Raises:
            ProbeError: there was none.
        """
        return self.watcher.last_pass()

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters of model and loss, each once."""
        roots = [root for root in (self.model, self.loss_fn) if isinstance(root, nn.Module)]
        return list(dict.fromkeys(p for root in roots for p in root.parameters() if p.requires_grad))

    def gradients(self) -> dict[nn.Parameter, Tensor]:
        """What the step's backward pass has left in `.grad`, by parameter."""
        found = {p: p.grad.detach() for p in self.parameters if p.grad is not None}
        if not found:
            raise ProbeError("no parameter has a gradient; call loss.backward() before observe(step)")
        return found

    def again(self, conditions: TrainingPass, x: Any, y: Any = None, fresh_noise: bool = False) -> Passes:
        """The training pass, to be run again on this batch with the present parameters."""
        return Passes(self.watcher, conditions, self.loss_fn, x, y, fresh_noise=fresh_noise)

    def close(self) -> None:
        """Remove the hooks, unless others share them."""
        self.hooks.close()


At = Literal["input", "layer", "pre_activation"]
Keys = tuple[Annotated[int, Field(ge=1)] | str, ...]  # a person's choice of layers: 1-based indices or names
CALLED = (nn.Linear, _ConvNd)
T = TypeVar("T")


def check_layers(wanted: Keys | None, model: nn.Module, kinds: Kinds = None) -> None:
    """Refuse before the first pass what cannot be a layer, as though the model used all in the order of their names.

    Raises:
        ProbeError: there is no such layer.
    """
    if wanted is not None:
        select_layers(
            find_layers(model.parameters(), candidates(model, "weight", kinds, None if kinds else wanted)),
            wanted,
            model,
        )


@dataclass(frozen=True, eq=False)
class Place:
    """The tensor to look at: the input or output of the `call`-th call (from 0) of a module."""

    layer: Layer
    module: nn.Module
    call: int
    unit_dim: int


class LayerQuantity(PassQuantity):
    """A quantity that looks at values of the chosen layers, in the training pass run again without gradients.

    `layers` are 1-based indices or names, None all that are called as modules; `at` is explained above.
    """

    def __init__(self, model: nn.Module, loss_fn: LossFunction, layers: Keys | None, at: At) -> None:
        check_layers(layers, model, CALLED)
        super().__init__(model, loss_fn)
        self._wanted = layers
        self._at: At = at
        self._places: list[Place] | None = None

    def look(
        self, x: Tensor, conditions: TrainingPass, describe: Callable[[Tensor], T], fresh_noise: bool = False
    ) -> dict[Layer, T]:
        """What is said of each layer that a forward pass with the present parameters meets, in the order of the layers.

        Args:
            x: the batch.
            conditions: of the training pass.
            describe: called with the values when the pass reaches a chosen layer's place; they have the shape
                (units, samples), where a convolution's units are its channels, a linear map's its features, and all
                other dimensions together are the samples. They may change once it has returned.
            fresh_noise: with the random draws of the next training pass instead of this one's.

        Raises:
            ProbeError: a wanted layer does not exist or is not called as a module.
        """
        with self.again(conditions, x, fresh_noise=fresh_noise) as passes, torch.no_grad(), ExitStack() as hooks:
            if self._places is None:
                passes.start()
                self._places = _survey(self.model, passes, self._wanted, self._at)
            passes.start()
            found: dict[Layer, T] = {}
            for place in self._places:
                hooks.enter_context(_hook(place, self._at, describe, found))
            passes.forward()
        return dict(sorted(found.items(), key=lambda item: item[0].index))

    def rows(self, step: Step) -> list[Row]:
        found = self.look(step.x, self.last, self.rows_of)
        return [{"layer_index": layer.index, **row} for layer, rows in found.items() for row in rows]

    def rows_of(self, values: Tensor) -> list[Row]:
        """What is said of the values of one layer, where all of it is known before the update."""
        raise NotImplementedError


def _survey(model: nn.Module, passes: Passes, wanted: Keys | None, at: At) -> list[Place]:
    """Run one pass and find the places of the wanted layers in it."""
    calls: Counter[nn.Module] = Counter()
    # The layer's module → the module and the call of its place so far, what that returned, at which version.
    ends: dict[nn.Module, tuple[nn.Module, int, Tensor, int]] = {}

    def note(module: nn.Module, args: Any, output: Any) -> None:
        call = calls[module]
        calls[module] += 1
        if isinstance(module, CALLED):
            ends.setdefault(module, (module, call, output, output._version))
        elif at == "pre_activation" and _is_norm_or_noise(module) and isinstance(output, Tensor):
            for layer_module, (_, _, tensor, version) in ends.items():
                # An in-place non-linearity leaves the tensor the same object, but not at the same version.
                if any(arg is tensor for arg in args) and tensor._version == version and tensor.shape == output.shape:
                    ends[layer_module] = (module, call, output, output._version)

    use = ParameterUse(model.parameters())
    leaves = [m for m in model.modules() if isinstance(m, CALLED) or not any(m.children())]
    with ExitStack() as hooks, use:
        for module in leaves:
            hooks.enter_context(module.register_forward_hook(note))
        passes.forward()
    modules = dict(model.named_modules(remove_duplicate=False))
    called = candidates(model, "weight", CALLED, None)
    chosen = select_layers(find_layers(use.first_use, called), wanted, model)
    for layer in chosen:
        if wanted is not None and modules[layer.name] not in ends:
            raise ProbeError(
                f"layer {layer.name!r} is used without being called as a module, so it shows no values; "
                "leave it out of layers"
            )
    met = [(layer, modules[layer.name]) for layer in chosen if modules[layer.name] in ends]
    return [Place(layer, *ends[module][:2], _unit_dim(module)) for layer, module in met]


def _hook(place: Place, at: At, describe: Callable[[Tensor], T], found: dict[Layer, T]) -> RemovableHandle:
    """While it is there, a pass notes what `describe` says of the values at the place."""
    calls = count()

    def show(value: Any) -> None:
        if next(calls) == place.call:
            found[place.layer] = describe(value.movedim(place.unit_dim, 0).flatten(1))

    if at == "input":
        return place.module.register_forward_pre_hook(
            lambda module, args, kwargs: show(next(iter((*args, *kwargs.values())))), with_kwargs=True
        )
    return place.module.register_forward_hook(lambda module, args, output: show(output))


def _unit_dim(module: nn.Module) -> int:
    """Which dimension counts units, from the end: the features of a linear map, the channels of a convolution."""
    return -1 - len(module.kernel_size) if isinstance(module, _ConvNd) else -1


def _is_norm_or_noise(module: nn.Module) -> bool:
    name = type(module).__name__.lower()
    return "norm" in name or "noise" in name
