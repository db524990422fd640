"""What every quantity that runs the training pass again has in common."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import nn

from ics.quantities.base import LossFunction, Row, Step
from ics.shift.passes import Passes
from ics.shift.watcher import PassWatcher, TrainingPass


class PassQuantity:
    """A quantity that knows how the last training pass began, and runs it again without a trace.

    Args:
        model: called as `model(x)`.
        loss_fn: `loss_fn(model(x), y)` → scalar tensor; may be a module with parameters and buffers of its own.
    """

    def __init__(self, model: nn.Module, loss_fn: LossFunction) -> None:
        self.model = model
        self.loss_fn = loss_fn
        self.watcher = PassWatcher.of(model, loss_fn)
        self.hooks = ExitStack()
        self.hooks.callback(self.watcher.close)

    @contextmanager
    def observe(self, step: Step) -> Iterator[list[Row]]:
        """All rows are known before the update."""
        yield self.rows(step)

    def rows(self, step: Step) -> list[Row]:
        """What is measured before the update."""
        raise NotImplementedError

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
        roots = [root for root in (self.model, self.loss_fn) if isinstance(root, nn.Module)]
        return list(dict.fromkeys(p for root in roots for p in root.parameters() if p.requires_grad))

    def again(self, conditions: TrainingPass, x: Any, y: Any = None, fresh_noise: bool = False) -> Passes:
        """The training pass, to be run again on this batch with the present parameters."""
        return Passes(self.watcher, conditions, self.loss_fn, x, y, fresh_noise=fresh_noise)

    def close(self) -> None:
        """Remove the hooks, unless others share them."""
        self.hooks.close()
