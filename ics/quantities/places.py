"""Where in a forward pass the values of a measured layer are looked at, for any model that calls its layers as modules.

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
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils.hooks import RemovableHandle

from ics.quantities.base import LossFunction
from ics.quantities.passes import TrainingPasses
from ics.shift import Layer, ProbeError
from ics.shift.layers import ParameterUse, candidates, find_layers, select_layers
from ics.shift.passes import Passes
from ics.shift.watcher import TrainingPass

At = Literal["input", "layer", "pre_activation"]
Keys = tuple[Annotated[int, Field(ge=1)] | str, ...]  # a person's choice of layers: 1-based indices or names
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Place:
    """The tensor to look at: the input or output of the `call`-th call (from 0) of a module."""

    layer: Layer
    module: nn.Module
    call: int
    unit_dim: int


class LayerPasses:
    """Runs the training pass again, without gradients and without a trace, and shows values of the chosen layers.

    Args:
        model: see `TrainingPasses`.
        loss_fn: see `TrainingPasses`.
        layers: 1-based indices or names; None means all that are called as modules.
        at: see above.
    """

    def __init__(self, model: nn.Module, loss_fn: LossFunction, layers: Keys | None, at: At) -> None:
        self._model = model
        self._wanted = layers
        self._at: At = at
        self._passes = TrainingPasses(model, loss_fn)
        self._places: list[Place] | None = None

    @property
    def last(self) -> TrainingPass:
        """See `TrainingPasses.last`."""
        return self._passes.last

    def run(
        self, x: Tensor, conditions: TrainingPass, look: Callable[[Tensor], T], fresh_noise: bool = False
    ) -> dict[Layer, T]:
        """One forward pass (the very first time: two) with the present parameters.

        Args:
            x: the batch.
            conditions: of the training pass.
            look: called with the values when the pass reaches a chosen layer's place; they have the shape
                (units, samples), where a convolution's units are its channels, a linear map's its features, and all
                other dimensions together are the samples. They may change once look has returned.
            fresh_noise: with the random draws of the next training pass instead of this one's.

        Returns:
            What look returned, for each layer that the pass met, in the order of their indices.

        Raises:
            ProbeError: a wanted layer does not exist or is not called as a module.
        """
        with self._passes.again(conditions, x, fresh_noise=fresh_noise) as passes, torch.no_grad():
            if self._places is None:
                passes.start()
                self._places = _survey(self._model, passes, self._wanted, self._at)
            passes.start()
            found: dict[Layer, T] = {}
            with _watched(self._places, self._at, look, found):
                passes.forward()
            return dict(sorted(found.items(), key=lambda item: item[0].index))

    def close(self) -> None:
        """Remove the hook."""
        self._passes.close()


def _survey(model: nn.Module, passes: Passes, wanted: Keys | None, at: At) -> list[Place]:
    """Run one pass and find the places of the wanted layers in it."""
    calls: Counter[nn.Module] = Counter()
    found: dict[nn.Module, tuple[nn.Module, int, int]] = {}  # layer's module → (module, call, unit_dim)
    ends: list[tuple[nn.Module, Tensor, int]] = []  # layer's module, what its place returned, at which version

    def note(module: nn.Module, args: Any, output: Any) -> None:
        call = calls[module]
        calls[module] += 1
        if isinstance(module, nn.Linear | _ConvNd):
            if module not in found:
                found[module] = (module, call, _unit_dim(module, output))
                ends.append((module, output, output._version))
        elif at == "pre_activation" and _is_norm_or_noise(module) and isinstance(output, Tensor):
            for i, (layer_module, tensor, version) in enumerate(ends):
                # An in-place non-linearity leaves the tensor the same object, but not at the same version.
                if any(arg is tensor for arg in args) and tensor._version == version and tensor.shape == output.shape:
                    found[layer_module] = (module, call, found[layer_module][2])
                    ends[i] = (layer_module, output, output._version)

    use = ParameterUse(model.parameters())
    leaves = [m for m in model.modules() if isinstance(m, nn.Linear | _ConvNd) or not any(m.children())]
    with _hooks(module.register_forward_hook(note) for module in leaves), use:
        passes.forward()
    modules = dict(model.named_modules(remove_duplicate=False))
    called = candidates(model, "weight", (nn.Linear, _ConvNd), None)
    chosen = select_layers(find_layers(use.first_use, called), wanted, model)
    for layer in chosen:
        if wanted is not None and modules[layer.name] not in found:
            raise ProbeError(
                f"layer {layer.name!r} is used without being called as a module, so it shows no values; "
                "leave it out of layers"
            )
    return [Place(layer, *found[modules[layer.name]]) for layer in chosen if modules[layer.name] in found]


@contextmanager
def _watched(places: list[Place], at: At, look: Callable[[Tensor], T], found: dict[Layer, T]) -> Iterator[None]:
    """While open, a pass notes what look says of the values at the places."""
    calls: Counter[nn.Module] = Counter()
    by_module: dict[nn.Module, list[Place]] = {}
    for place in places:
        by_module.setdefault(place.module, []).append(place)

    def show(module: nn.Module, value: Any) -> None:
        for place in by_module[module]:
            if place.call == calls[module]:
                found[place.layer] = look(value.movedim(place.unit_dim, 0).flatten(1))
        calls[module] += 1

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        show(module, next(iter((*args, *kwargs.values()))))

    def after(module: nn.Module, args: Any, output: Any) -> None:
        show(module, output)

    with _hooks(
        m.register_forward_pre_hook(before, with_kwargs=True) if at == "input" else m.register_forward_hook(after)
        for m in by_module
    ):
        yield


@contextmanager
def _hooks(handles: Iterator[RemovableHandle]) -> Iterator[None]:
    with ExitStack() as stack:
        for handle in handles:
            stack.callback(handle.remove)
        yield


def _unit_dim(module: nn.Module, output: Tensor) -> int:
    """Which dimension counts units, from the end: the features of a linear map, the channels of a convolution."""
    return -1 - len(module.kernel_size) if isinstance(module, _ConvNd) else -1


def _is_norm_or_noise(module: nn.Module) -> bool:
    name = type(module).__name__.lower()
    return "norm" in name or "noise" in name
