"""How training passes begin: noted by hooks on the model, at the cost of a few microseconds each."""

import contextlib
import random
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from ics.shift.errors import ProbeError
from ics.shift.state import Hold, Place, TensorPlace, places

_NORMS = ("torch.nn.modules.batchnorm", "torch.nn.modules.instancenorm")  # not what others derive from them
_CALL = nn.Module._call_impl.__code__


class Hook:
    """A hook that is a no-op in the model's copies and files, so that these load without this package."""

    def __init__(self, owner: Any, call: Callable[..., None]) -> None:
        self.owner, self._call = owner, call

    def __call__(self, *args: Any) -> None:
        if not torch.compiler.is_compiling():  # a compiled pass has no state that could be noted
            self._call(*args)

    def __reduce__(self) -> Any:
        return getattr, (contextlib.nullcontext(), "__exit__")  # takes anything and returns None


@dataclass(frozen=True)
class TrainingPass:
    """How a forward pass with gradients began."""

    hold: Hold  # the state: all of it until a first measurement has shown what a pass changes, then that
    whole: bool  # whether it is all of it
    autocast: list[tuple[str, torch.dtype]]  # types of device for which it was on
    inputs: list[weakref.ref[Tensor]]
    versions: dict[nn.Parameter, int]
    gradient: Tensor | None  # the largest entry of the first parameter's `.grad` at that moment

    def tensors(self) -> list[Tensor | None]:
        """The inputs; None for one that is gone."""
        return [reference() for reference in self.inputs]


class PassWatcher:
    """Notes how a model's forward passes with gradients begin.

    A model has one at most, which all who measure it share (`PassWatcher.of`). Passes inside `Passes` or `pause` are
    not noted: they are no training passes. From the first measurement on only that is held which a pass was seen to
    change, at the cost of a few microseconds. The running statistics of torch's batch and instance norms are left out:
    in training their result does not depend on them (`hold_statistics` is set where that turns out otherwise).
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.last: TrainingPass | None = None  # the last pass noted
        self.changing: list[Place] = []  # what passes change themselves, as far as that is known
        self.is_learning = True  # everything is to be held when the next pass begins: the model has become another
        self.holds_batch = False  # whether passes change their batch
        self.hold_statistics = False
        self.loss_autocast = True  # whether the loss, too, is computed under the model's autocast
        self.paused = 0  # measurements under way, whose passes are not noted
        self.sleepers: set[Any] = set()  # users who need no pass until they leave this; all in it: none is noted
        self.listeners: list[Callable[[Any, Any, TrainingPass], None]] = []  # called with every pass that is noted
        devices = {t.device for t in [torch.empty(0), *model.parameters(), *model.buffers()]}
        self._device_types = {device.type for device in devices}
        others = [device for device in devices if device.type not in ("cpu", "meta")]
        own = [torch.get_device_module(device).default_generators[device.index] for device in others]
        self.random = places([torch.default_generator, *own])
        self._foreign_random = places([random.seed.__self__, numpy.random.get_state.__self__])  # type: ignore[attr-defined]
        self.random_keys = {place.key for place in [*self.random, *self._foreign_random]}
        self._roots: list[Any] = [model]
        self._reached: list[Place] = []
        self._containers: Hold | None = None  # of what was reached; None: to be searched anew
        self._parameters: list[nn.Parameter] = []
        self._known: dict[int, Any] = {}  # what they do not change, by id
        self._users = 0
        self._watched: list[nn.Module] = []
        self._hook = self.watch(model)

    @classmethod
    def of(cls, model: nn.Module, loss_fn: Any = None) -> "PassWatcher":
        """The model's watcher, which everyone who asked closes; whatever the loss can reach is held as well."""
        owners = [hook.owner for hook in model._forward_pre_hooks.values() if isinstance(hook, Hook)]
        watcher = next((owner for owner in owners if isinstance(owner, cls)), None) or cls(model)
        if not any(root is loss_fn for root in watcher._roots):
            watcher._roots.append(loss_fn)
            watcher._containers = None
            watcher.is_learning = True
        watcher._users += 1
        return watcher

    def watch(self, module: nn.Module) -> RemovableHandle:
        """Note the passes that begin with a call of this module: the model, or what is called in its stead."""
        self._watched.append(module)
        return module.register_forward_pre_hook(Hook(self, self._begin), prepend=True, with_kwargs=True)

    def close(self) -> None:
        """Take back one `of`; the last one removes the hook."""
        self._users -= 1
        if self._users == 0:
            self._hook.remove()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Inside, passes are not noted."""
        self.paused += 1
        try:
            yield
        finally:
            self.paused -= 1

    def hold(self, batch: Any = ()) -> Hold:
        """All state there is, now: what model, losses and batch can reach, and the generators of random numbers."""
        # What can be reached changes only with what containers hold, which is cheaper to compare than to search.
        if self._containers is None or self._containers.changed():
            self._reached = places(self._roots)
            self._containers = Hold(place for place in self._reached if not isinstance(place, TensorPlace))
        return Hold([*self.random, *self._foreign_random, *self._reached, *places([batch])])

    def learn(self) -> TrainingPass:
        """The last training pass; what it has changed is known from here on. Before the update, which changes more."""
        if self.last is None:
            raise ProbeError(
                "no forward pass with gradients has been seen; call model(x) before you measure (an attached probe "
                "sees those of steps that are due)"
            )
        if self.last.whole and self.is_learning:
            self.is_learning, self.holds_batch, self.changing = False, False, []
            given = set(map(id, self.last.tensors()))
            self._known = {place.key: place.thing for place in self.last.hold.places if place.key not in given}
            self.grow(self.last.hold.changed())
        return self.last

    def grow(self, changed: Iterable[Place], batch: Iterable[Place] = ()) -> None:
        """Hold these places, too, when a pass begins."""
        given = {place.key for place in batch}.union(map(id, self.last.tensors() if self.last else ()))
        held = {place.key for place in [*self.changing, *self.random]} | self.idle()
        for place in changed:
            if place.key in given:
                self.holds_batch = True
            elif place.key not in held:
                self.changing.append(place)
                self._known.pop(place.key, None)

    def idle(self) -> set[int]:
        """The ids of running statistics in training that no result depends on."""
        if self.hold_statistics:
            return set()
        norms = [m for m in self.model.modules() if isinstance(m, _NormBase) and type(m).__module__ in _NORMS]
        return {id(buffer) for norm in norms if norm.training for buffer in norm.buffers(recurse=False)}

    def _begin(self, model: nn.Module, args: Any, kwargs: Any) -> None:
        if len(self.sleepers) == self._users:
            self.last = None
            return
        if self.paused or not torch.is_grad_enabled() or self._is_inside():
            return
        inputs = [*args, *kwargs.values()]
        if self.is_learning:
            self._parameters = list(model.parameters())
            hold = self.hold(inputs)
        else:
            roots = [place.thing for place in self.changing] + (inputs if self.holds_batch else [])
            hold = Hold([*self.random, *self.changing, *(places(roots, self._known) if roots else ())])
        gradient = self._parameters[0].grad if self._parameters else None
        self.last = TrainingPass(
            hold,
            self.is_learning,
            [(t, torch.get_autocast_dtype(t)) for t in self._device_types if torch.is_autocast_enabled(t)],
            [weakref.ref(leaf) for leaf in tensors_in(inputs)],
            {p: p._version for p in self._parameters},
            None if gradient is None else gradient.detach().abs().max(),
        )
        for listener in self.listeners:
            listener(args, kwargs, self.last)

    def _is_inside(self) -> bool:
        """Whether a pass is under way: the model calls itself, or is called by what is called in its stead."""
        frame: Any = sys._getframe()
        calls = 0
        while frame is not None:
            calls += frame.f_code is _CALL and any(frame.f_locals["self"] is module for module in self._watched)
            frame = frame.f_back
        return calls > 1


def tensors_in(tree: Any) -> list[Tensor]:
    """The tensors of nested containers."""
    if isinstance(tree, Tensor):
        return [tree]
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
