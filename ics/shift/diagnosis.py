"""Whether the training pass, run again, gives the gradients it gave; and if not why: checked, not guessed."""

from contextlib import ExitStack
from functools import partial
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from ics.shift.errors import OtherGradients, ProbeError
from ics.shift.passes import Gradients, Passes
from ics.shift.watcher import MIXED, tensors_in

UNREPEATED = 1e-3  # relative distance of two tensors beyond what rounding can explain

HOOKED = "; or a hook that runs once gradients are accumulated changes them"


def agree(one: Tensor, other: Tensor, exact: bool = False) -> bool:
    """Whether two tensors are the same, to the bit or within rounding."""
    return distance(one, other) <= (0 if exact else UNREPEATED)


def distance(one: Tensor, other: Tensor) -> float:
    """Between two tensors, as a share of the other's length; NaN is like NaN."""
    one, other = one.to_dense(), other.to_dense()
    if one.shape != other.shape or one.dtype != other.dtype:
        return float("inf")
    if torch.equal(one, other) or bool(torch.isclose(one, other, rtol=0, atol=0, equal_nan=True).all()):
        return 0.0
    away = torch.linalg.vector_norm(one - other) / torch.linalg.vector_norm(other)
    return float(away.nan_to_num(nan=float("inf")))


def alike(one: Gradients, other: Gradients, exact: bool = False) -> bool:
    """Whether two sets of gradients agree, every parameter's; one that is missing is zero."""
    return farthest(one, other) <= (0 if exact else UNREPEATED)


def farthest(one: Gradients, other: Gradients) -> float:
    """The largest distance between a parameter's gradients in two sets."""
    zeros = {p: torch.zeros_like(p) for p in one.keys() | other.keys()}
    return max((distance(one.get(p, zero), other.get(p, zero)) for p, zero in zeros.items()), default=0.0)


def repeated_as(gradients: Gradients, passes: Passes) -> Gradients:
    """What the training pass, run again, gives; an error says why if that is not even nearly what it gave."""
    watcher = passes.watcher
    for watcher.mixed in MIXED if passes.training_pass.autocast else MIXED[:1]:
        repeated = passes.repeat(statistics=True)
        passes.look()
        if alike(gradients, repeated):
            break
    else:
        watcher.mixed = MIXED[0]
        _explain(passes, gradients)
    if watcher.idle() and not alike(repeated, passes.repeat(), exact=True):
        passes.hold_statistics()
    return repeated


def _explain(passes: Passes, gradients: Gradients) -> NoReturn:
    """Raise the error that says in one line what made the difference and what to do."""
    repeated, outputs = _watched_repeat(passes)
    _, again = _watched_repeat(passes)
    for (name, one), (_, other) in zip(outputs, again, strict=False):
        if len(one) != len(other) or not all(map(agree, one, other)):
            where = f"module {name!r}" if name else "the model"
            raise ProbeError(
                f"two passes from the same state differ, first in the output of {where}: it depends on something that "
                "the probe cannot hold, such as a random source of its own, an iterator, a file or the time; make it "
                "repeatable"
            )
    for name, p in passes.watcher.model.named_parameters():
        if p not in gradients and p in repeated and bool(repeated[p].any()):
            raise OtherGradients(
                f"{name!r} had no gradient when observe was entered, yet the loss depends on it; call loss.backward() "
                "and do not clear .grad before"
            )
    passes.check_batch()
    if (factor := common_factor(gradients, repeated)) is not None:
        raise OtherGradients(
            f"all gradients are {factor:.4g} times those of the loss: they were scaled or clipped, or the loss was "
            "divided; enter observe with the gradients as loss.backward() leaves them, and scale or clip inside"
        )
    before = passes.training_pass.gradient
    if before is not None and bool(before != 0):
        raise ProbeError(
            ".grad held another pass's gradients when the training pass began (no zero_grad, or accumulation); "
            "clear it before each measured pass"
        )
    raise OtherGradients(
        "the training pass, run again, gives other gradients, each time alike: the loss was computed otherwise than "
        "loss_fn(model(x), y), or something changed between that pass and observe"
        + (HOOKED if passes.is_hooked else "")
    )


def _watched_repeat(passes: Passes) -> tuple[Gradients, list[tuple[str, list[Tensor]]]]:
    """The training pass again: its gradients, and every module's outputs in order."""
    outputs: list[tuple[str, list[Tensor]]] = []

    def note(name: str, module: nn.Module, args: Any, output: Any) -> None:
        outputs.append((name, [tensor.detach().clone() for tensor in tensors_in(output)]))

    with ExitStack() as stack:
        for name, module in passes.watcher.model.named_modules():
            stack.enter_context(module.register_forward_hook(partial(note, name)))
        return passes.repeat(), outputs


def common_factor(gradients: Gradients, repeated: Gradients) -> float | None:
    """c where G = c·G_repeated for all parameters together, within rounding: a gradient may be nothing but rounding."""
    zeros = {p: torch.zeros_like(p) for p in gradients.keys() | repeated.keys()}
    pairs = [[of.get(p, zero).to_dense().flatten() for of in (gradients, repeated)] for p, zero in zeros.items()]
    length = sum(float(torch.vdot(h, h).real) for _, h in pairs)
    if not length:
        return None
    c = sum(float(torch.vdot(h, g).real) for g, h in pairs) / length
    away = sum(float(torch.linalg.vector_norm(g - c * h)) ** 2 for g, h in pairs)
    return c if away <= UNREPEATED**2 * c**2 * length else None
