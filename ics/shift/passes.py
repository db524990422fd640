"""The training pass, run again without leaving a trace.

A `PassWatcher` notes how each training pass begins; `Passes` runs it again, as often as wanted, from that very state:

    watcher = PassWatcher.of(model, loss_fn)
    … the training pass …
    with Passes(watcher, watcher.last_pass(), loss_fn, x, y) as passes:
        passes.start()  # the same random numbers, buffers, attributes
        loss = passes.loss()
"""

from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils._python_dispatch import _pop_mode
from torch.utils._pytree import tree_map_only

from ics.shift.errors import ProbeError
from ics.shift.state import Hold, Place, places, same_bits
from ics.shift.watcher import PassWatcher, TrainingPass, tensors_in

Gradients = Mapping[nn.Parameter, Tensor]
LossFunction = Callable[[Any, Any], Tensor]
Call = partial[Any]  # the model on a batch, or a closure that calls it as it likes and returns the loss


def call_of(model: nn.Module, x: Any, noted: TrainingPass) -> Call:
    """The model on a tensor, a tuple (`model(*x)`) or a dictionary (`model(**x)`); or on any object as it was noted."""
    if isinstance(x, partial):
        return x
    if type(x) is noted.sole:
        return partial(model, x)
    return partial(model, **x) if isinstance(x, Mapping) else partial(model, *(x if isinstance(x, tuple) else (x,)))


@dataclass(eq=False)
class Batch:
    """A forward pass of training."""

    call: Call
    y: Any  # its targets
    training_pass: TrainingPass  # how it began
    loss: Tensor | None = None  # where that is known
    given: Hold | None = None  # what the model was not given, such as y, as the loss found it
    outputs: list[Any] = field(default_factory=list)  # weak references


@dataclass(frozen=True)
class Start:
    """What is kept from before an update."""

    batches: list[Batch]
    gradients: Gradients  # what was in `.grad`
    recomputed: dict[nn.Parameter, Tensor] = field(default_factory=dict)  # gradients computed anew, over all batches


class Passes:
    """The training pass, to be run again on its batch; when this is left, everything is as it was when it was entered.

    All state starts as the training pass found it, and what it was not given, such as y, as in `given`. With
    `fresh_noise` random numbers go on from where they are now, instead of being the training pass's.
    """

    def __init__(
        self,
        watcher: PassWatcher,
        training_pass: TrainingPass,
        loss_fn: LossFunction,
        x: Any,
        y: Any,
        given: Hold | None = None,
        fresh_noise: bool = False,
    ) -> None:
        self.watcher, self.training_pass = watcher, training_pass
        self._loss_fn, self._call, self._y = loss_fn, call_of(watcher.model, x, training_pass), y
        self._is_closure = self._call.func is not watcher.model
        self._batch = (self._call.args, self._call.keywords, y)
        self._given = given or Hold()
        self._fresh = watcher.random_keys if fresh_noise else set()
        self.outputs: list[Tensor] = []  # of the last forward pass, in what may be nested containers, without graph
        self._open, self._of_backward, self._present = ExitStack(), ExitStack(), Hold()
        self.is_hooked = False  # whether hooks on gradients, which passes leave out, may change those of the loop

    def __enter__(self) -> "Passes":
        watcher = self.watcher
        with ExitStack() as stack:
            stack.enter_context(watcher.measure())
            stack.enter_context(torch.inference_mode(False))
            stack.callback(lambda: self._of_backward.close())
            stack.callback(_leave_modes, torch._C._len_torch_dispatch_stack())
            stack.callback(register_optimizer_step_pre_hook(self._refuse_step).remove)
            parameters = [p for p in watcher.model.parameters() if p.requires_grad]
            self._own = set(map(id, parameters))
            self._present = watcher.hold(self._batch)
            stack.callback(self._present.restore)
            stack.callback(_refill_cache, dict(parametrize._cache))
            noted = self.training_pass.hold
            self._refuse_new(watcher.model.named_parameters())
            self._then = self._present | self._given | noted
            # Trainable parameter → its value now; and when the training pass began.
            self.new, self.old = ({p: hold.value(p) for p in parameters} for hold in (self._present, self._then))
            self._is_old = dict.fromkeys(parameters, False)
            self._unsteady: set[int] = set()  # trainable parameters that passes themselves change
            self._starts: dict[int, tuple[Place, Any]] = {}
            self._idle = watcher.idle()
            self._of_batch = {place.key for place in places([self._batch])}
            moved = noted.beyond(self._present).changed()
            self._add_starts([*watcher.random, *watcher.changing, *self._given.changed(), *moved])
            things = [place.thing for place in self._present.places]
            self._leaves = [t for t in things if isinstance(t, Tensor) and t.requires_grad and t.is_leaf]
            for leaf in self._leaves:
                stack.callback(setattr, leaf, "grad", leaf.grad)
                if hooks := leaf._post_accumulate_grad_hooks:  # an optimizer's step may be among them
                    self.is_hooked = True
                    stack.callback(hooks.update, dict(hooks))
                    hooks.clear()
            stack.enter_context(torch.enable_grad())
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exc: Any) -> None:
        try:
            self._open.__exit__(*exc)
        except BaseException:  # Ctrl-C while things were put back
            self._open.close()
            self._present.restore()
            raise

    def start(
        self, moved: Container[nn.Parameter] | None = None, same_noise: bool = False, statistics: bool = False
    ) -> None:
        """Put everything to the start of the training pass.

        The parameters that have moved, by default all, have their values from after the update, the others those from
        before it. `same_noise` means the training pass's random numbers, even with `fresh_noise`; `statistics` that
        norms' running ones start alike, too, though no result should depend on them.
        """
        for key, (place, value) in self._starts.items():
            if key in self._fresh and not same_noise:
                place.put(self._present.values[key][1])
            elif statistics or key not in self._idle:
                place.put(value)
        for p, is_old in self._is_old.items():
            old = moved is not None and p not in moved
            if old != is_old or id(p) in self._unsteady:
                p.data.copy_(self.old[p] if old else self.new[p])
                self._is_old[p] = old
        for leaf in self._leaves:
            leaf.grad = None
        _refill_cache({})
        self._of_backward.close()
        self._of_backward = self._autocast(self.training_pass.autocast if "backward" in self.watcher.mixed else ())
        torch.clear_autocast_cache()  # it would hand out casts of weights that have changed since

    def forward(self) -> Any:
        """The model's outputs."""
        with self._autocast(self.training_pass.autocast):
            given = self._call.args, self._call.keywords
            args, kwargs = given if self._is_closure else tree_map_only(Tensor, _cut, given)
            outputs = self._call.func(*args, **kwargs)
        if self._is_closure and any(p.grad is not None and bool(p.grad.any()) for p in self.new):
            raise ProbeError("the closure computes gradients; give one that only returns the loss, without backward()")
        self.outputs = [tensor.detach() for tensor in tensors_in(outputs)]
        return outputs

    def loss(self) -> Tensor:
        """The loss of a pass, a scalar."""
        return self.loss_of(self.forward())

    def loss_of(self, loss: Any) -> Tensor:
        """The loss of a pass with these outputs; those of a closure are the loss."""
        if not self._is_closure:
            with self._autocast(self.training_pass.autocast if "loss" in self.watcher.mixed else ()):
                loss = self._loss_fn(loss, tree_map_only(Tensor, _cut, self._y))
        check_loss(loss)
        return loss  # type: ignore[no-any-return]

    def repeat(self, statistics: bool = False) -> dict[nn.Parameter, Tensor]:
        """The training pass again: what it leaves in `.grad`; its loss is in `value` then."""
        self.start(moved=(), same_noise=True, statistics=statistics)
        loss = self.loss()
        self.value = loss.detach().clone()
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        return {p: p.grad.detach() for p in self.new if p.grad is not None}

    def check_batch(self) -> None:
        """Raise an error if this is not the training pass's batch."""
        given, noted, hold = tensors_in(self._batch[:2]), self.training_pass.inputs, self.training_pass.hold
        pairs = zip(given, noted, strict=False)
        is_same = len(given) == len(noted) and all(
            a is b or same_bits(a, hold.value(b) if id(b) in hold.values else b) for a, b in pairs
        )
        if not is_same and not self._is_closure:  # a closure knows its batch itself
            raise ProbeError(
                "observe was given another batch than the model's last training pass; give it that very batch, "
                "or use attach with a closure for a loss of several passes"
            )

    def look(self) -> bool:
        """After a pass: put back, at every start, what it has changed without that having been known; if anything."""
        known = len(self._starts) + len(self._unsteady)
        quiet = self._idle | self._own
        here = ((place, value) for key, (place, value) in self._present.values.items() if key not in quiet)
        self._add_starts(place for place, value in here if not place.same(value))
        for p, is_old in self._is_old.items():
            if not same_bits(p.data, self.old[p] if is_old else self.new[p]):
                self._unsteady.add(id(p))
        return len(self._starts) + len(self._unsteady) > known

    def volatile(self) -> list[Place]:
        """What a pass changes and a replay must keep up with, other than torch's generators and idle statistics."""
        ignored = self._idle | {place.key for place in self.watcher.random}
        return [place for key, (place, _) in self._starts.items() if key not in ignored]

    def hold_statistics(self) -> None:
        """Put norms' running statistics back at every start, for they matter."""
        self.watcher.hold_statistics, self._idle = True, set()

    def _add_starts(self, found: Iterable[Place]) -> None:
        for place in found:
            if place.key in self._then.values and place.key not in self._own:
                self._starts[place.key] = self._then.values[place.key]
        self.watcher.changing = [place for key, (place, _) in self._starts.items() if key not in self._of_batch]

    def _refuse_step(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        """Of an optimizer that moves what is held: others may be at work in other threads."""
        if any(id(p) in self._present.values for group in optimizer.param_groups for p in group["params"]):
            raise ProbeError(
                f"the model or the loss steps an optimizer of its own ({type(optimizer).__name__}) in each pass, which "
                "cannot be taken back; step it between the passes"
            )

    def _refuse_new(self, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        for name, p in parameters:
            held = self.training_pass.hold.values.get(id(p))
            if held is None or held[1][1].shape != p.shape:
                what = "was not there" if held is None else f"had no shape {tuple(p.shape)}"
                raise ProbeError(f"{name!r} {what} when the training pass began; measure from the next step on")

    def _autocast(self, noted: Iterable[tuple[str, torch.dtype]]) -> ExitStack:
        """Autocast as it was noted, whatever it is now."""
        stack, dtypes = ExitStack(), dict(noted)
        for device_type in self.watcher.device_types:
            if device_type in dtypes or torch.is_autocast_enabled(device_type):
                dtype = dtypes.get(device_type)
                stack.enter_context(torch.autocast(device_type, dtype=dtype, enabled=dtype is not None))
        return stack


def check_loss(loss: Any) -> None:
    """Raise an error if something is no loss."""
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        what = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"{type(loss).__name__}"
        raise ProbeError(f"loss_fn must return a scalar tensor, not {what}; reduce it, say with .mean()")


def _leave_modes(depth: int) -> None:
    """Leave what Ctrl-C has kept from being left."""
    while torch._C._len_torch_dispatch_stack() > depth:
        _pop_mode()


def _refill_cache(values: dict[Any, Any]) -> None:
    """What `parametrize.cached()` keeps of weights: each pass fills it anew."""
    parametrize._cache.clear()
    parametrize._cache.update(values)


def _cut(tensor: Tensor) -> Tensor:
    """An input as if it came from nowhere, where it comes from other networks, which are no part of the measurement."""
    return tensor if tensor.grad_fn is None else tensor.detach().requires_grad_().clone()
