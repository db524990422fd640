"""How training passes begin: noted by hooks on the model, at the cost of a few microseconds each."""

import contextlib
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils._pytree import tree_leaves
from torch.utils.hooks import RemovableHandle

from ics.shift.errors import ProbeError
from ics.shift.state import GENERATORS, Hold, Place, TensorPlace, places

_NORMS = ("torch.nn.modules.batchnorm", "torch.nn.modules.instancenorm")  # not what others derive from them
MANY = 10_000  # things that are held, each at a few microseconds a pass
MIXED: tuple[Set[str], ...] = ({"loss"}, set(), {"loss", "backward"})  # what loops have in autocast, beside the model
_CALL = nn.Module._call_impl.__code__


class Hook:
    """A hook that is a no-op in the model's copies and files, so that these load without this package."""

    def __init__(self, owner: Any, call: Callable[..., None]) -> None:
        self.owner, self._call = owner, call

    def __call__(self, *args: Any) -> None:
        # What is only traced has no state that could be noted.
        if not torch.compiler.is_compiling() and torch._C._get_tracing_state() is None:
            self._call(*args)

    def __reduce__(self) -> Any:
        return getattr, (contextlib.nullcontext(), "__exit__")  # takes anything and returns None


@dataclass(frozen=True)
class TrainingPass:
    """How a forward pass with gradients began."""

    hold: Hold  # the state
    autocast: list[tuple[str, torch.dtype]]  # types of device for which it was on
    inputs: list[Tensor]
    sole: type | None  # the type of what the model was given, if that was one object
    gradient: Tensor | None  # the length of the first parameter's `.grad` at that moment


class PassWatcher:
    """Notes how a model's forward passes with gradients begin.

    A model has one at most, which all who measure it share (`PassWatcher.of`). Passes inside `pause`, or in a thread
    that measures some model, are not noted: they are no training passes, or none that will be measured. All state is
    held, for nobody knows what a pass will change for the first time, and how it was cannot be told afterwards.
    """

    _here = threading.local()  # its `measuring`: whether this thread measures some model: passes may run this one

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.last: TrainingPass | None = None  # the last pass noted
        self.changing: list[Place] = []  # what passes were seen to change, other than their batch
        self.hold_statistics = False  # whether those that `idle` tells of matter after all
        self.mixed = MIXED[0]  # what else is computed under the model's autocast
        self._paused = 0  # how many are open
        self.sleepers: set[Any] = set()  # users who need no pass until they leave this; all in it: none is noted
        self.listeners: list[Callable[[Any, Any, TrainingPass], None]] = []  # called with every pass that is noted
        devices = {t.device for t in [torch.empty(0), *model.parameters(), *model.buffers()]}
        self.device_types = {device.type for device in devices} - {"meta"}
        others = [device for device in devices if device.type not in ("cpu", "meta")]
        own = [torch.get_device_module(device).default_generators[device.index] for device in others]
        self.random = places([torch.default_generator, *own])
        self._foreign_random = places(GENERATORS)
        self.random_keys = {place.key for place in [*self.random, *self._foreign_random]}
        self._roots: list[Any] = [model]
        self._reached: list[Place] = []
        self._containers: Hold | None = None  # of what was reached; None: to be searched anew
        self._is_slow = False  # and it was said
        self._users = 0
        self._watched: list[nn.Module] = []
        self._hook = self.watch(model)

    @classmethod
    def of(cls, model: nn.Module, loss_fn: Any = None) -> "PassWatcher":
        """The model's watcher, which everyone who asked closes; whatever the loss can reach is held as well."""
        owners = [hook.owner for hook in model._forward_pre_hooks.values() if isinstance(hook, Hook)]
        watcher = next((owner for owner in owners if isinstance(owner, cls)), None) or cls(model)
        watcher.reach(loss_fn)
        watcher._users += 1
        return watcher

    def reach(self, root: Any) -> None:
        """Hold what a function of the loop can reach, too."""
        if not any(root is known for known in self._roots):
            self._roots.append(root)
            self._containers = None

    def watch(self, module: nn.Module) -> RemovableHandle:
        """Note the passes that begin with a call of this module: the model, or what is called in its stead."""
        self._watched.append(module)
        return module.register_forward_pre_hook(Hook(self, self._begin), prepend=True, with_kwargs=True)

    def close(self) -> None:
        """Take back one `of`; the last one removes the hook."""
        self._users -= 1
        if self._users == 0:
            self._hook.remove()

    @property
    def is_paused(self) -> bool:
        """Whether a pass that begins now is not noted."""
        return self._paused > 0 or PassWatcher.is_measuring()

    @staticmethod
    def is_measuring() -> bool:
        """Whether this thread measures some model."""
        return getattr(PassWatcher._here, "measuring", False)

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Inside, passes are not noted."""
        self._paused += 1
        try:
            yield
        finally:
            self._paused -= 1

    @staticmethod
    @contextmanager
    def measure() -> Iterator[None]:
        """Inside, no model's passes are noted in this thread."""
        before = PassWatcher.is_measuring()
        PassWatcher._here.measuring = True
        try:
            yield
        finally:
            PassWatcher._here.measuring = before

    def hold(self, batch: Any = ()) -> Hold:
        """All state there is, now: what model, losses and batch can reach, and the generators of random numbers."""
        # What can be reached changes only with what containers hold, which is cheaper to compare than to search.
        if self._containers is None or self._containers.changed():
            own = [*self.model.parameters(), *self.model.buffers()]
            self._reached = places([*self._roots, *own])  # the last ones first: they count most
            self._containers = Hold(place for place in self._reached if not isinstance(place, TensorPlace))
            if len(self._reached) > MANY and not self._is_slow:
                self._is_slow = True
                warnings.warn(
                    f"{len(self._reached):,} things that the model or the loss can reach are held at every training "
                    "pass, which takes time; keep what no pass changes, such as a replay memory, out of their reach",
                    stacklevel=2,
                )
        # Other threads may draw from what all share: then only what the model is seen to draw from is put back.
        foreign = self._foreign_random if threading.active_count() == 1 else ()
        found = [*self.random, *foreign, *self._reached, *places([batch])]
        return Hold(found, like=self.last.hold if self.last else None)

    def last_pass(self) -> TrainingPass:
        """The last training pass."""
        if self.last is None:
            raise ProbeError(
                "no forward pass with gradients has been seen; call model(x), not model.forward(x) or a compiled copy, "
                "before you measure (an attached probe sees those of steps that are due)"
            )
        return self.last

    def idle(self) -> set[int]:
        """The ids of torch's batch and instance norms' running statistics, in training: no result depends on them."""
        if self.hold_statistics:
            return set()
        norms = [m for m in self.model.modules() if isinstance(m, _NormBase) and type(m).__module__ in _NORMS]
        return {id(buffer) for norm in norms if norm.training for buffer in norm.buffers(recurse=False)}

    def _begin(self, model: nn.Module, args: Any, kwargs: Any) -> None:
        if len(self.sleepers) == self._users:
            self.last = None
            return
        if self.is_paused or not torch.is_grad_enabled() or self._is_inside():
            return
        hooks: Any = model._forward_pre_hooks
        mine = next(key for key, hook in hooks.items() if getattr(hook, "owner", None) is self)
        hooks.move_to_end(mine, last=False)  # another one may have been put before it
        inputs = [*args, *kwargs.values()]
        first = next(self.model.parameters(), None)
        gradient = first.grad if first is not None and first.is_leaf else None
        self.last = TrainingPass(
            self.hold(inputs),
            [(t, torch.get_autocast_dtype(t)) for t in self.device_types if torch.is_autocast_enabled(t)],
            tensors_in(inputs),
            type(args[0]) if len(inputs) == len(args) == 1 else None,
            None if gradient is None else gradient.detach().norm(),
        )
        for listener in [*self.listeners]:
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
