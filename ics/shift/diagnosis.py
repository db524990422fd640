"""Why a repeated training pass does not give the gradients that `observe` was entered with: checked, not guessed."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ics.shift.passes import LossFunction, Passes, TrainingPass
from ics.shift.state import same_bits

UNREPEATED = 1e-3
"""Relative distance of two gradients beyond what rounding can explain."""

Gradients = Mapping[nn.Parameter, Tensor]


def distance(gradients: Gradients, repeated: Gradients) -> float:
    """The largest relative distance of a parameter's gradient from the repeated pass's; inf where one is missing."""
    worst = 0.0
    for p in gradients.keys() | repeated.keys():
        g, h = gradients.get(p), repeated.get(p)
        if g is None or h is None:
            there = g if h is None else h
            worst = max(worst, float("inf") if there is not None and bool((there != 0).any()) else 0.0)
        elif not same_bits(g, h):
            away = float(torch.linalg.vector_norm(g - h) / torch.linalg.vector_norm(h))
            worst = max(worst, away if away == away else float("inf"))
    return worst


def cause(
    passes: Passes, training_pass: TrainingPass, loss_fn: LossFunction, x: Any, y: Any, gradients: Gradients
) -> str:
    """One line that says what made the difference and what to do."""
    model = passes.watcher.model
    repeated, outputs = _run(passes, loss_fn, x, y, gradients)
    _, again = _run(passes, loss_fn, x, y, gradients)
    for (name, one), (_, other) in zip(outputs, again, strict=False):
        if not all(map(_is_repeated, one, other)):
            where = f"module {name!r}" if name else "the model"
            return (
                f"two passes from the same state differ, first in the output of {where}: it depends on something that "
                "the probe cannot hold, such as a random source of its own, an iterator, a file or the time; make it "
                "repeatable"
            )
    if missing := [p for p in repeated if p not in gradients and bool((repeated[p] != 0).any())]:
        name = next(name for name, p in model.named_parameters() if p is missing[0])
        return (
            f"{name!r} had no gradient when observe was entered, yet the loss depends on it; call loss.backward() "
            "and do not clear .grad before"
        )
    if _moved(passes, training_pass):
        return "parameters were changed after the training pass; enter observe before optimizer.step(), and step inside"
    if _is_another(training_pass, x):
        return (
            "observe was given another batch than the model's last training pass; give it the very batch of that pass"
        )
    if (factor := _common_factor(gradients, repeated)) is not None:
        return (
            f"all gradients are {factor:.4g} times those of the loss: they were scaled or clipped, or the loss was "
            "divided; enter observe with the gradients as loss.backward() leaves them, and scale or clip inside"
        )
    if training_pass.gradient is not None and bool(training_pass.gradient != 0):
        return (
            ".grad held another pass's gradients when the training pass began (no zero_grad, or accumulation); "
            "clear it before each measured pass"
        )
    return (
        "the training pass, run again, gives other gradients, each time alike: the loss was computed otherwise than "
        "loss_fn(model(x), y), or something changed between that pass and observe"
    )


def _run(
    passes: Passes, loss_fn: LossFunction, x: Any, y: Any, gradients: Gradients
) -> tuple[dict[nn.Parameter, Tensor], list[tuple[str, list[Tensor]]]]:
    """The training pass again: its gradients, and every module's output."""
    outputs: list[tuple[str, list[Tensor]]] = []
    passes.start(moved=())
    with ExitStack() as stack:
        for name, module in passes.watcher.model.named_modules():

            def note(module: nn.Module, args: Any, output: Any, name: str = name) -> None:
                outputs.append((name, [t.detach().clone() for t in tree_leaves(output) if isinstance(t, Tensor)]))

            stack.callback(module.register_forward_hook(note).remove)
        loss = passes.loss(loss_fn, x, y)
    if loss.requires_grad:
        loss.backward()  # type: ignore[no-untyped-call]
    return {p: p.grad.detach().clone() for p in passes.new if p.grad is not None}, outputs


def _is_repeated(one: Tensor, other: Tensor) -> bool:
    return same_bits(one, other) or (
        one.shape == other.shape
        and bool(
            torch.linalg.vector_norm((one - other).double()) <= UNREPEATED * torch.linalg.vector_norm(one.double())
        )
    )


def _moved(passes: Passes, training_pass: TrainingPass) -> bool:
    changes = {id(place.thing) for place in passes.watcher.changing()}
    parameters = list(passes.watcher.model.parameters())
    then = training_pass.versions
    return len(parameters) == len(then) and any(
        version != passes.version_before_update(p)
        for p, version in zip(parameters, then, strict=True)
        if id(p) not in changes
    )


def _is_another(training_pass: TrainingPass, x: Any) -> bool:
    """Whether x is another batch than the model's arguments; False where these are gone."""
    given = [leaf for leaf in tree_leaves(x) if isinstance(leaf, Tensor)]
    then = training_pass.tensors()
    if len(given) != len(then):
        return True
    return any(
        b is not None and a is not b and not same_bits(a, training_pass.content(b))
        for a, b in zip(given, then, strict=True)
    )


def _common_factor(gradients: Gradients, repeated: Gradients) -> float | None:
    """c where G = c·G_repeated for all parameters."""
    pairs = [(gradients[p].double(), repeated[p].double()) for p in gradients if p in repeated]
    factors = [float((g * h).sum() / (h * h).sum()) for g, h in pairs if not h.is_complex() and bool((h != 0).any())]
    if not factors or abs(factors[0] - 1) < UNREPEATED:
        return None
    c = factors[0]
    close = all(torch.linalg.vector_norm(g - c * h) <= UNREPEATED * torch.linalg.vector_norm(g) for g, h in pairs)
    return c if close else None
