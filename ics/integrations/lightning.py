"""The probe as a callback of Lightning's `Trainer`; its rows go to the trainer's loggers."""

from collections.abc import Callable
from typing import Any

import lightning
from torch import Tensor

from ics.shift import ShiftProbe
from ics.shift.attach import Row, scalars


class ShiftCallback(lightning.Callback):  # type: ignore[misc,unused-ignore]
    """Measures the internal covariate shift of a network that a `LightningModule` trains.

    Args:
        model: the attribute of the `LightningModule` that its `training_step` calls once: the network.
        loss_fn: `loss_fn(self.model(x), batch)` → the loss, of the whole batch as `training_step` takes it.
        every: steps of the optimizer from one that is measured to the next.
        optimizer: which of the module's optimizers.
        **options: of `ShiftProbe`.

    Attributes:
        rows: all that has been measured.

    Example:
        >>> callback = ShiftCallback("net", lambda out, batch: cross_entropy(out, batch[1]), every=100)
        >>> lightning.Trainer(callbacks=[callback])
    """

    def __init__(
        self, model: str, loss_fn: Callable[[Any, Any], Tensor], every: int = 100, optimizer: int = 0, **options: Any
    ) -> None:
        self._model, self._loss_fn, self._every, self._optimizer = model, loss_fn, every, optimizer
        self._options = options
        self.rows: list[Row] = []

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        def log(rows: list[Row]) -> None:
            self.rows += rows
            for logger in trainer.loggers:
                logger.log_metrics(scalars(rows), step=rows[0]["step"])

        self._probe = ShiftProbe(pl_module.get_submodule(self._model), self._loss_fn, **self._options)
        self._attachment = self._probe.attach(trainer.optimizers[self._optimizer], self._every, to=log)

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._attachment.targets = batch

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._probe.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        if hasattr(self, "_probe"):
            self._probe.close()
