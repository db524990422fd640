"""The measured layers of a model: which modules they are, what their W_i is, and in which order they run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.utils._python_dispatch import TorchDispatchMode
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
        before: all parameters that the forward pass uses before them; none of the module's own.
    """

    index: int
    name: str
    parameters: tuple[nn.Parameter, ...]
    before: frozenset[nn.Parameter]


class ParameterUse(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the order in which a forward pass first uses each parameter: its value enters a computation.

    It watches the kernels that run. A shape, a type, a view of a parameter is no use of its value, nor are tensors made
    in its likeness (`zeros_like`, `new_zeros`). Kernels that take several parameters at once count as using them in the
    order in which the model registers them.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._registered = {parameter: place for place, parameter in enumerate(parameters)}
        self._by_storage: dict[int, list[nn.Parameter]] = {}
        for parameter in self._registered:
            self._by_storage.setdefault(storage_of(parameter), []).append(parameter)
        self.order: list[nn.Parameter] = []
        self._seen: set[nn.Parameter] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.__name__.partition(".")[0]
        if not (func.is_view or name.endswith("_like") or name.startswith("new_")):
            tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
            new = {p for tensor in tensors for p in self._behind(tensor)} - self._seen
            for parameter in sorted(new, key=self._registered.__getitem__):
                self._seen.add(parameter)
                self.order.append(parameter)
                self.on_first_use(parameter)
        return result

    def on_first_use(self, parameter: nn.Parameter) -> None:
        """For subclasses: called at the moment of first use."""

    def _behind(self, tensor: Tensor) -> list[nn.Parameter]:
        """The parameters that a tensor is, or is a view of."""
        if isinstance(tensor, nn.Parameter) and tensor in self._registered:
            return [tensor]
        return self._by_storage.get(storage_of(tensor), [])


def storage_of(tensor: Tensor) -> int:
    """What tells a tensor's storage from others; the tensor's own id where it has none of its own (sparse tensors)."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):
        return id(tensor)


def merged(known: Sequence[nn.Parameter], order: Sequence[nn.Parameter], model: nn.Module) -> list[nn.Parameter]:
    """The order of a pass, with parameters that it left out where earlier passes had them.

    Args:
        known: the order so far.
        order: that of the new pass.
        model: those that are no longer its parameters are dropped.
    """
    result, there = list(order), set(model.parameters())
    for place, parameter in enumerate(known):
        if parameter in there and parameter not in set(result):
            before = set(known[:place])
            result.insert(max((i + 1 for i, p in enumerate(result) if p in before), default=0), parameter)
    return result


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
    found: dict[tuple[nn.Parameter, ...], tuple[int, str, nn.Module]] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | _ConvNd):
            weights = tuple(p for p in _weights(module) if p.requires_grad and p in place)
            wanted = weights if params == "weight" else tuple(p for p in module.parameters() if p.requires_grad)
            if weights and wanted not in found:
                found[wanted] = (min(place[p] for p in weights), name, module)
    if not found:
        raise ProbeError(
            "the model has no measurable layer: no trainable convolution or linear module took part in the forward pass"
        )
    ordered = sorted(found.items(), key=lambda item: item[1][0])
    return [
        # Of a layer's own bias autocast may make use first, yet it is no earlier layer's.
        Layer(
            i,
            name,
            parameters,
            frozenset(order[: min(place.get(p, len(order)) for p in parameters)]) - {*module.parameters()},
        )
        for i, (parameters, (_, name, module)) in enumerate(ordered, start=1)
    ]


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


def flat_gradient(layer: Layer, parts: Sequence[Tensor | None]) -> Tensor | None:
    """A layer's gradient as one tensor: the weight's own shape, or one vector where W_i is several tensors.

    Args:
        layer: whose gradient it is.
        parts: that of each of its parameters, None counting as zeros; all None: the layer has no gradient.
    """
    if all(part is None for part in parts):
        return None
    full = [torch.zeros_like(p) if part is None else part for p, part in zip(layer.parameters, parts, strict=True)]
    return full[0].detach() if len(full) == 1 else torch.cat([part.detach().flatten() for part in full])


def gradients_of(loss: Tensor, layers: Sequence[Layer], keep_graph: bool = False) -> dict[Layer, Tensor | None]:
    """Layer → gradient of a scalar, None where it does not depend on the layer; the backward pass goes no deeper."""
    parameters = [p for layer in layers for p in layer.parameters]
    parts: Sequence[Tensor | None] = [None] * len(parameters)
    if loss.requires_grad:
        parts = torch.autograd.grad(loss, parameters, retain_graph=keep_graph, allow_unused=True)
    of = iter(parts)
    return {layer: flat_gradient(layer, [next(of) for _ in layer.parameters]) for layer in layers}


def _weights(module: nn.Module) -> list[nn.Parameter]:
    """The trainable tensors behind `module.weight`: itself, or what a parametrization (weight norm, …) makes it of."""
    weight = module._parameters.get("weight")
    if weight is not None:
        return [weight]
    return [p for name, p in module.named_parameters() if name.startswith(("weight", "parametrizations.weight."))]
