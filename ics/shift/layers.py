"""The measured layers of a model: which modules they are, what their W_i is, and in which order they run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from ics.shift.errors import ProbeError

Params = Literal["weight", "all"]


@dataclass(frozen=True, eq=False)
class Layer:
    """A measured layer.

    Attributes:
        index: 1-based place among the model's measurable layers, in order of execution.
        name: qualified name of the module in the model.
        parameters: W_i, the tensors whose gradient is compared.
    """

    index: int
    name: str
    parameters: tuple[nn.Parameter, ...]


class ParameterUse(TorchFunctionMode):
    """Notes the order in which a forward pass first uses each parameter.

    Functions that take several parameters at once (multi-head attention) count as using them in the order in which
    the model registers them. Reading a property (a shape, a dtype) is no use.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__()
        self._registered = {parameter: place for place, parameter in enumerate(parameters)}
        self.order: list[nn.Parameter] = []
        self._seen: set[nn.Parameter] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if getattr(func, "__name__", "") != "__get__" or isinstance(result, Tensor):
            new = {leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, nn.Parameter)} - self._seen
            for parameter in sorted(new & self._registered.keys(), key=self._registered.__getitem__):
                self._seen.add(parameter)
                self.order.append(parameter)
                self.on_first_use(parameter)
        return result

    def on_first_use(self, parameter: nn.Parameter) -> None:
        """For subclasses: called at the moment of first use."""


def find_layers(model: nn.Module, order: Sequence[nn.Parameter], params: Params) -> list[Layer]:
    """The measurable layers: trainable convolutions and linear maps, by the first use of their weight.

    Args:
        model: any module.
        order: the parameters in order of first use (`ParameterUse.order`).
        params: "weight": W_i is the module's weight; "all": all of the module's parameters.

    Returns:
        The layers in order of execution. A weight that several modules share is one layer, under the first name. A
        layer whose weight is frozen or was not used in the pass is none.

    Raises:
        ProbeError: there is no such layer.
    """
    place = {parameter: i for i, parameter in enumerate(order)}
    found: dict[tuple[nn.Parameter, ...], tuple[int, str]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | _ConvNd):
            weights = tuple(p for p in _weights(module) if p.requires_grad and p in place)
            wanted = weights if params == "weight" else tuple(p for p in module.parameters() if p.requires_grad)
            if weights and wanted not in found:
                found[wanted] = (min(place[p] for p in weights), name)
    if not found:
        raise ProbeError(
            "the model has no measurable layer: no trainable convolution or linear module took part in the forward pass"
        )
    ordered = sorted(found.items(), key=lambda item: item[1][0])
    return [Layer(i, name, parameters) for i, (parameters, (_, name)) in enumerate(ordered, start=1)]


def select_layers(layers: list[Layer], wanted: Sequence[int | str] | None) -> list[Layer]:
    """The wanted layers, by 1-based index or by name, in order of execution; None means all.

    Raises:
        ProbeError: a layer does not exist; the message lists those that do.
    """
    if wanted is None:
        return layers
    chosen = set()
    for key in wanted:
        match = [layer for layer in layers if key in (layer.index, layer.name)]
        if not match:
            known = ", ".join(f"{layer.index} ({layer.name})" for layer in layers)
            raise ProbeError(f"there is no layer {key!r}; the measurable layers are {known}")
        chosen.add(match[0].index)
    return [layer for layer in layers if layer.index in chosen]


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """A layer's gradient as one tensor: the weight's own shape, or one vector where W_i is several tensors."""
    return tensors[0] if len(tensors) == 1 else torch.cat([tensor.flatten() for tensor in tensors])


def _weights(module: nn.Module) -> list[nn.Parameter]:
    """The trainable tensors behind `module.weight`: itself, or what a parametrization (weight norm, …) makes it of."""
    weight = module._parameters.get("weight")
    if weight is not None:
        return [weight]
    return [p for name, p in module.named_parameters() if name.startswith(("weight", "parametrizations.weight."))]
