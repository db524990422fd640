"""The measured layers of a model: which weights they are, what their W_i is, and in which order they run."""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.utils._python_dispatch import TorchDispatchMode

from ics.shift.errors import ProbeError
from ics.shift.watcher import tensors_in

Params = Literal["weight", "all"]
Kinds = Collection[type[nn.Module]] | None

_NO_MATRICES = (nn.Embedding, nn.EmbeddingBag, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, _NormBase)
"""Modules whose `weight` may have two dimensions and is no matrix that an input is multiplied with."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A measured layer.

    Attributes:
        index: 1-based place among the model's measurable layers, in order of execution.
        name: qualified name of the module in the model, or of the parameter where that is not the module's `weight`.
        parameters: W_i, the tensors whose gradient is compared.
        before: the parameters that have moved in G': by default all that the forward pass uses before W_i, but no bias
            of its own.
    """

    index: int
    name: str
    parameters: tuple[nn.Parameter, ...]
    before: frozenset[nn.Parameter]


class ParameterUse(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes when a forward pass first uses each parameter, in order: its value enters a computation.

    It watches the kernels that run. A shape, a type, a view of a parameter is no use of its value, nor are tensors made
    in its likeness (`zeros_like`, `new_zeros`). Kernels that take several parameters at once count as using them in the
    order in which the model registers them.
    """

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._registered = {parameter: place for place, parameter in enumerate(parameters)}
        self._ids = {id(parameter): [parameter] for parameter in self._registered}
        self._stored: dict[int, list[tuple[range, nn.Parameter]]] = {}  # several parameters may share a storage
        for parameter in self._registered:
            self._stored.setdefault(storage_of(parameter), []).append((_span(parameter), parameter))
        self.first_use: dict[nn.Parameter, int] = {}
        self.clock = itertools.count()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.__name__.partition(".")[0]
        if not (func.is_view or name.endswith("_like") or name.startswith("new_")):
            tensors = tensors_in((args, kwargs))
            new = {p for tensor in tensors for p in self._behind(tensor)} - self.first_use.keys()
            for parameter in sorted(new, key=self._registered.__getitem__):
                self.first_use[parameter] = next(self.clock)
        return result

    def _behind(self, tensor: Tensor) -> list[nn.Parameter]:
        """The parameter that a tensor is itself, or those of whose numbers it is a view."""
        if id(tensor) in self._ids:
            return self._ids[id(tensor)]
        stored = self._stored.get(storage_of(tensor), [])
        if len(stored) == 1:
            return [stored[0][1]]
        seen = _span(tensor) if stored else range(0)
        return [p for span, p in stored if span.start < seen.stop and seen.start < span.stop]


def _span(tensor: Tensor) -> range:
    """The bytes of its storage between which a tensor's numbers lie."""
    if tensor.layout != torch.strided or not tensor.numel():
        return range(0)
    steps = zip(tensor.shape, tensor.stride(), strict=True)
    length = 1 + sum((size - 1) * stride for size, stride in steps)
    start = tensor.storage_offset()
    return range(start * tensor.element_size(), (start + length) * tensor.element_size())


def storage_of(tensor: Tensor) -> int:
    """What tells a tensor's storage from others; the tensor's own id where it has none of its own (sparse tensors)."""
    try:
        return int(tensor.untyped_storage()._cdata)
    except (NotImplementedError, RuntimeError):
        return id(tensor)


def merged(known: Sequence[nn.Parameter], order: Iterable[nn.Parameter], model: nn.Module) -> list[nn.Parameter]:
    """The order of a pass, with the model's parameters that it left out where earlier passes had them."""
    result, there = list(order), set(model.parameters())
    for place, parameter in enumerate(known):
        if parameter in there and parameter not in set(result):
            before = set(known[:place])
            result.insert(max((i + 1 for i, p in enumerate(result) if p in before), default=0), parameter)
    return result


@dataclass(frozen=True)
class Candidate:
    """What is a layer if the forward pass uses it."""

    name: str  # the module's; the parameter's where that is not called `weight`
    weights: tuple[nn.Parameter, ...]  # the trainable tensors behind one weight
    own: tuple[nn.Parameter, ...]  # W_i: these, or all trainable parameters of the module that are no other candidate's
    # What is never used before it, though autocast may use a layer's own bias first: all of its module, or where that
    # has several weights, what it registers from this one on.
    beside: frozenset[nn.Parameter]


def candidates(model: nn.Module, params: Params, kinds: Kinds, wanted: Sequence[int | str] | None) -> list[Candidate]:
    """What may be a layer, used or not: modules of some kinds (None: all with a weight matrix), and what is wanted."""
    modules = dict(model.named_modules())
    weights = {name: of for name, module in modules.items() if (of := _chosen(name, module, kinds, wanted or ()))}
    found = []
    for name, of in weights.items():
        below = [other for other in weights if other != name and other.startswith(f"{name}." if name else "")]
        others = {p for other in below for p in modules[other].parameters()}
        inside = [p for p in modules[name].parameters() if p not in others]
        places = {p: i for i, p in enumerate(inside)}
        for key, tensors in of.items():
            trainable, all_of_it = (tuple(p for p in some if p.requires_grad) for some in (tensors, inside))
            first = 0 if params == "all" or len(of) == 1 else places.get(tensors[0], 0)
            called = name if params == "all" or key == "weight" else f"{name}.{key}".lstrip(".")
            own = trainable if params == "weight" else all_of_it
            found.append(Candidate(called, trainable, own, frozenset(inside[first:])))
    return found


def find_layers(order: Iterable[nn.Parameter], candidates: Iterable[Candidate]) -> list[Layer]:
    """The measured layers in order of execution, given that of the parameters' first use.

    A weight that several modules share is one layer, under the first name. A layer whose weight is frozen or was not
    used in the pass is none.
    """
    order = list(order)
    place = {parameter: i for i, parameter in enumerate(order)}
    found: dict[tuple[nn.Parameter, ...], tuple[int, Candidate]] = {}
    for candidate in candidates:
        if used := [place[p] for p in candidate.weights if p in place]:
            found.setdefault(candidate.own, (min(used), candidate))
    if not found:
        raise ProbeError(
            "the model has no measurable layer: no module with a trainable weight matrix took part in the forward pass"
            "; parameters that are layers can be named in layers=[…]"
        )
    layers = []
    for index, (_, found_as) in enumerate(sorted(found.values(), key=lambda item: item[0]), start=1):
        first = min(place.get(p, len(order)) for p in found_as.own)
        layers.append(Layer(index, found_as.name, found_as.own, frozenset(order[:first]) - found_as.beside))
    return layers


def select_layers(layers: list[Layer], wanted: Sequence[int | str] | None, model: nn.Module) -> list[Layer]:
    """The wanted layers, in order of execution: by index, or by name of layer, parameter or module; None means all."""
    if wanted is None:
        return layers
    names = dict(model.named_parameters(remove_duplicate=False))
    chosen = set()
    for key in wanted:
        match = [layer for layer in layers if key in (layer.index, layer.name)]
        if isinstance(key, str) and not match:
            inside = [layer for layer in layers if layer.name.startswith(f"{key}.")]
            match = [layer for layer in layers if any(p is names.get(key) for p in layer.parameters)] or inside
        if not match:
            known = ", ".join(f"{layer.index} ({layer.name})" for layer in layers)
            raise ProbeError(f"there is no layer {key!r}; the measurable layers are {known}")
        chosen |= {layer.index for layer in match}
    return [layer for layer in layers if layer.index in chosen]


def of_layer(layer: Layer, values: Mapping[nn.Parameter, Tensor | None]) -> Tensor:
    """A layer's part of gradients: in its weight's shape, or one vector where W_i is several tensors; None is zeros."""
    found = [(p, values.get(p)) for p in layer.parameters]
    parts = [torch.zeros_like(p) if part is None else part.detach().to_dense() for p, part in found]
    return parts[0] if len(parts) == 1 else torch.cat([part.flatten() for part in parts])


def gradients_of(loss: Tensor, layers: Sequence[Layer], keep_graph: bool = False) -> dict[Layer, Tensor]:
    """Layer → gradient of a scalar; the backward pass goes no deeper."""
    parameters = [p for layer in layers for p in layer.parameters]
    parts: Sequence[Tensor | None] = ()
    if loss.requires_grad:
        parts = torch.autograd.grad(loss, parameters, retain_graph=keep_graph, allow_unused=True)
    values = dict(zip(parameters, parts, strict=False))
    return {layer: of_layer(layer, values) for layer in layers}


def _chosen(
    name: str, module: nn.Module, kinds: Kinds, wanted: Collection[int | str]
) -> dict[str, tuple[nn.Parameter, ...]]:
    """The weights of a module itself that are candidates: name of the attribute → the tensors behind it."""
    own = {key: (p,) for key, p in module._parameters.items() if p is not None}
    is_asked_for = name in wanted or (kinds is not None and isinstance(module, tuple(kinds)))
    of = _weight_matrices(module) if is_asked_for or kinds is None else {}
    if is_asked_for and not of:
        of = {"weight": own["weight"]} if "weight" in own else dict(own)
    there = {p for tensors in of.values() for p in tensors}
    prefix = f"{name}." if name else ""
    return of | {key: own[key] for key in own if f"{prefix}{key}" in wanted and own[key][0] not in there}


def _weight_matrices(module: nn.Module) -> dict[str, tuple[nn.Parameter, ...]]:
    """The weight matrices of a module itself: name of the attribute → the trainable tensors behind it.

    `weight` of two and more dimensions (convolutions, linear and bilinear maps, transformers' `Conv1D`), what a
    parametrization (weight norm, …) makes it of, packed projections, recurrent weights, stacked weights of experts.
    """
    own = {key: p for key, p in module._parameters.items() if p is not None}
    if isinstance(module, nn.MultiheadAttention):
        return {key: (p,) for key, p in own.items() if key.endswith("proj_weight")}
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return {key: (p,) for key, p in own.items() if key.startswith("weight_")}
    if isinstance(module, _NO_MATRICES):
        return {}
    if "weight" in own:
        return {"weight": (own["weight"],)} if own["weight"].ndim > 1 else {}
    if isinstance(module, nn.Linear | nn.Bilinear | _ConvNd):
        parts = [p for name, p in module.named_parameters() if name.startswith(("weight", "parametrizations.weight."))]
        return {"weight": tuple(parts)} if parts else {}
    experts = vars(module).get("num_experts")
    return {key: (p,) for key, p in own.items() if p.ndim == 3 and len(p) == experts}
