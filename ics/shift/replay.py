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

A *survey* pass finds these facts out; they form the `Plan`. Every later pass checks that it still holds. Whether all of
it is the definition's to the bit is not argued here but compared, by the probe.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from ics.shift.layers import Layer, ParameterUse, flat_gradient, storage_of
from ics.shift.passes import Passes
from ics.shift.state import Hold, Place
from ics.shift.watcher import tensors_in

NEVER = float("inf")
Forward = Callable[..., Any]
Handler = Callable[[nn.Module, Forward, Any, Any], Any]


def survey(passes: Passes) -> "Plan":
    """One watched forward pass with the updated weights: the way through the modules, and what to mind on it."""
    model = passes.watcher.model
    passes.start(moved=set(passes.new))
    watched = Survey(model, passes.watcher.random)
    with Interceptor(model).route(watched.handle), watched:
        passes.forward()
    passes.look()
    return watched.plan()


def shifted_gradients(passes: Passes, plan: "Plan", layers: Sequence[Layer]) -> Iterator[tuple[Layer, Tensor | None]]:
    """G' of every layer, deepest first; None where the loss does not depend on the layer.

    Args:
        passes: the training pass, to be run again.
        plan: from a survey.
        layers: those whose G' is wanted.

    Raises:
        PlanMismatch: the model took another way than the plan's.
    """
    interceptor = Interceptor(passes.watcher.model)
    passes.start(moved=set(passes.new))
    recording = Recording(plan, passes.watcher.random, passes.volatile())
    with interceptor.route(recording.handle):
        passes.forward()
    recording.finish()
    if passes.look():
        raise PlanMismatch

    def place(parameter: nn.Parameter) -> float:
        return plan.first_use.get(parameter, NEVER)

    # Deepest first, since what lies beyond a layer can be forgotten.
    for layer in sorted(layers, key=lambda layer: min(map(place, layer.parameters)), reverse=True):
        moved = layer.before.intersection(passes.new)
        start = min((place(p) for p in passes.new if p not in moved), default=NEVER)
        recording.forget_from(start)
        passes.start(moved)
        with interceptor.route(Replay(recording, start).handle):
            loss = passes.loss()
        parts = torch.autograd.grad(loss, layer.parameters, allow_unused=True) if loss.requires_grad else [None]
        yield layer, flat_gradient(layer, parts)


class PlanMismatch(Exception):
    """A pass did not go the way the plan says: the model's control flow has changed."""


@dataclass
class Call:
    """One run of a submodule's `forward` in the surveyed pass.

    Attributes:
        module: the submodule.
        enter, exit: times.
        end: index of the first call after this one and all calls nested in it.
        policy: "keep" the output; "copy" it, since later code changes it in place; "repeat" the call.
    """

    module: nn.Module
    enter: int
    exit: int = -1
    end: int = -1
    policy: Literal["keep", "copy", "repeat"] = "keep"


@dataclass
class Plan:
    """What a survey found out about the forward pass.

    Attributes:
        calls: in order of entry.
        first_use: time at which each parameter is first used; those not in here are never used.
        random: the generators of random numbers, if the pass draws any.
    """

    calls: list[Call]
    first_use: dict[nn.Parameter, int]
    random: list[Place]

    @property
    def order(self) -> list[nn.Parameter]:
        """The parameters in the order of their first use."""
        return sorted(self.first_use, key=self.first_use.__getitem__)


@dataclass
class Memory:
    """What the recording remembers of one call: its output, and the state in which it left everything."""

    output: Any
    state: Hold

    @classmethod
    def of(cls, call: Call, output: Any, state: Hold) -> "Memory":
        """Remember a call that just returned `output`."""
        kept = None if call.policy == "repeat" else _map(_clone if call.policy == "copy" else _hold, output)
        return cls(kept, state)

    def recall(self, copy: bool) -> Any:
        """The output as the call would have returned it; a tensor that needs a gradient starts a graph of its own."""
        return _map(_recall_copy if copy else _recall, self.output)


class Interceptor:
    """Routes every submodule's `forward` through a handler while active; otherwise the model is untouched.

    Args:
        model: the root, whose own `forward` is not routed.
    """

    def __init__(self, model: nn.Module) -> None:
        self._handler: Handler | None = None
        # One stand-in for all passes: as an attribute of its module it may be part of the state that a skip restores.
        self._forwards = [
            (module, module.__dict__.get("forward"), self._stand_in(module))
            for module in model.modules()
            if module is not model
        ]

    @contextmanager
    def route(self, handler: Handler) -> Iterator[None]:
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


class Survey(ParameterUse):  # type: ignore[no-untyped-call]
    """A watched pass that makes the plan. Use as a context manager around the pass, with `handle` routed.

    Args:
        model: the root.
        random: the generators of random numbers.
    """

    def __init__(self, model: nn.Module, random: Sequence[Place]) -> None:
        super().__init__(model.parameters())
        self._random = Hold(random)
        self._clock = 0
        self._calls: list[Call] = []
        self._first_use: dict[nn.Parameter, int] = {}
        self._outputs: list[tuple[Call, Tensor, int | None, set[int]]] = []
        self._state = {storage_of(tensor) for tensor in [*model.parameters(), *model.buffers()]}

    def on_first_use(self, parameter: nn.Parameter) -> None:
        self._first_use[parameter] = self._tick()

    def handle(self, module: nn.Module, forward: Forward, args: Any, kwargs: Any) -> Any:
        """Run a call and note all about it."""
        call = Call(module, enter=self._tick())
        self._calls.append(call)
        inputs = [(tensor, _version(tensor)) for tensor in tensors_in((args, kwargs))]
        output = forward(*args, **kwargs)
        call.exit, call.end = self._tick(), len(self._calls)
        outputs = tensors_in(output)
        if (
            not _is_plain(output)
            or any(_version(tensor) != version for tensor, version in inputs)
            or any(storage_of(tensor) in self._state for tensor in outputs)
        ):
            call.policy = "repeat"
        storages = {storage_of(tensor) for tensor, _ in inputs}
        self._outputs += [(call, tensor, _version(tensor), storages) for tensor in outputs]
        return output

    def plan(self) -> Plan:
        """The plan, once the pass is over."""
        for call, tensor, version, inputs in self._outputs:
            if _version(tensor) != version and call.policy == "keep":
                call.policy = "repeat" if storage_of(tensor) in inputs else "copy"
        self._outputs.clear()
        return Plan(self._calls, self._first_use, self._random.changed())

    def _tick(self) -> int:
        self._clock += 1
        return self._clock


class Recording:
    """A pass that remembers every call's output, following the plan.

    Args:
        plan: from a survey.
        random: the generators of random numbers.
        volatile: other state that a pass may change.
    """

    def __init__(self, plan: Plan, random: Sequence[Place], volatile: Sequence[Place]) -> None:
        self.plan = plan
        self._state = Hold([*plan.random, *volatile])
        self._before = Hold([] if plan.random else random)
        self._memories: list[Memory | None] = [None] * len(plan.calls)
        self._kept: list[tuple[Tensor, int | None]] = []
        self._cursor = 0

    def handle(self, module: nn.Module, forward: Forward, args: Any, kwargs: Any) -> Any:
        """Run a call and remember it."""
        index = self._cursor
        call = _expect(self.plan, index, module)
        self._cursor += 1
        output = forward(*args, **kwargs)
        if self._cursor != call.end:
            raise PlanMismatch
        self._state = self._state.renewed()
        self._memories[index] = Memory.of(call, output, self._state)
        if call.policy == "keep":
            self._kept += [(tensor, _version(tensor)) for tensor in tensors_in(output)]
        return output

    def finish(self) -> None:
        """Check, once the pass is over, that it went by the plan.

        Raises:
            PlanMismatch: other calls were made, a kept output was changed in place, or random numbers were drawn where
                the surveyed pass drew none.
        """
        changed = any(_version(tensor) != version for tensor, version in self._kept)
        if self._cursor != len(self.plan.calls) or changed or self._before.changed():
            raise PlanMismatch
        self._kept.clear()

    def forget_from(self, start: float) -> None:
        """Free what no replay from `start` or earlier can need."""
        for index in range(len(self._memories) - 1, -1, -1):
            if self.plan.calls[index].exit > start:
                self._memories[index] = None

    def memory(self, index: int) -> Memory:
        """What is remembered of a call."""
        memory = self._memories[index]
        if memory is None:
            raise PlanMismatch
        return memory


class Replay:
    """A pass that returns remembered outputs up to a time and computes from there on.

    Args:
        recording: finished.
        start: time of the first use of a parameter whose value differs from the recording's.
    """

    def __init__(self, recording: Recording, start: float) -> None:
        self._recording = recording
        self._plan = recording.plan
        self._start = start
        self._cursor = 0
        self._live = False

    def handle(self, module: nn.Module, forward: Forward, args: Any, kwargs: Any) -> Any:
        """Skip the call or run it."""
        if self._live:
            return forward(*args, **kwargs)
        index = self._cursor
        if index == len(self._plan.calls):  # recomputation in the backward pass (activation checkpointing)
            return forward(*args, **kwargs)
        call = _expect(self._plan, index, module)
        if call.exit > self._start or call.policy == "repeat":
            self._cursor += 1
            self._live = call.enter > self._start
            return forward(*args, **kwargs)
        self._cursor = call.end
        memory = self._recording.memory(index)
        memory.state.restore()
        return memory.recall(copy=call.policy == "copy")


def _expect(plan: Plan, index: int, module: nn.Module) -> Call:
    if index >= len(plan.calls) or plan.calls[index].module is not module:
        raise PlanMismatch
    return plan.calls[index]


def _map(function: Callable[[Any], Any], tree: Any) -> Any:
    """`tree_map`, at no cost for the commonest tree: a single tensor."""
    return function(tree) if isinstance(tree, Tensor | _Held) else tree_map(function, tree)


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


# An output is remembered as (tensor without its graph, whether it needs a gradient). Some functions choose their
# algorithm by that need (torch.matmul does), so a recalled tensor must show it too.
@dataclass
class _Held:
    tensor: Tensor
    requires_grad: bool


def _hold(leaf: Any) -> Any:
    return _Held(leaf.detach(), leaf.requires_grad) if isinstance(leaf, Tensor) else leaf


def _clone(leaf: Any) -> Any:
    return _Held(leaf.detach().clone(), leaf.requires_grad) if isinstance(leaf, Tensor) else leaf


def _recall(leaf: Any) -> Any:
    return leaf.tensor.detach().requires_grad_(leaf.requires_grad) if isinstance(leaf, _Held) else leaf


def _recall_copy(leaf: Any) -> Any:
    # The copy is made inside the graph: code that goes on to change it in place may do so, which a leaf would refuse.
    return leaf.tensor.detach().requires_grad_(leaf.requires_grad).clone() if isinstance(leaf, _Held) else leaf
