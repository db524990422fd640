"""The probe as a callback of transformers' `Trainer`; its rows go where the trainer logs."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from transformers import Trainer, TrainerCallback

from ics.shift import ShiftProbe
from ics.shift.attach import Row, scalars


class ShiftCallback(TrainerCallback):  # type: ignore[misc,unused-ignore]
    """Measures the internal covariate shift of the model that a `Trainer` trains.

    Args:
        trainer: to which the callback is then added.
        loss_fn: `loss_fn(outputs, None)` → the loss; by default the one that the model computes itself.
        every: steps of the optimizer from one that is measured to the next.
        **options: of `ShiftProbe`.

    Attributes:
        rows: all that has been measured.

    Example:
        >>> trainer.add_callback(ShiftCallback(trainer, every=100))
    """

    def __init__(
        self,
        trainer: Trainer,
        loss_fn: Callable[[Any, Any], Tensor] = lambda outputs, _: outputs["loss"],
        every: int = 100,
        **options: Any,
    ) -> None:
        self._trainer, self._loss_fn, self._every, self._options = trainer, loss_fn, every, options
        self.rows: list[Row] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        optimizer = kwargs["optimizer"]
        self._probe = ShiftProbe(kwargs["model"], self._loss_fn, **self._options)
        self._probe.attach(getattr(optimizer, "optimizer", optimizer), self._every, to=self._log)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._probe.close()

    def _log(self, rows: list[Row]) -> None:
        self.rows += rows
        self._trainer.log(scalars(rows))
