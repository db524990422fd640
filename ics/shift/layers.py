"""The measured layers of a model: which weights they are, what their W_i is, and in which order they run."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ics.shift.errors import ProbeError

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


def find_layers(order: Sequence[nn.Parameter], candidates: Iterable["Candidate"], params: Params) -> list[Layer]:
    """The measured layers, by the first use of their weight.

    Args:
        order: the parameters in order of first use (`ParameterUse.order`).
        candidates: what may be a layer.
        params: "weight": W_i is one weight; "all": all parameters of the module that holds it.

    Returns:
        The layers in order of execution. A weight that several modules share is one layer, under the first name. A
        layer whose weight is frozen or was not used in the pass is none.

    Raises:
        ProbeError: there is no such layer.
    """
    place = {parameter: i for i, parameter in enumerate(order)}
    found: dict[tuple[nn.Parameter, ...], tuple[int, str, frozenset[nn.Parameter]]] = {}
    for candidate in candidates:
        weights = tuple(p for p in candidate.weights if p in place)
        wanted = weights if params == "weight" else candidate.parameters
        if weights and wanted not in found:
            found[wanted] = (min(place[p] for p in weights), candidate.name, candidate.beside)
    if not found:
        raise ProbeError(
            "the model has no measurable layer: no module with a trainable weight matrix took part in the forward pass"
        )
    ordered = sorted(found.items(), key=lambda item: item[1][0])
    return [
        Layer(i, name, own, frozenset(order[: min(place.get(p, len(order)) for p in own)]) - beside)
        for i, (own, (_, name, beside)) in enumerate(ordered, start=1)
    ]


@dataclass(frozen=True)
class Candidate:
    """What is a layer if the forward pass uses it.

    Attributes:
        name: the module's; the parameter's where that is not called `weight`.
        weights: the trainable tensors behind one weight.
        parameters: all trainable parameters of the module that are no other candidate's.
        beside: what is never used before it, though autocast may use a layer's own bias first: all of its module, or
            where that has several weights, what it registers from this one on.
    """

    name: str
    weights: tuple[nn.Parameter, ...]
    parameters: tuple[nn.Parameter, ...]
    beside: frozenset[nn.Parameter]


def candidates(model: nn.Module, params: Params, kinds: Kinds, wanted: Sequence[int | str] | None) -> list[Candidate]:
    """What may be a layer, used or not.

    Args:
        model: any module.
        params: "all": one candidate for each module.
        kinds: classes of modules; None: all modules that hold a weight matrix.
        wanted: names of modules and of parameters that are candidates whatever their kind.
    """
    modules = dict(model.named_modules())
    weights = {name: of for name, module in modules.items() if (of := _chosen(name, module, kinds, wanted or ()))}
    found = []
    for name, of in weights.items():
        below = [modules[other] for other in weights if other != name and other.startswith(f"{name}." if name else "")]
        others = {p for module in below for p in module.parameters()}
        own = [p for p in modules[name].parameters() if p not in others]
        trainable = tuple(p for p in own if p.requires_grad)
        places = {p: i for i, p in enumerate(own)}
        for key, tensors in of.items():
            alone = params == "all" or len(of) == 1
            found.append(
                Candidate(
                    name if params == "all" or key == "weight" else f"{name}.{key}".lstrip("."),
                    tuple(p for p in tensors if p.requires_grad),
                    trainable,
                    frozenset(p for i, p in enumerate(own) if alone or i >= places.get(tensors[0], 0)),
                )
            )
    return found


def select_layers(layers: list[Layer], wanted: Sequence[int | str] | None, model: nn.Module) -> list[Layer]:
    """The wanted layers, in order of execution; None means all.

    Args:
        layers: all there are.
        wanted: 1-based indices; names of layers, of their parameters, or of modules, which mean all layers inside.
        model: theirs.

    Raises:
        ProbeError: a layer does not exist; the message lists those that do.
    """
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


def _chosen(
    name: str, module: nn.Module, kinds: Kinds, wanted: Collection[int | str]
) -> dict[str, tuple[nn.Parameter, ...]]:
    """The weights of a module itself that are candidates: name of the attribute → the tensors behind it."""
    own = {key: (p,) for key, p in module._parameters.items() if p is not None}
    of = _weight_matrices(module) if kinds is None or isinstance(module, tuple(kinds)) else {}
    if not of and (name in wanted or (kinds is not None and isinstance(module, tuple(kinds)))):
        of = _weight_matrices(module) or ({"weight": own["weight"]} if "weight" in own else dict(own))
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
    experts = getattr(module, "num_experts", None)
    return {key: (p,) for key, p in own.items() if p.ndim == 3 and len(p) == experts}
