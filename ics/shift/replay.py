"""G' of every layer by recording one forward pass and running it again from the layer on: the rest is not computed.

The hybrid network of Definition 2.1 equals the updated network up to layer i. Its forward pass therefore repeats the
updated network's until the first parameter that differs is used. A *call* is one run of one submodule's `forward`; time
counts call entries, call exits and first uses of parameters. Before time t:

- a call that ended is skipped: it returns what it returned in the recording;
- a call in progress runs its own Python code, in which further calls are skipped;
- code between calls (`out += identity`, functional dropout, concatenation) simply runs.

What a skip must not disturb, and how it is kept:

- a tensor that later code changes in place: recorded as a copy, returned as a copy;
- a call that changes its own input in place, or hands its input on to code that does, or returns anything but plain
  tensors of its own: never skipped, it is repeated on the same values;
- random numbers, buffers, attributes, lists: after a skipped call they are put to where the call had left them.

Whether all of it is the definition's to the bit is not argued here but compared, by the probe.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves, tree_map_only

from ics.shift.layers import Layer, ParameterUse, gradients_of, storage_of
from ics.shift.passes import Passes
from ics.shift.state import Hold
from ics.shift.watcher import PassWatcher, tensors_in

NEVER = float("inf")
ATTEMPTS = 3
Forward = Callable[..., Any]
Handler = Callable[[nn.Module, Forward, Any, Any], Any]


def record(passes: Passes, habits: set[Any], moved: Set[nn.Parameter] | None = None) -> "Recording":
    """A pass up to its loss that remembers every call, with some parameters updated; None: all that may move.

    Habits are what earlier recordings found, and this one adds to: modules whose outputs later code changes in place,
    and generators of random numbers that are drawn from.
    """
    moved = passes.new.keys() if moved is None else moved
    for _ in range(ATTEMPTS):  # the first one may find state to hold, and outputs to copy
        passes.start(moved)
        recording = Recording(passes, habits, moved)
        with recording.route(recording.handle), recording:
            outputs = passes.forward()
            with _disable_current_modes():  # to look at a parameter is not to use it
                has_new_state = passes.look()  # before the loss, which may clear what a pass has left for it
            passes.loss_of(outputs)
        if recording.finish() and not has_new_state:
            recording.is_sound = True
            break
    return recording


def shifted_gradients(
    passes: Passes, recording: "Recording", layers: Sequence[Layer]
) -> Iterator[tuple[Layer, Tensor]]:
    """G' of every layer; deepest first, since what lies beyond a layer can be forgotten."""
    for layer in sorted(layers, key=lambda layer: recording.first_of(layer.parameters), reverse=True):
        yield layer, gradients(passes, recording, layer.before, [layer])[layer]


def gradients(
    passes: Passes, recording: "Recording", moved: Set[nn.Parameter], layers: Sequence[Layer]
) -> dict[Layer, Tensor]:
    """∇_{W_i} L of some layers; what lies before the first parameter with another value is taken from the recording."""
    if not recording.is_sound:
        raise LookupError("what the recording remembers is not what its calls returned")
    start = recording.first_of(recording.moved ^ moved)
    passes.start(moved)
    with recording.route(recording.replay_until(start)):
        loss = passes.loss()
    return gradients_of(loss, layers)


@dataclass
class Call:
    """One run of a submodule's `forward` in the recorded pass."""

    module: nn.Module
    enter: int  # time
    exit: int = -1  # time
    end: int = -1  # index of the first call after this one and all calls nested in it
    skipped: bool = False  # whether a replay may return what is remembered instead
    output: Any = None  # what it returned, each tensor without its graph
    inputs: set[int] = field(default_factory=set)  # the storages of its arguments
    state: Hold | None = None  # in which it left what it changed; None where the call is to be repeated


class Recording(ParameterUse):  # type: ignore[no-untyped-call]
    """A pass of which every call and every first use of a parameter is noted, and every call's output remembered."""

    def __init__(self, passes: Passes, habits: set[Any], moved: Set[nn.Parameter]) -> None:
        watcher = passes.watcher
        super().__init__(watcher.model.parameters())
        self.moved = moved
        self.is_sound = False  # whether all that is remembered is as the calls left it
        self._calls: list[Call] = []
        self._habits = habits
        self._state = Hold([*habits.intersection(watcher.random), *passes.volatile()])
        self._undrawn = Hold(place for place in watcher.random if place not in habits)
        self._own = {storage_of(tensor) for tensor in [*watcher.model.parameters(), *watcher.model.buffers()]}
        self._handler: Handler = self.handle
        # One stand-in for all passes: as an attribute of its module it may be part of the state that a skip restores.
        submodules = list(watcher.model.modules())[1:]
        self._forwards = [(m, m.__dict__.get("forward"), partial(self._routed, m, m.forward)) for m in submodules]

    @property
    def way(self) -> Hashable:
        """What two passes have in common that go the same way through the model."""
        return tuple((id(call.module), call.skipped) for call in self._calls), tuple(map(id, self.first_use))

    def first_of(self, parameters: Iterable[nn.Parameter]) -> float:
        """The time of the first use of any of these parameters."""
        return min((self.first_use.get(p, NEVER) for p in parameters), default=NEVER)

    @contextmanager
    def route(self, handler: Handler) -> Iterator[None]:
        """While open, `handler(module, forward, args, kwargs)` stands in for `forward` of each submodule."""
        self._handler = handler
        try:
            for module, _, stand_in in self._forwards:
                module.__dict__["forward"] = stand_in
            yield
        finally:
            for module, own, _ in self._forwards:
                if own is None:
                    module.__dict__.pop("forward", None)
                else:  # set on the instance by other tools, rarely
                    module.__dict__["forward"] = own

    def _routed(self, module: nn.Module, forward: Forward, /, *args: Any, **kwargs: Any) -> Any:
        if not PassWatcher.is_measuring():  # another thread's use of the model
            return forward(*args, **kwargs)
        return self._handler(module, forward, args, kwargs)

    def handle(self, module: nn.Module, forward: Forward, args: Any, kwargs: Any) -> Any:
        """Run a call and remember all about it."""
        call = Call(module, enter=next(self.clock))
        self._calls.append(call)
        entered = self._look()
        inputs = [(tensor, tensor._version) for tensor in tensors_in((args, kwargs)) if not tensor.is_inference()]
        output = forward(*args, **kwargs)
        call.exit, call.end = next(self.clock), len(self._calls)
        call.skipped = (
            _is_plain(output)
            and all(tensor._version == version for tensor, version in inputs)
            and not any(storage_of(tensor) in self._own for tensor in tensors_in(output))
        )
        if call.skipped:
            call.output = tree_map_only(Tensor, partial(_Kept, is_copy=module in self._habits), output)
            call.inputs = {storage_of(tensor) for tensor, _ in inputs}
        left = self._look()
        call.state = left.beyond(entered) if call.skipped else None
        return output

    def _look(self) -> Hold:
        """The state as it is now; what has not changed is shared with the last look."""
        with _disable_current_modes():  # to look at a parameter is not to use it
            if changed := self._state.changed():
                self._state |= Hold(changed)
        return self._state

    def finish(self) -> bool:
        """Once the pass is over, whether each output that is remembered is what its call returned."""
        known = len(self._habits)
        self._habits.update(self._undrawn.changed())
        for call in self._calls:
            kept = [leaf for leaf in tree_leaves(call.output) if isinstance(leaf, _Kept)]
            if any(one.tensor._version != one.version for one in kept):
                if any(storage_of(one.tensor) in call.inputs for one in kept):
                    call.skipped, call.output, call.state = False, None, None
                else:
                    self._habits.add(call.module)
        return len(self._habits) == known

    def replay_until(self, start: float) -> Handler:
        """A handler that returns what is remembered up to a time, forgets the rest, and computes from there on."""
        for call in self._calls:
            if call.exit > start:
                call.output = call.state = None
        cursor, live = 0, False

        def handle(module: nn.Module, forward: Forward, args: Any, kwargs: Any) -> Any:
            nonlocal cursor, live
            # There are no more calls: recomputation in the backward pass (activation checkpointing).
            if live or cursor == len(self._calls):
                return forward(*args, **kwargs)
            call = self._calls[cursor]
            if call.module is not module:
                raise LookupError("the model goes another way than the recorded one")
            if call.exit > start or call.state is None:
                cursor += 1
                live = call.enter > start
                return forward(*args, **kwargs)
            cursor = call.end
            call.state.restore()
            return tree_map_only(_Kept, _Kept.recalled, call.output)

        return handle


class _Kept:
    """A remembered tensor, and whether it needs a gradient: some functions choose their algorithm by that (matmul)."""

    def __init__(self, tensor: Tensor, is_copy: bool) -> None:
        self.tensor = tensor.detach().clone() if is_copy else tensor.detach()
        self.version = self.tensor._version
        self._requires_grad, self._is_copy = tensor.requires_grad, is_copy

    def recalled(self) -> Tensor:
        """The tensor as its call would have returned it; if it needs a gradient, it starts a graph of its own."""
        leaf = self.tensor.detach().requires_grad_(self._requires_grad)
        # The copy is made inside the graph: later code may change it in place, which a leaf would refuse.
        return leaf.clone() if self._is_copy else leaf


def _is_plain(output: Any) -> bool:
    """Whether an output is made of dense tensors and of unchangeable values, in tuples, lists and dictionaries."""
    if isinstance(output, Tensor):
        return output.layout == torch.strided and type(output) in (Tensor, nn.Parameter) and not output.is_inference()
    if type(output) in (tuple, list, dict, OrderedDict):
        return all(map(_is_plain, output.values() if isinstance(output, dict) else output))
    return isinstance(output, int | float | complex | str | bool | torch.dtype | torch.device | None)
