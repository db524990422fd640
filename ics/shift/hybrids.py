"""G' of every layer by *replay*: the definition's passes, in which what lies before the layer is not computed again."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ics.shift.layers import Layer, flat
from ics.shift.passes import LossFunction, Passes
from ics.shift.replay import NEVER, Interceptor, Plan, Recording, Replay, Survey


def survey(passes: Passes, x: Any) -> Plan:
    """One watched forward pass with the updated weights: the way through the modules, and what to mind on it."""
    model = passes.watcher.model
    passes.start(moved=set(passes.new))
    watched = Survey(model, passes.volatile(), passes.watcher.random)
    with Interceptor(model).route(watched.handle), watched:
        passes.forward(x)
    return watched.plan()


def shifted_gradients(
    passes: Passes, plan: Plan, loss_fn: LossFunction, x: Any, y: Any, layers: Sequence[Layer]
) -> Iterator[tuple[Layer, Tensor | None]]:
    """G' of every layer, deepest first; None where the loss does not depend on the layer.

    Args:
        passes: the training pass, to be run again.
        plan: from a survey.
        loss_fn: the loss.
        x: the batch, as the model takes it.
        y: its targets, as the loss takes them.
        layers: those whose G' is wanted.

    Raises:
        PlanMismatch: the model took another way than the plan's.
    """
    interceptor = Interceptor(passes.watcher.model)
    passes.start(moved=set(passes.new))
    recording = Recording(plan, passes.watcher.random)
    with interceptor.route(recording.handle):
        passes.forward(x)
    recording.finish()
    first_use = plan.first_use

    def place(parameter: nn.Parameter) -> float:
        return first_use.get(parameter, NEVER)

    # Deepest first, since what lies beyond a layer can be forgotten.
    for layer in sorted(layers, key=lambda layer: min(map(place, layer.parameters)), reverse=True):
        moved = layer.before.intersection(passes.new)
        start = min((place(p) for p in passes.new if p not in moved), default=NEVER)
        recording.forget_from(start)
        passes.start(moved)
        with interceptor.route(Replay(recording, start).handle):
            loss = passes.loss(loss_fn, x, y)
        yield layer, _gradient(loss, layer)


def _gradient(loss: Tensor, layer: Layer) -> Tensor | None:
    if not loss.requires_grad:
        return None
    parts = torch.autograd.grad(loss, layer.parameters, allow_unused=True)
    if all(part is None for part in parts):
        return None
    return flat(
        [torch.zeros_like(p) if part is None else part for p, part in zip(layer.parameters, parts, strict=True)]
    )
