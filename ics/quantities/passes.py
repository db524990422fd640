"""What every quantity that runs the training pass again has in common."""

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

from torch import nn

from ics.quantities.base import LossFunction
from ics.shift import ProbeError
from ics.shift.state import PassWatcher, TrainingPass, devices_of, undisturbed


class TrainingPasses:
    """Knows how the last training pass began, and lets it be run again without a trace.

    Args:
        model: called as `model(x)`.
        loss_fn: `loss_fn(model(x), y)` → scalar tensor; may be a module with parameters and buffers of its own.
    """

    def __init__(self, model: nn.Module, loss_fn: LossFunction) -> None:
        self._roots = [model, loss_fn] if isinstance(loss_fn, nn.Module) else [model]
        self._watcher = PassWatcher.of(model, devices_of(self._roots))
        self._open = ExitStack()
        self._open.callback(self._watcher.close)

    @property
    def last(self) -> TrainingPass:
        """The conditions of the last training pass: to be asked for on entry, before the update.

        Raises:
            ProbeError: there was none.
        """
        if self._watcher.last is None:
            raise ProbeError("no forward pass with gradients has been seen; call model(x) before observe(step)")
        return self._watcher.last

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters of model and loss, each once."""
        return list(dict.fromkeys(p for root in self._roots for p in root.parameters() if p.requires_grad))

    def again(self, conditions: TrainingPass, fresh_noise: bool = False) -> AbstractContextManager[Callable[[], None]]:
        """`undisturbed` for model and loss: yields a function to call before each pass."""
        return undisturbed(self._roots, conditions, fresh_noise)

    def close(self) -> None:
        """Remove the hook, unless others share it."""
        self._open.close()
