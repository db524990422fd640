"""The training pass, run again without leaving a trace.

A `PassWatcher` notes how each training pass begins; `Passes` runs it again, as often as wanted, from that very state:

    watcher = PassWatcher.of(model, loss_fn)
    … the training pass …
    with Passes(watcher, watcher.learn(), loss_fn, x, y) as passes:
        passes.start()  # the same random numbers, buffers, attributes
        loss = passes.loss()
"""

import contextlib
import sys
import weakref
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_leaves

from ics.shift.errors import ProbeError
from ics.shift.state import (
    Hold,
    ItemsPlace,
    Place,
    TensorPlace,
    foreign_random_places,
    places,
    random_places,
    same_bits,
)

LossFunction = Callable[[Any, Any], Tensor]

_NORMS = ("torch.nn.modules.batchnorm", "torch.nn.modules.instancenorm")  # not what others derive from them


class Hook:
    """A hook that is a no-op in the model's copies and files, so that these load without this package."""

    def __init__(self, owner: "PassWatcher", call: Callable[..., None]) -> None:
        self.owner, self._call = owner, call

    def __call__(self, *args: Any) -> None:
        self._call(*args)

    def __reduce__(self) -> Any:
        return getattr, (contextlib.nullcontext(), "__exit__")  # takes anything and returns None


@dataclass(frozen=True)
class TrainingPass:
    """How a forward pass with gradients began.

    Attributes:
        hold: the state it began from: all of it until a first measurement has shown what a pass changes, then that.
        whole: whether it is all of it.
        autocast: types of device for which it was on, with its data type.
        inputs: the tensors among the model's arguments.
        versions: of the parameters.
        gradient: the largest entry of the first parameter's `.grad` at that moment; None where there was none.
    """

    hold: Hold
    whole: bool
    autocast: list[tuple[str, torch.dtype]]
    inputs: list[weakref.ref[Tensor]]
    versions: list[int]
    gradient: Tensor | None

    def tensors(self) -> list[Tensor | None]:
        """The inputs; None for one that is gone."""
        return [reference() for reference in self.inputs]


class PassWatcher:
    """Notes how a model's forward passes with gradients begin.

    A model has one at most, which all who measure it share (`PassWatcher.of`). Passes inside `Passes` or `pause` are
    not noted: they are no training passes. From the first measurement on only that is held which a pass was seen to
    change, at the cost of a few microseconds. The running statistics of torch's batch and instance norms are left out:
    in training their result does not depend on them (`hold_statistics` is set where that turns out otherwise).

    Attributes:
        last: the last pass noted; None before the first.
        changing: what passes change themselves, as far as that is known.
        loss_autocast: whether the loss, too, is computed under the model's autocast.
        hold_statistics: see above.
        holds_batch: whether passes change their batch.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.last: TrainingPass | None = None
        self.loss_autocast = True
        self.hold_statistics = False
        devices = list(dict.fromkeys(t.device for t in [torch.empty(0), *model.parameters(), *model.buffers()]))
        self._device_types = list(dict.fromkeys(device.type for device in devices))
        self.random = random_places(devices)
        self._foreign_random = foreign_random_places()
        self._roots: list[Any] = [model]
        self.changing: list[Place] = []
        self._reached: list[Place] = []
        self._containers: list[tuple[Place, Any]] = [(ItemsPlace([model]), ([], []))]  # not the same: to be searched
        self._is_learning = True
        self._parameters: list[nn.Parameter] = []
        self._known: dict[int, Any] = {}  # what they do not change, by id
        self.holds_batch = False
        self._open_at: int | None = None  # depth of the stack at which a noted pass is under way
        self._users = self._pauses = 0
        self._hooks = [
            model.register_forward_pre_hook(Hook(self, self._begin), prepend=True, with_kwargs=True),
            model.register_forward_hook(Hook(self, self._end), always_call=True),
        ]

    @classmethod
    def of(cls, model: nn.Module, loss_fn: Any = None) -> "PassWatcher":
        """The model's watcher, which is put on it for the first who asks; everyone who asked closes it.

        Args:
            model: called as `model(x)`.
            loss_fn: whatever it can reach is held as well.
        """
        hooks = (hook for hook in model._forward_pre_hooks.values() if isinstance(hook, Hook))
        watcher = next((hook.owner for hook in hooks), None) or cls(model)
        if not any(root is loss_fn for root in watcher._roots):
            watcher._roots.append(loss_fn)
            watcher._containers = [(ItemsPlace([loss_fn]), ([], []))]  # search anew
            watcher.forget()
        watcher._users += 1
        return watcher

    def close(self) -> None:
        """Take back one `of`; the last one removes the hooks."""
        self._users -= 1
        if self._users == 0:
            for hook in self._hooks:
                hook.remove()

    @property
    def paused(self) -> bool:
        """Whether a pass that runs now is a measurement's."""
        return self._pauses > 0

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Inside, passes are not noted."""
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1

    def hold(self, batch: Any = ()) -> Hold:
        """All state there is, now: what model, losses and batch can reach, and the generators of random numbers."""
        # What can be reached changes only with what containers hold, which is cheaper to compare than to search.
        if not all(place.same(value) for place, value in self._containers):
            self._reached = places(self._roots)
            containers = [place for place in self._reached if not isinstance(place, TensorPlace)]
            self._containers = [(place, place.take()) for place in containers]
        return Hold([*self.random, *self._foreign_random, *self._reached, *places([batch])])

    def learn(self) -> TrainingPass:
        """The last training pass; what it has changed is known from here on. Before the update, which changes more.

        Raises:
            ProbeError: there was none.
        """
        if self.last is None:
            raise ProbeError("no forward pass with gradients has been seen; call model(x) before you measure")
        if self.last.whole and self._is_learning:
            given = {id(tensor) for tensor in self.last.tensors()}
            values = self.last.hold.values.items()
            self._known = {key: place.thing for key, (place, _) in values if key not in given}
            self.changing, self.holds_batch, self._is_learning = [], False, False
            self.grow(self.last.hold.changed())
        return self.last

    def grow(self, changed: Iterable[Place]) -> bool:
        """Hold these places, too, when a pass begins; whether any of them is new."""
        known = {id(place.thing) for place in [*self.changing, *self.random]} | self.idle()
        given = {id(tensor) for tensor in self.last.tensors()} if self.last else set()
        new = [place for place in changed if id(place.thing) not in known]
        self.holds_batch |= any(id(place.thing) in given for place in new)
        self.changing += [place for place in new if id(place.thing) not in given]
        for place in self.changing:
            self._known.pop(id(place.thing), None)
        return bool(new)

    def forget(self) -> None:
        """Hold everything again when the next pass begins: the model has become another."""
        self._is_learning = True

    def idle(self) -> set[int]:
        """The ids of running statistics in training that no result depends on."""
        if self.hold_statistics:
            return set()
        norms = [m for m in self.model.modules() if isinstance(m, _NormBase) and type(m).__module__ in _NORMS]
        return {id(buffer) for norm in norms if norm.training for buffer in norm.buffers(recurse=False)}

    def random_ids(self) -> set[int]:
        """The ids of all generators that everybody draws from."""
        return {id(place.thing) for place in [*self.random, *self._foreign_random]}

    def _begin(self, model: nn.Module, args: Any, kwargs: Any) -> None:
        if self._pauses or not torch.is_grad_enabled():
            return
        depth = _stack_depth()
        if self._open_at is not None and depth > self._open_at:  # the model calls itself
            return
        self._open_at = depth
        inputs = [*args, *kwargs.values()]
        if self._is_learning:
            self._parameters = list(model.parameters())
        gradient = self._parameters[0].grad if self._parameters else None
        self.last = TrainingPass(
            self.hold(inputs) if self._is_learning else self._hold_changing(inputs),
            self._is_learning,
            [(t, torch.get_autocast_dtype(t)) for t in self._device_types if torch.is_autocast_enabled(t)],
            [weakref.ref(leaf) for leaf in _tensors(inputs)],
            [p._version for p in self._parameters],
            None if gradient is None else gradient.detach().abs().max(),
        )

    def _hold_changing(self, inputs: list[Any]) -> Hold:
        roots = [place.thing for place in self.changing] + (inputs if self.holds_batch else [])
        return Hold([*self.random, *self.changing, *(places(roots, self._known) if roots else ())])

    def _end(self, model: nn.Module, args: Any, output: Any) -> None:
        if not self._pauses and self._open_at is not None and _stack_depth() <= self._open_at:
            self._open_at = None


class Passes:
    """The training pass, to be run again; when this is left, everything is as it was when it was entered.

    Args:
        watcher: of the model.
        training_pass: from whose state the passes start.
        loss_fn: the loss.
        x: the batch, as the model takes it.
        y: its targets, as the loss takes them.
        before_update: the state between training pass and update, where an update has come between: from there starts
            all that the training pass is not known to change.
        fresh_noise: random numbers go on from where they are now, instead of being the training pass's.

    Attributes:
        old: trainable parameter → its value when the training pass began.
        new: trainable parameter → its value now.
        has_new_state: whether a pass has changed what no pass was known to change (see `look`).
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
        self._loss_fn, self._x, self._y = loss_fn, x, y
        self._before = before_update
        self._fresh = watcher.random_ids() if fresh_noise else set()
        self.has_new_state = False
        self._open = ExitStack()

    def __enter__(self) -> "Passes":
        watcher = self.watcher
        with ExitStack() as stack:
            stack.enter_context(watcher.pause())
            self._present = watcher.hold((self._x, self._y))
            self._batch = places([self._x, self._y])
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
        """The model's outputs: of a tensor, a tuple (`model(*x)`) or a dictionary (`model(**x)`)."""
        model, x = self.watcher.model, self._x
        with self._autocast():
            if isinstance(x, Mapping):
                return model(**x)
            return model(*x) if isinstance(x, tuple) else model(x)

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
        """Those that a pass leaves in the parameters' `.grad`."""
        loss = self.loss()
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        return {p: p.grad.detach().clone() for p in self.new if p.grad is not None}

    def is_batch_of_training(self) -> bool:
        """Whether x holds what the model was given in the training pass, as far as that is still there."""
        given, then = _tensors(self._x), self.training_pass.tensors()
        hold = self.training_pass.hold
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


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _give_gradients(kept: list[tuple[Tensor, Tensor | None]]) -> None:
    for leaf, gradient in kept:
        leaf.grad = gradient


def _stack_depth() -> int:
    frame, depth = sys._getframe(1), 0
    while frame.f_back is not None:
        frame, depth = frame.f_back, depth + 1
    return depth
