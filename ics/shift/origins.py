"""Where a layer's shift comes from: which earlier block's update moved its gradient, and how far that is linear.

Definition 2.1 (Santurkar et al. 2018) moves all that comes before layer i at once. Here one block moves at a time:

    S_{j→i} = ∇_{W_i} L(only block j updated) − G_i    block j: what the forward pass uses from W_j on, before W_{j+1}

One pass with block j updated gives S_{j→i} for every later layer i, so that k passes give the whole lower triangle.
To first order in the update they are, and add up to, the products with the Hessian's off-diagonal blocks:

    S_{j→i} ≈ H_ij ΔW_j,    D_i = G'_i − G_i ≈ Σ_{j<i} H_ij ΔW_j
"""

import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ics.shift import replay
from ics.shift.layers import Layer, gradients_of
from ics.shift.metrics import flat
from ics.shift.passes import Passes
from ics.shift.replay import Recording

ALL = -1  # as the index of a cause: all that comes before the layer, together
INPUT = 0  # as the index of a cause: what is used before the first measured layer


@dataclass(frozen=True)
class Origin:
    """What one cause did to one layer's gradient at one step.

    The cause `ALL` is all that comes before the layer together: its S is D_i, the layer's whole shift, and its linear
    part the sum of the causes' linear parts.
    """

    cause_index: int  # place of the cause among the measured layers, or `INPUT`, or `ALL`
    cause: str  # qualified name of the module that the cause begins with, "input", or "all"
    layer_index: int
    layer: str
    l2: float  # ‖S‖₂, loss per unit of weight
    cosine: float  # cos∠(S, D_i); NaN where one of them is zero
    share: float  # ⟨S, D_i⟩ / ‖D_i‖²; over the causes they add up to 1 where their effects do
    interaction: float  # ‖D_i − Σ_j S_{j→i}‖ / ‖D_i‖, how far they do not; NaN for a single cause
    linear_l2: float  # ‖H_ij ΔW_j‖₂; NaN where the model has no second derivative
    linear_cosine: float  # cos∠(H_ij ΔW_j, S)
    linear_error: float  # ‖S − H_ij ΔW_j‖ / ‖S‖
    gradient_norm: float  # ‖G_i‖₂
    relative_update: float  # ‖ΔW‖ / ‖W‖ of the cause's parameters
    # How far the cause alone moves the model's outputs, root of the mean square, in their unit; NaN where they have no
    # numbers or not always the same number.
    output_change: float


def causes(layers: Sequence[Layer], order: Sequence[nn.Parameter], moving: Collection[nn.Parameter]) -> list[Layer]:
    """The blocks between the layers, in order, each as a layer: all that is used before the last one, and may move."""
    place = {parameter: i for i, parameter in enumerate(order)}
    starts = [min(place.get(p, len(order)) for p in layer.parameters) for layer in layers]
    heads = [(INPUT, "input"), *((layer.index, layer.name) for layer in layers)]
    blocks = [tuple(p for p in order[i:j] if p in moving) for i, j in zip([0, *starts], starts, strict=False)]
    return [Layer(*head, block, frozenset()) for head, block in zip(heads, blocks, strict=False) if block]


def linear_shifts(passes: Passes, later: Mapping[Layer, Sequence[Layer]]) -> Iterator[dict[Layer, Tensor]]:
    """H_ij ΔW_j of every later layer, for one cause after the other: ∂⟨∇_{W_j} L, ΔW_j⟩ / ∂W_i."""
    passes.start(frozenset())
    moved = [p for cause in later for p in cause.parameters]
    gradients = torch.autograd.grad(passes.loss(), moved, create_graph=True, allow_unused=True)
    gradient = {p: g for p, g in zip(moved, gradients, strict=True) if g is not None}
    _check_differentiable(gradient.values())
    for cause, layers in later.items():
        # ⟨g_j, ΔW_j⟩, whose gradient with respect to W_i is Σ ∂g_j/∂W_i ΔW_j = H_ij ΔW_j
        slope = [(gradient[p] * (passes.new[p] - passes.old[p])).sum() for p in cause.parameters if p in gradient]
        yield gradients_of(sum(slope, torch.zeros(())), layers, keep_graph=True)


def _check_differentiable(gradients: Iterable[Tensor]) -> None:
    """Raise where a gradient's own graph has a hole, which autograd only sees if its way leads through it."""
    todo = [g.grad_fn for g in gradients]
    seen = set(todo)
    for node in todo:
        if node is not None:
            if node.name() in ("torch::autograd::Error", "torch::autograd::NotImplemented"):
                raise RuntimeError("the second derivative of an operation of the model is not implemented")
            new = {following for following, _ in node.next_functions} - seen
            seen |= new
            todo += new


def origins(
    passes: Passes,
    order: Sequence[nn.Parameter],
    moving: Collection[nn.Parameter],
    pairs: Mapping[Layer, tuple[Tensor, Tensor]],
    recording: Recording,
    slow: Collection[str] | None,
) -> Iterator[Origin]:
    """Every cause of every layer's shift, and all of them together.

    Args:
        passes: the training pass, after the update.
        order: all parameters in order of first use; `moving` are those that move in G'.
        pairs: measured layer → (G, G'), in order of execution.
        recording: of the last pass, in which nothing has moved.
        slow: names of layers before which nothing may be skipped; None: of all.
    """
    found = causes(list(pairs), order, moving)
    later = {cause: [layer for layer in pairs if layer.index > cause.index] for cause in found}
    before = passes.outputs
    alone: dict[Layer, dict[Layer, Tensor]] = {}
    sizes: dict[Layer, dict[str, float]] = {}
    for cause in reversed(later):  # deepest first, since what lies beyond a cause can be forgotten
        block = frozenset(cause.parameters)
        if slow is not None and cause.index != INPUT and cause.name not in slow:
            with suppress(Exception):  # whatever a skip has broken, a full pass does without it
                alone[cause] = replay.gradients(passes, recording, block, later[cause])
        if cause not in alone:
            passes.start(block)
            alone[cause] = gradients_of(passes.loss(), later[cause])
        sizes[cause] = _size(passes, cause.parameters, before)
    try:
        linear = dict(zip(later, linear_shifts(passes, later), strict=True))
    except RuntimeError as error:
        if "not implemented" not in str(error):
            raise
        linear = {}
        warnings.warn(f"the shift's linear part is not measured: {error}", stacklevel=4)
    for layer, (g, shifted) in pairs.items():
        whole = flat(shifted) - flat(g)
        mine = [cause for cause in later if layer in later[cause]]
        parts = [flat(alone[cause][layer]) - flat(g) for cause in mine]
        lines = [flat(linear[cause][layer]) if linear else whole * torch.nan for cause in mine]
        if mine:
            together = Layer(ALL, "all", tuple(p for cause in mine for p in cause.parameters), frozenset())
            passes.start(frozenset(together.parameters))
            passes.forward()
            mine.append(together)
            sizes[together] = _size(passes, together.parameters, before)
            interaction = float((whole - sum(parts)).norm() / whole.norm())
            parts.append(whole)
            lines.append(sum(lines, torch.zeros_like(whole)))
        for cause, part, line in zip(mine, parts, lines, strict=True):
            yield Origin(
                cause_index=cause.index,
                cause=cause.name,
                layer_index=layer.index,
                layer=layer.name,
                l2=float(part.norm()),
                cosine=_cosine(part, whole),
                share=float(part.dot(whole) / whole.dot(whole)),
                interaction=interaction if cause.index == ALL else float("nan"),
                linear_l2=float(line.norm()),
                linear_cosine=_cosine(line, part),
                linear_error=float((part - line).norm() / part.norm()),
                gradient_norm=float(flat(g).norm()),
                **sizes[cause],
            )


def _size(passes: Passes, block: Sequence[nn.Parameter], before: Sequence[Tensor]) -> dict[str, float]:
    """`relative_update` and `output_change` of the last pass; `before` are the outputs when nothing had moved."""
    old, new = (torch.cat([flat(values[p]) for p in block]) for values in (passes.old, passes.new))
    change = float("nan")
    if [tensor.shape for tensor in before] == [tensor.shape for tensor in passes.outputs]:
        pairs = zip(before, passes.outputs, strict=True)
        moved = [(b - a).flatten().double() for a, b in pairs if a.is_floating_point()]
        change = float(torch.cat(moved).square().mean().sqrt()) if moved else change
    return {"relative_update": float((new - old).norm() / old.norm()), "output_change": change}


def _cosine(a: Tensor, b: Tensor) -> float:
    return float((a.dot(b) / (a.dot(a) * b.dot(b)).sqrt()).clamp(-1, 1))
