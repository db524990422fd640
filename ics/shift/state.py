"""Taking hold of a model's state and putting it back exactly: parameters, buffers, random generators, autocast.

`PassWatcher` and `undisturbed` together let any measurement run the training pass again without leaving a trace:

    watcher = PassWatcher.of(model, devices_of([model]))
    … the training pass …
    with undisturbed([model], watcher.last) as start_pass:
        start_pass()  # the same random numbers, the same buffers, as often as wanted
        loss = loss_fn(model(x), y)
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase


class RandomState:
    """A snapshot of torch's generators: the CPU's and those of the given accelerators.

    Args:
        devices: the devices a model lives on.
    """

    def __init__(self, devices: Iterable[torch.device]) -> None:
        self._cpu = torch.get_rng_state()
        self._accelerators = [
            (device, torch.get_device_module(device).get_rng_state(device))
            for device in devices
            if device.type != "cpu"
        ]

    def restore(self) -> None:
        """Put the generators back to this snapshot."""
        torch.set_rng_state(self._cpu)
        for device, state in self._accelerators:
            torch.get_device_module(device).set_rng_state(state, device)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RandomState):
            return NotImplemented
        mine, theirs = self._states(), other._states()
        return len(mine) == len(theirs) and all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))

    __hash__ = None  # type: ignore[assignment]  # equality is by content, which a caller may not rely on for long

    def _states(self) -> list[Tensor]:
        return [self._cpu, *(state for _, state in self._accelerators)]


class Autocast:
    """The autocast settings in force at a moment, to run a later pass under the same."""

    def __init__(self, devices: Iterable[torch.device]) -> None:
        types = dict.fromkeys(device.type for device in devices)
        self._settings = [(t, torch.get_autocast_dtype(t)) for t in types if torch.is_autocast_enabled(t)]

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with ExitStack() as stack:
            for device_type, dtype in self._settings:
                stack.enter_context(torch.autocast(device_type, dtype=dtype))
            yield


@dataclass(frozen=True)
class TrainingPass:
    """The conditions under which a forward pass with gradients began.

    Attributes:
        devices: those the model lives on.
        random_state: of their generators.
        autocast: its settings.
        buffers: a buffer → its value at that moment, for buffers that may enter the result.
    """

    devices: Sequence[torch.device]
    random_state: RandomState
    autocast: Autocast
    buffers: dict[Tensor, Tensor]


class PassWatcher:
    """Notes the conditions of a model's forward passes with gradients, at the cost of a few microseconds each.

    A model has one at most, which all who measure it share (`PassWatcher.of`). Passes inside `undisturbed` or `pause`
    are not noted: they are no training passes. Buffers are copied only where a pass has changed them, and not those of
    batch and instance norms: in training their running statistics do not enter the result, and otherwise they do not
    change.

    Attributes:
        last: the last pass noted; None before the first.
    """

    def __init__(self, model: nn.Module) -> None:
        self.last: TrainingPass | None = None
        self._devices: list[torch.device] = []
        self._users = 0
        self._pauses = 0
        self._buffered = [module for module in model.modules() if module._buffers and not isinstance(module, _NormBase)]
        self._copies: dict[Tensor, tuple[int, Tensor]] = {}  # buffer → its version when copied, the copy
        self._hook = model.register_forward_pre_hook(self)

    @classmethod
    def of(cls, model: nn.Module, devices: Iterable[torch.device]) -> "PassWatcher":
        """The model's watcher, which is put on it for the first who asks; everyone who asked closes it.

        Args:
            model: called as `model(x)`.
            devices: whose random state matters.
        """
        watcher = cls.on(model) or cls(model)
        watcher._devices = list(dict.fromkeys([*watcher._devices, *devices]))
        watcher._users += 1
        return watcher

    @classmethod
    def on(cls, module: nn.Module) -> "PassWatcher | None":
        """The watcher that is on a module now."""
        return next((hook for hook in module._forward_pre_hooks.values() if isinstance(hook, cls)), None)

    def close(self) -> None:
        """Take back one `of`; the last one removes the hook."""
        self._users -= 1
        if self._users == 0:
            self._hook.remove()

    @contextmanager
    def pause(self) -> Iterator[None]:
        """Inside, passes are not noted."""
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1

    def __call__(self, model: nn.Module, args: Any) -> None:
        """The hook: note the pass that begins."""
        if not self._pauses and torch.is_grad_enabled():
            buffers = self._copy_buffers() if self._buffered else {}
            self.last = TrainingPass(self._devices, RandomState(self._devices), Autocast(self._devices), buffers)

    def _copy_buffers(self) -> dict[Tensor, Tensor]:
        buffers = [b for module in self._buffered for b in module._buffers.values() if b is not None]
        for buffer in buffers:
            if buffer not in self._copies or self._copies[buffer][0] != buffer._version:
                self._copies[buffer] = (buffer._version, buffer.detach().clone())
        return {buffer: self._copies[buffer][1] for buffer in buffers}


@contextmanager
def undisturbed(
    modules: Sequence[nn.Module], training_pass: TrainingPass, fresh_noise: bool = False
) -> Iterator[Callable[[], None]]:
    """Inside, passes through the modules leave their buffers and the random state as they were.

    Args:
        modules: the model, and the loss if it is a module.
        training_pass: whose conditions the passes repeat.
        fresh_noise: start from the present random state instead of the training pass's.

    Yields:
        A function to call before each pass: it puts random state and buffers to the start.
    """
    present = RandomState(training_pass.devices)
    start = present if fresh_noise else training_pass.random_state
    with ExitStack() as stack:
        for watcher in filter(None, map(PassWatcher.on, modules)):
            stack.enter_context(watcher.pause())
        stack.callback(present.restore)
        buffers = stack.enter_context(ScratchBuffers(modules, training_pass.buffers))
        stack.enter_context(training_pass.autocast())
        stack.enter_context(torch.enable_grad())

        def start_pass() -> None:
            start.restore()
            buffers.reset()
            torch.clear_autocast_cache()  # it would hand out casts of weights that have been swapped since

        yield start_pass


class SwappedParameters:
    """Old values put in the place of new ones for a while; the model's own tensors are never written to.

    On leaving, every parameter holds the very storage it held on entering.

    Args:
        old: a parameter's other value, of the same shape.
    """

    def __init__(self, old: dict[nn.Parameter, Tensor]) -> None:
        self._old = old
        self._new: dict[nn.Parameter, Tensor] = {}
        self._is_old: set[nn.Parameter] = set()

    def __enter__(self) -> "SwappedParameters":
        self._new = {parameter: parameter.data for parameter in self._old}
        return self

    def __exit__(self, *exc: object) -> None:
        self.use_old(set())

    def __iter__(self) -> Iterator[nn.Parameter]:
        """The parameters."""
        return iter(self._old)

    def use_old(self, chosen: set[nn.Parameter]) -> None:
        """Give the chosen parameters their old values and all others their new ones."""
        for parameter in chosen - self._is_old:
            parameter.data = self._old[parameter]
        for parameter in self._is_old - chosen:
            parameter.data = self._new[parameter]
        self._is_old = chosen


class ScratchBuffers:
    """Copies in the place of a model's buffers, so that passes leave running statistics and the like alone.

    The buffer objects themselves are kept out of sight, not copied back: not even their version counters move.

    Args:
        modules: whose buffers, with those of their submodules.
        start: the values that passes start from, for buffers that have changed since; all others start as they are.
    """

    def __init__(self, modules: Iterable[nn.Module], start: dict[Tensor, Tensor]) -> None:
        self._slots = [
            (module, name, buffer)
            for root in modules
            for module in root.modules()
            for name, buffer in module._buffers.items()
            if buffer is not None
        ]
        self._copies = {buffer: buffer.detach().clone() for _, _, buffer in self._slots}
        self._starts = [start.get(buffer, buffer) for buffer in self._copies]

    def __enter__(self) -> "ScratchBuffers":
        self._fill_slots(self._copies)
        return self

    def __exit__(self, *exc: object) -> None:
        self._fill_slots({})

    def reset(self) -> None:
        """Put the values to the start of a pass."""
        if self._copies:
            with torch.no_grad():
                torch._foreach_copy_(list(self._copies.values()), self._starts)
            self._fill_slots(self._copies)  # a forward pass may have put tensors of its own into the slots

    def _fill_slots(self, contents: dict[Tensor, Tensor]) -> None:
        for module, name, buffer in self._slots:
            module._buffers[name] = contents.get(buffer, buffer)


def devices_of(modules: Iterable[nn.Module]) -> list[torch.device]:
    """The distinct devices on which the modules' parameters and buffers live."""
    tensors = (t for module in modules for group in (module.parameters(), module.buffers()) for t in group)
    return list(dict.fromkeys(tensor.device for tensor in tensors))
