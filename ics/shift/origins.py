"""Where a layer's shift comes from: which earlier block's update moved its gradient, and how far that is linear.

Definition 2.1 (Santurkar et al. 2018) moves all that comes before layer i at once. Here one block moves at a time:

    S_{j→i} = ∇_{W_i} L(only block j updated) − G_i    block j: what the forward pass uses from W_j on, before W_{j+1}

One pass with block j updated gives S_{j→i} for every later layer i, so that k passes give the whole lower triangle.
To first order in the update they are, and add up to, the products with the Hessian's off-diagonal blocks:

    S_{j→i} ≈ H_ij ΔW_j,    D_i = G'_i − G_i ≈ Σ_{j<i} H_ij ΔW_j
"""

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ics.shift import replay
from ics.shift.layers import Layer, gradients_of
from ics.shift.metrics import flat
from ics.shift.passes import Passes
from ics.shift.replay import Recording

ALL = -1
"""As the index of a cause: all that comes before the layer, together."""

INPUT = 0
"""As the index of a cause: what is used before the first measured layer."""


class NoSecondDerivative(Exception):
    """An operation of the model can be differentiated once only."""


@dataclass(frozen=True)
class Cause:
    """A part of the network that moves alone.

    Attributes:
        index: 1-based place of the measured layer that it begins with, or `INPUT`.
        name: qualified name of that layer's module.
        block: its parameters, in order of first use.
        later: the measured layers after it.
    """

    index: int
    name: str
    block: tuple[nn.Parameter, ...]
    later: tuple[Layer, ...]


@dataclass(frozen=True)
class Origin:
    """What one cause did to one layer's gradient at one step.

    Attributes:
        cause_index: place of the cause among the measured layers; `ALL` for all that comes before the layer together,
            where S is D_i, the layer's whole shift, and `linear` the sum of the causes' linear parts.
        cause: qualified name of the module that the cause begins with, "input", or "all".
        layer_index: place of the layer.
        layer: qualified name of the layer.
        l2: ‖S‖₂, loss per unit of weight.
        cosine: cos∠(S, D_i); NaN where one of them is zero.
        share: ⟨S, D_i⟩ / ‖D_i‖²; over the causes they add up to 1 where their effects do.
        interaction: ‖D_i − Σ_j S_{j→i}‖ / ‖D_i‖, how far they do not; NaN for a single cause.
        linear_l2: ‖H_ij ΔW_j‖₂; NaN where the model has no second derivative.
        linear_cosine: cos∠(H_ij ΔW_j, S).
        linear_error: ‖S − H_ij ΔW_j‖ / ‖S‖.
        gradient_norm: ‖G_i‖₂.
        relative_update: ‖ΔW‖ / ‖W‖ of the cause's parameters.
        output_change: how far the cause alone moves the model's outputs, root of the mean square, in their unit; NaN
            where they have no numbers or not always the same number.
    """

    cause_index: int
    cause: str
    layer_index: int
    layer: str
    l2: float
    cosine: float
    share: float
    interaction: float
    linear_l2: float
    linear_cosine: float
    linear_error: float
    gradient_norm: float
    relative_update: float
    output_change: float


def causes(layers: Sequence[Layer], order: Sequence[nn.Parameter], moving: Collection[nn.Parameter]) -> list[Cause]:
    """The blocks between the measured layers: together, all that is used before the last of them.

    Args:
        layers: in order of execution.
        order: all parameters in order of first use.
        moving: the parameters that the update may move; blocks without one are left out.
    """
    place = {parameter: i for i, parameter in enumerate(order)}
    starts = [min(place.get(p, len(order)) for p in layer.parameters) for layer in layers]
    heads = [(INPUT, "input"), *((layer.index, layer.name) for layer in layers)]
    found = [
        Cause(index, name, tuple(p for p in order[begin:end] if p in moving), tuple(layers[number:]))
        for number, ((index, name), begin, end) in enumerate(zip(heads, [0, *starts], starts, strict=False))
    ]
    return [cause for cause in found if cause.block]


def shifts_alone(
    passes: Passes, cause: Cause, recording: Recording, slow: Collection[str] | None
) -> dict[Layer, Tensor | None]:
    """∇_{W_i} L of every later layer with the cause's block alone updated.

    Args:
        passes: the training pass, to be run again.
        cause: what moves.
        recording: of a pass in which nothing has moved.
        slow: names of layers before which nothing may be skipped; None: of all.
    """
    if slow is not None and cause.index != INPUT and cause.name not in slow:
        with suppress(Exception):  # whatever a skip has broken, a full pass does without it
            return replay.gradients(passes, recording, frozenset(cause.block), cause.later)
    passes.start(frozenset(cause.block))
    return gradients_of(passes.loss(), cause.later)


def _check_differentiable(gradients: Sequence[Tensor | None]) -> None:
    """Raise where a gradient's own graph has a hole, which autograd only sees if its way leads through it."""
    todo = [g.grad_fn for g in gradients if g is not None]
    seen = set(todo)
    for node in todo:
        if node is not None:
            if node.name() in ("torch::autograd::Error", "torch::autograd::NotImplemented"):
                raise NoSecondDerivative("an operation of the model has no second derivative")
            new = {following for following, _ in node.next_functions} - seen
            seen |= new
            todo += new


def linear_shifts(passes: Passes, found: Sequence[Cause]) -> Iterator[dict[Layer, Tensor | None]]:
    """H_ij ΔW_j of every later layer, for one cause after the other: ∂⟨∇_{W_j} L, ΔW_j⟩ / ∂W_i.

    Raises:
        NoSecondDerivative: of an operation of the model.
    """
    passes.start(frozenset())
    moved = [p for cause in found for p in cause.block]
    update = {p: passes.new[p] - passes.old[p] for p in moved}
    gradients = torch.autograd.grad(passes.loss(), moved, create_graph=True, allow_unused=True)
    _check_differentiable(gradients)
    gradient = dict(zip(moved, gradients, strict=True))
    for cause in found:
        # ⟨g_j, ΔW_j⟩, whose gradient with respect to W_i is Σ ∂g_j/∂W_i ΔW_j = H_ij ΔW_j
        slope = [(gradient[p] * update[p]).sum() for p in cause.block if gradient[p] is not None]
        yield gradients_of(sum(slope, torch.zeros(())), cause.later, keep_graph=True)


def origins(
    passes: Passes,
    layers: Sequence[Layer],
    order: Sequence[nn.Parameter],
    moving: Collection[nn.Parameter],
    pairs: Mapping[Layer, tuple[Tensor, Tensor]],
    recording: Recording,
    slow: Collection[str] | None,
) -> list[Origin]:
    """Every cause of every layer's shift, and all of them together.

    Args:
        passes: the training pass, after the update.
        layers: the measured ones, in order of execution.
        order: all parameters in order of first use.
        moving: those that move in G'.
        pairs: layer → (G, G').
        recording: of the last pass, in which nothing has moved.
        slow: see `shifts_alone`.

    Returns:
        By layer, in order of execution; of each the causes from the input on, then `ALL`.
    """
    found = causes(layers, order, moving)
    before = passes.outputs
    alone: dict[Cause, Mapping[Layer, Tensor | None]] = {}
    linear: dict[Cause, Mapping[Layer, Tensor | None]] = {}
    moves: dict[Cause, Move] = {}
    for cause in reversed(found):  # deepest first, since what lies beyond a cause can be forgotten
        alone[cause] = shifts_alone(passes, cause, recording, slow)
        moves[cause] = Move.of(passes, cause.block, before)
    try:
        linear |= zip(found, linear_shifts(passes, found), strict=True)
    except (NoSecondDerivative, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "not implemented" not in str(error):
            raise
        linear.clear()
        warnings.warn(f"the shift's linear part is not measured: {error}", stacklevel=4)
    result = []
    for layer in layers:
        mine = [cause for cause in found if layer in cause.later]
        g, shifted = (flat(tensor) for tensor in pairs[layer])
        whole = shifted - g
        parts = [_vector(alone[cause][layer], g) - g for cause in mine]
        lines = [_vector(linear[cause][layer], g) if linear else g * torch.nan for cause in mine]
        for cause, part, line in zip(mine, parts, lines, strict=True):
            result.append(_origin(cause, layer, part, whole, line, g, moves[cause]))
        if mine:
            together = Cause(ALL, "all", tuple(p for cause in mine for p in cause.block), (layer,))
            passes.start(frozenset(together.block))
            passes.forward()
            move, rest = Move.of(passes, together.block, before), float((whole - sum(parts)).norm() / whole.norm())
            result.append(_origin(together, layer, whole, whole, sum(lines, torch.zeros_like(g)), g, move, rest))
    return result


@dataclass(frozen=True)
class Move:
    """How large an update of some parameters is: `relative_update` and `output_change` of `Origin`."""

    relative_update: float
    output_change: float

    @classmethod
    def of(cls, passes: Passes, block: Sequence[nn.Parameter], before: Sequence[Tensor]) -> "Move":
        """That of the last pass, in which the block alone had moved; `before` are the outputs when nothing had."""
        old, new = (torch.cat([flat(values[p]) for p in block]) for values in (passes.old, passes.new))
        change = float("nan")
        if [tensor.shape for tensor in before] == [tensor.shape for tensor in passes.outputs]:
            pairs = zip(before, passes.outputs, strict=True)
            moved = [(b - a).flatten().double() for a, b in pairs if a.is_floating_point()]
            change = float(torch.cat(moved).square().mean().sqrt()) if moved else change
        return cls(float((new - old).norm() / old.norm()), change)


def _origin(
    cause: Cause,
    layer: Layer,
    part: Tensor,
    whole: Tensor,
    linear: Tensor,
    gradient: Tensor,
    move: Move,
    interaction: float = float("nan"),
) -> Origin:
    return Origin(
        cause_index=cause.index,
        cause=cause.name,
        layer_index=layer.index,
        layer=layer.name,
        l2=float(part.norm()),
        cosine=_cosine(part, whole),
        share=float(part.dot(whole) / whole.dot(whole)),
        interaction=interaction,
        linear_l2=float(linear.norm()),
        linear_cosine=_cosine(linear, part),
        linear_error=float((part - linear).norm() / part.norm()),
        gradient_norm=float(gradient.norm()),
        relative_update=move.relative_update,
        output_change=move.output_change,
    )


def _cosine(a: Tensor, b: Tensor) -> float:
    return float((a.dot(b) / (a.dot(a) * b.dot(b)).sqrt()).clamp(-1, 1))


def _vector(gradient: Tensor | None, like: Tensor) -> Tensor:
    return torch.zeros_like(like) if gradient is None else flat(gradient)
