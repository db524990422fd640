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
from collections.abc import Callable, Container, Hashable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from ics.shift.layers import Layer, ParameterUse, gradients_of, storage_of
from ics.shift.passes import Passes
from ics.shift.state import Hold, Place
from ics.shift.watcher import tensors_in

NEVER = float("inf")
ATTEMPTS = 3
Forward = Callable[..., Any]


class OtherWay(Exception):
    """A pass made other calls than the recorded one, or one whose output is not remembered."""


def record(passes: Passes, habits: set[Any], moving: Container[nn.Parameter] | None = None) -> "Recording":
    """A forward pass that remembers every call.

    Args:
        passes: the training pass, to be run again.
        moving: the parameters that have their updated value, all others having the one from before; None: all.
        habits: what earlier recordings found, and this one adds to: modules whose outputs later code changes in place,
            generators of random numbers that are drawn from.
    """
    moved = frozenset(p for p in passes.new if moving is None or p in moving)
    for _ in range(ATTEMPTS):  # the first one may find state to hold, and outputs to copy
        passes.start(moved)
        recording = Recording(passes.watcher.model, passes.watcher.random, passes.volatile(), habits, moved)
        with recording.interceptor.route(recording.handle), recording:
            passes.forward()
        has_new_state = passes.look()
        if recording.finish() and not has_new_state:
            recording.is_sound = True
            break
    return recording


def shifted_gradients(
    passes: Passes, recording: "Recording", layers: Sequence[Layer]
) -> Iterator[tuple[Layer, Tensor | None]]:
    """G' of every layer, deepest first; None where the loss does not depend on the layer.

    Raises:
        OtherWay: see `gradients`.
    """
    # Deepest first, since what lies beyond a layer can be forgotten.
    for layer in sorted(layers, key=lambda layer: min(map(recording.place, layer.parameters)), reverse=True):
        moved = layer.before.intersection(passes.new)
        yield layer, gradients(passes, recording, moved, [layer])[layer]


def gradients(
    passes: Passes, recording: "Recording", moved: Set[nn.Parameter], layers: Sequence[Layer]
) -> dict[Layer, Tensor | None]:
    """∇_{W_i} L of some layers, from the first parameter on whose value is another than in the recording.

    Args:
        passes: the training pass, to be run again.
        recording: what lies before is taken from it, and what lies beyond is forgotten.
        moved: the parameters that have their updated values.
        layers: those whose gradient is wanted; None where the loss does not depend on one.

    Raises:
        OtherWay: the model went another way than the recorded one, or the recording is not sound.
    """
    if not recording.is_sound:
        raise OtherWay
    start = min(map(recording.place, recording.moved ^ moved), default=NEVER)
    recording.forget_from(start)
    passes.start(moved)
    with recording.interceptor.route(Replay(recording, start).handle):
        loss = passes.loss()
    return gradients_of(loss, layers)


class Interceptor:
    """Routes every submodule's `forward` through a handler while active; otherwise the model is untouched.

    Args:
        model: the root, whose own `forward` is not routed.
    """

    def __init__(self, model: nn.Module) -> None:
        self._handler: Callable[[nn.Module, Forward, Any, Any], Any] | None = None
        # One stand-in for all passes: as an attribute of its module it may be part of the state that a skip restores.
        self._forwards = [
            (module, module.__dict__.get("forward"), self._stand_in(module))
            for module in model.modules()
            if module is not model
        ]

    @contextmanager
    def route(self, handler: Callable[[nn.Module, Forward, Any, Any], Any]) -> Iterator[None]:
        """While open, `handler(module, forward, args, kwargs)` stands in for each `module.forward(*args, **kwargs)`."""
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

    def _stand_in(self, module: nn.Module) -> Forward:
        forward = module.forward

        def routed(*args: Any, **kwargs: Any) -> Any:
            assert self._handler is not None
            return self._handler(module, forward, args, kwargs)

        return routed


@dataclass
class Call:
    """One run of a submodule's `forward` in the recorded pass.

    Attributes:
        module: the submodule.
        enter, exit: times.
        end: index of the first call after this one and all calls nested in it.
        skipped: whether a replay may return what is remembered instead.
        output: what it returned, each tensor without its graph.
        inputs: the storages of its arguments.
        state: in which it left everything.
    """

    module: nn.Module
    enter: int
    exit: int = -1
    end: int = -1
    skipped: bool = False
    output: Any = None
    inputs: set[int] = field(default_factory=set)
    state: Hold | None = None


class Recording(ParameterUse):  # type: ignore[no-untyped-call]
    """A pass of which every call and every first use of a parameter is noted, and every call's output remembered.

    Args:
        model: the root.
        random: the generators of random numbers.
        volatile: what else a pass may change and a skip must keep up with.
        habits: modules whose outputs are remembered as copies, and generators that are kept up with.
        moved: the parameters that have their updated values.

    Attributes:
        is_sound: whether all that is remembered is as the calls left it.
        moved: the parameters that had their updated value.
    """

    def __init__(
        self,
        model: nn.Module,
        random: Sequence[Place],
        volatile: Sequence[Place],
        habits: set[Any],
        moved: Set[nn.Parameter],
    ) -> None:
        super().__init__(model.parameters())
        self.moved = moved
        self.interceptor = Interceptor(model)
        self.calls: list[Call] = []
        self.first_use: dict[nn.Parameter, int] = {}
        self.is_sound = False
        self._clock = 0
        self._habits = habits
        self._start = self._state = Hold([*habits.intersection(random), *volatile])
        self._undrawn = Hold(place for place in random if place not in habits)
        self._own = {storage_of(tensor) for tensor in [*model.parameters(), *model.buffers()]}

    @property
    def way(self) -> Hashable:
        """What two passes have in common that go the same way through the model."""
        return tuple((id(call.module), call.skipped) for call in self.calls), tuple(map(id, self.order))

    def place(self, parameter: nn.Parameter) -> float:
        """The time of its first use."""
        return self.first_use.get(parameter, NEVER)

    def on_first_use(self, parameter: nn.Parameter) -> None:
        self.first_use[parameter] = self._tick()

    def handle(self, module: nn.Module, forward: Forward, args: Any, kwargs: Any) -> Any:
        """Run a call and remember all about it."""
        call = Call(module, enter=self._tick())
        self.calls.append(call)
        inputs = [(tensor, _version(tensor)) for tensor in tensors_in((args, kwargs))]
        output = forward(*args, **kwargs)
        call.exit, call.end = self._tick(), len(self.calls)
        call.skipped = (
            _is_plain(output)
            and all(_version(tensor) == version for tensor, version in inputs)
            and not any(storage_of(tensor) in self._own for tensor in tensors_in(output))
        )
        if call.skipped:
            call.output = _map(_Kept.copied if module in self._habits else _Kept.of, output)
            call.inputs = {storage_of(tensor) for tensor, _ in inputs}
        if changed := self._state.changed():  # what has not changed is shared
            self._state |= Hold(changed)
        call.state = self._state
        return output

    def finish(self) -> bool:
        """Once the pass is over, whether each output that is remembered is what its call returned."""
        known = len(self._habits)
        self._habits.update(self._undrawn.changed())
        for call in self.calls:
            if any(kept.tensor._version != kept.version for kept in _kept_in(call.output)):
                if any(storage_of(kept.tensor) in call.inputs for kept in _kept_in(call.output)):
                    call.skipped, call.output = False, None
                else:
                    self._habits.add(call.module)
        return len(self._habits) == known

    @property
    def has_state(self) -> bool:
        """Whether any call changed state."""
        return self._state is not self._start

    def forget_from(self, start: float) -> None:
        """Free what no replay from `start` or earlier can need."""
        for call in self.calls:
            if call.exit > start:
                call.output = call.state = None

    def _tick(self) -> int:
        self._clock += 1
        return self._clock


class Replay:
    """A pass that returns remembered outputs up to a time and computes from there on.

    Args:
        recording: finished.
        start: time of the first use of a parameter whose value differs from the recording's.
    """

    def __init__(self, recording: Recording, start: float) -> None:
        self._recording, self._calls = recording, recording.calls
        self._start = start
        self._cursor = 0
        self._live = False

    def handle(self, module: nn.Module, forward: Forward, args: Any, kwargs: Any) -> Any:
        """Skip the call or run it."""
        # There are no more calls: recomputation in the backward pass (activation checkpointing).
        if self._live or self._cursor == len(self._calls):
            return forward(*args, **kwargs)
        call = self._calls[self._cursor]
        if call.module is not module:
            raise OtherWay
        if call.exit > self._start or not call.skipped:
            self._cursor += 1
            self._live = call.enter > self._start
            return forward(*args, **kwargs)
        self._cursor = call.end
        if call.state is None:
            raise OtherWay
        if self._recording.has_state:
            call.state.restore()
        return _map(_Kept.recalled, call.output)


@dataclass
class _Kept:
    """A remembered tensor, and whether it needs a gradient: some functions choose their algorithm by that (matmul)."""

    tensor: Tensor
    requires_grad: bool
    version: int
    is_copy: bool = False

    @classmethod
    def of(cls, tensor: Tensor) -> "_Kept":
        return cls(tensor.detach(), tensor.requires_grad, tensor._version)

    @classmethod
    def copied(cls, tensor: Tensor) -> "_Kept":
        copy = tensor.detach().clone()
        return cls(copy, tensor.requires_grad, copy._version, is_copy=True)

    def recalled(self) -> Tensor:
        """The tensor as its call would have returned it; if it needs a gradient, it starts a graph of its own."""
        leaf = self.tensor.detach().requires_grad_(self.requires_grad)
        # The copy is made inside the graph: later code may change it in place, which a leaf would refuse.
        return leaf.clone() if self.is_copy else leaf


def _map(function: Callable[[Any], Any], tree: Any) -> Any:
    """`tree_map` over tensors, at no cost for the commonest tree: a single tensor."""
    if isinstance(tree, Tensor | _Kept):
        return function(tree)
    return tree_map(lambda leaf: function(leaf) if isinstance(leaf, Tensor | _Kept) else leaf, tree)


def _kept_in(tree: Any) -> list[_Kept]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, _Kept)]


def _version(tensor: Tensor) -> int | None:
    return None if tensor.is_inference() else tensor._version


def _is_plain(output: Any) -> bool:
    """Whether an output is made of dense tensors and of unchangeable values, in tuples, lists and dictionaries."""
    if isinstance(output, Tensor):
        return output.layout == torch.strided and type(output) in (Tensor, nn.Parameter) and not output.is_inference()
    if type(output) in (tuple, list):
        return all(map(_is_plain, output))
    if type(output) in (dict, OrderedDict):
        return all(map(_is_plain, output.values()))
    return isinstance(output, int | float | complex | str | bool | torch.dtype | torch.device | None)
