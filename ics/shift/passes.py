"""The training pass, run again without leaving a trace.

A `PassWatcher` notes how each training pass begins; `Passes` runs it again, as often as wanted, from that very state:

    watcher = PassWatcher.of(model, loss_fn)
    … the training pass …
    with Passes(watcher, watcher.learn(), loss_fn, x, y) as passes:
        passes.start()  # the same random numbers, buffers, attributes
        loss = passes.loss()
"""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ics.shift.errors import ProbeError
from ics.shift.state import Hold, Place, places, same_bits
from ics.shift.watcher import PassWatcher, TrainingPass, tensors_in

LossFunction = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Call:
    """The model on a batch, or a closure that calls it as it likes."""

    function: Callable[..., Any]
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, model: nn.Module, x: Any) -> "Call":
        """The model on a tensor, a tuple (`model(*x)`) or a dictionary (`model(**x)`)."""
        if isinstance(x, Call):
            return x
        return cls(model, kwargs=x) if isinstance(x, Mapping) else cls(model, x if isinstance(x, tuple) else (x,))

    @property
    def inputs(self) -> Any:
        """The batch."""
        return self.args, self.kwargs


class Passes:
    """The training pass, to be run again; when this is left, everything is as it was when it was entered.

    Args:
        watcher: of the model.
        training_pass: from whose state the passes start.
        loss_fn: the loss.
        x: the batch, as the model takes it, or a `Call`.
        y: its targets, as the loss takes them.
        before_update: the state between training pass and update, where an update has come between: from there starts
            all that the training pass is not known to change.
        fresh_noise: random numbers go on from where they are now, instead of being the training pass's.

    Attributes:
        old: trainable parameter → its value when the training pass began.
        new: trainable parameter → its value now.
        has_new_state: whether a pass has changed what no pass was known to change (see `look`).
        outputs: the tensors that the last forward pass gave, in what may be nested containers, without their graph.
    """

    def __init__(
        self,
        watcher: PassWatcher,
        training_pass: TrainingPass,
        loss_fn: LossFunction,
        x: Any,
        y: Any,
        before_update: Hold | None = None,
        fresh_noise: bool = False,
    ) -> None:
        self.watcher, self.training_pass = watcher, training_pass
        self._loss_fn, self._call, self._y = loss_fn, Call.of(watcher.model, x), y
        self._before = before_update
        self._fresh = watcher.random_ids() if fresh_noise else set()
        self.has_new_state = False
        self.outputs: list[Tensor] = []
        self._open = ExitStack()

    def __enter__(self) -> "Passes":
        watcher = self.watcher
        with ExitStack() as stack:
            stack.enter_context(watcher.pause())
            self._present = watcher.hold((self._call.inputs, self._y))
            self._batch = places([self._call.inputs, self._y])
            self._is_old: dict[nn.Parameter, bool] = {}
            stack.callback(self._restore)
            self._holds = [hold for hold in (self.training_pass.hold, self._before, self._present) if hold]
            parameters = [p for p in watcher.model.parameters() if p.requires_grad]
            self.new = {p: self._present.value(p) for p in parameters}
            self.old = {p: next(hold for hold in self._holds if p in hold).value(p) for p in parameters}
            self._is_old = dict.fromkeys(parameters, False)
            self._changing, self._idle = {id(place.thing) for place in watcher.changing}, watcher.idle()
            self._starts: list[tuple[Place, Any]] = []
            held = [place for place, _ in self.training_pass.hold.values.values()]
            if self.training_pass.whole:  # most of it stays as it is
                wanted = self._changing | self._idle | watcher.random_ids()
                held = [place for place in held if id(place.thing) in wanted]
            self._add_starts(held)
            self._add_starts([*watcher.changing, *(self._batch if watcher.holds_batch else ())])
            self._add_starts(self._before.changed() if self._before else [])
            things = [place.thing for place, _ in self._present.values.values()]
            self._leaves = [t for t in things if isinstance(t, Tensor) and t.requires_grad and t.is_leaf]
            stack.callback(_give_gradients, [(leaf, leaf.grad) for leaf in self._leaves])
            for leaf in self._leaves:
                if hooks := leaf._post_accumulate_grad_hooks:  # an optimizer's step may be among them
                    stack.callback(hooks.update, dict(hooks))
                    hooks.clear()
            stack.enter_context(torch.enable_grad())
            self._open = stack.pop_all()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._open.__exit__(*exc)

    def start(
        self, moved: Container[nn.Parameter] | None = None, same_noise: bool = False, statistics: bool = True
    ) -> None:
        """Put everything to the start of the training pass.

        Args:
            moved: the trainable parameters that have their values from after the update, all others having those from
                before it; by default all have what they have now.
            same_noise: the training pass's random numbers, even with `fresh_noise`.
            statistics: put back the running statistics of norms, too, where they are held.
        """
        for place, value in self._starts:
            if id(place.thing) in self._fresh and not same_noise:
                place.put(self._present.values[id(place.thing)][1])
            elif statistics or id(place.thing) not in self._idle:
                place.put(value)
        for p, is_old in self._is_old.items():
            old = moved is not None and p not in moved
            if old != is_old or id(p) in self._changing:
                p.data.copy_(self.old[p] if old else self.new[p])
                self._is_old[p] = old
        for leaf in self._leaves:
            leaf.grad = None
        torch.clear_autocast_cache()  # it would hand out casts of weights that have changed since

    def forward(self) -> Any:
        """The model's outputs."""
        with self._autocast():
            outputs = self._call.function(*self._call.args, **self._call.kwargs)
        self.outputs = [tensor.detach() for tensor in tensors_in(outputs)]
        return outputs

    def loss(self) -> Tensor:
        """The loss of a pass.

        Raises:
            ProbeError: it is no scalar tensor.
        """
        outputs = self.forward()
        with self._autocast() if self.watcher.loss_autocast else ExitStack():
            loss = self._loss_fn(outputs, self._y)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            what = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"{type(loss).__name__}"
            raise ProbeError(f"loss_fn must return a scalar tensor, not {what}; reduce it, say with .mean()")
        return loss

    def gradients(self) -> dict[nn.Parameter, Tensor]:
        """Those that a pass leaves in the parameters' `.grad`; its loss is in `value` then."""
        loss = self.loss()
        self.value = loss.detach().clone()
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        return {p: p.grad.detach().clone() for p in self.new if p.grad is not None}

    def is_batch_of_training(self) -> bool:
        """Whether x holds what the model was given in the training pass, as far as that is still there."""
        given, then = tensors_in(self._call.inputs), self.training_pass.tensors()
        hold = self.training_pass.hold
        if self._call.function is not self.watcher.model:  # a closure, which knows its batch itself
            return True
        return len(given) == len(then) and all(
            a is b or b is None or same_bits(a, hold.value(b) if b in hold else b)
            for a, b in zip(given, then, strict=True)
        )

    def has_moved_before(self) -> bool:
        """Whether parameters have changed between training pass and update, other than by passes."""
        hold, parameters = self._before or self._present, list(self.watcher.model.parameters())
        then = self.training_pass.versions
        return len(then) == len(parameters) and any(
            id(p) not in self._changing and version != hold.values[id(p)][1][2].prev_versions[0]
            for p, version in zip(parameters, then, strict=True)
        )

    @property
    def has_moved(self) -> bool:
        """Whether the update has changed any trainable parameter."""
        return any(not same_bits(self.old[p], self.new[p]) for p in self.new)

    def look(self) -> bool:
        """After a pass: put back, at every start, what it has changed without that having been known; if anything."""
        known, changed = len(self._starts), self._present.changed()
        self._add_starts(place for place in changed if id(place.thing) not in self._idle)
        self._note_batch(changed)
        is_new = len(self._starts) > known
        self.has_new_state |= is_new
        return is_new

    def volatile(self) -> list[Place]:
        """What a pass changes and a replay must keep up with, other than torch's generators and idle statistics."""
        ignored = self.watcher.idle() | {id(place.thing) for place in self.watcher.random}
        return [place for place, _ in self._starts if id(place.thing) not in ignored]

    def _restore(self) -> None:
        ours = {id(p) for p in self._is_old} | {id(place.thing) for place in self._batch}
        changed = self._present.restore()
        self._note_batch(changed)
        self.watcher.grow(place for place in changed if id(place.thing) not in ours)

    def _note_batch(self, changed: Iterable[Place]) -> None:
        batch = {id(place.thing) for place in self._batch}
        self.watcher.holds_batch |= any(id(place.thing) in batch for place in changed)

    def _add_starts(self, found: Iterable[Place]) -> None:
        there = {id(p) for p in self._is_old} | {id(place.thing) for place, _ in self._starts}
        for place in found:
            key = id(place.thing)
            values = (hold.values[key][1] for hold in self._holds if key in hold.values)
            if key not in there and (value := next(values, None)) is not None:
                self._starts.append((place, value))

    @contextmanager
    def _autocast(self) -> Iterator[None]:
        with ExitStack() as stack:
            for device_type, dtype in self.training_pass.autocast:
                stack.enter_context(torch.autocast(device_type, dtype=dtype))
            yield


def _give_gradients(kept: list[tuple[Tensor, Tensor | None]]) -> None:
    for leaf, gradient in kept:
        leaf.grad = gradient
