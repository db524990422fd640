"""What every quantity that runs the training pass again has in common."""

from typing import Any

from torch import nn

from ics.quantities.base import LossFunction
from ics.shift.passes import Passes
from ics.shift.watcher import PassWatcher, TrainingPass


class TrainingPasses:
    """Knows how the last training pass began, and lets it be run again without a trace.

    Args:
        model: called as `model(x)`.
        loss_fn: `loss_fn(model(x), y)` → scalar tensor; may be a module with parameters and buffers of its own.
    """

    def __init__(self, model: nn.Module, loss_fn: LossFunction) -> None:
        self._loss_fn = loss_fn
        self._roots = [model, loss_fn] if isinstance(loss_fn, nn.Module) else [model]
        self._watcher: PassWatcher | None = PassWatcher.of(model, loss_fn)

    @property
    def watcher(self) -> PassWatcher:
        """The model's watcher."""
        assert self._watcher is not None, "closed"
        return self._watcher

    @property
    def last(self) -> TrainingPass:
        """The conditions of the last training pass: to be asked for on entry, before the update.

        Raises:
            ProbeError: there was none.
        """
        return self.watcher.learn()

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters of model and loss, each once."""
        return list(dict.fromkeys(p for root in self._roots for p in root.parameters() if p.requires_grad))

    def again(self, conditions: TrainingPass, x: Any, y: Any = None, fresh_noise: bool = False) -> Passes:
        """The training pass, to be run again on this batch with the present parameters."""
        return Passes(self.watcher, conditions, self._loss_fn, x, y, fresh_noise=fresh_noise)

    def close(self) -> None:
        """Remove the hooks, unless others share them."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
