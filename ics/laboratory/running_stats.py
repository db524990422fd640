"""The running statistics of batch normalisation, and how far they are from the batch's own."""

from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parameter import is_lazy

from ics.errors import UserError
from ics.quantities.base import QUANTITIES, LossFunction, Row, Step
from ics.quantities.distribution import rounded
from ics.quantities.passes import PassQuantity
from ics.tables import Table, columns


def running_stats_vector(model: nn.Module) -> Tensor:
    """What the running statistics of a whole model say, in four numbers per batch normalisation.

    Args:
        model: any module.

    Returns:
        float64 (4 · layers): for every layer in order of registration mean and (unbiased) standard deviation over
        channels of `running_mean`, then of `running_var`. A layer of one channel has nan for the deviations.

    Raises:
        UserError: there is no batch normalisation, or one without running statistics.

    Example:
        >>> running_stats_vector(nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)))
        tensor([0., 0., 1., 0.], dtype=torch.float64)
    """
    layers = find_batch_norms(model).values()
    if not layers:
        raise UserError("the model has no batch normalisation, so it has no running statistics")
    return torch.cat([_summary(torch.stack(running(layer)).double()) for layer in layers])


@QUANTITIES.register("running_stats")
class RunningStats(PassQuantity):
    """The running statistics that the training pass has left behind, and that pass's own, per batch normalisation.

    A network without batch normalisation has no rows. Costs one forward pass without gradients.
    """

    table = Table(
        "running_stats",
        columns(
            ("step", "int", "number of updates before this one; the running statistics include this step's batch"),
            ("layer", "str", "qualified name of the batch normalisation"),
            ("running_mean_mean", "float", "mean over channels of running_mean; six digits in all columns", True),
            ("running_mean_std", "float", "its unbiased standard deviation over channels; nan for one channel", True),
            ("running_var_mean", "float", "mean over channels of running_var", True),
            ("running_var_std", "float", "its unbiased standard deviation over channels", True),
            ("batch_mean_mean", "float", "the same of the batch's means; nan if the pass does not use the layer", True),
            ("batch_mean_std", "float", "likewise", True),
            ("batch_var_mean", "float", "the same of the batch's unbiased variances", True),
            ("batch_var_std", "float", "likewise", True),
            ("mean_distance", "float", "root mean square over channels of running_mean - batch mean", True),
            ("var_distance", "float", "root mean square over channels of running_var - unbiased batch variance", True),
        ),
        key=("step", "layer"),
    )

    def __init__(self, model: nn.Module, loss_fn: LossFunction) -> None:
        super().__init__(model, loss_fn)
        self._layers = find_batch_norms(model)

    def rows(self, step: Step) -> list[Row]:
        batch = self._batch_statistics(step.x) if self._layers else {}
        rows: list[Row] = []
        for name, layer in self._layers.items():
            kept = torch.stack(running(layer)).double()
            own = batch.get(name, torch.full_like(kept, torch.nan))
            distance = (kept - own).square().mean(1).sqrt()
            numbers = map(rounded, torch.cat([_summary(kept), _summary(own), distance]).tolist())
            rows.append({"layer": name, **dict(zip(self.table.header[2:], numbers, strict=True))})
        return rows

    def _batch_statistics(self, x: Tensor) -> dict[str, Tensor]:
        """Mean and unbiased variance of what each batch normalisation is given, (2, C); of several calls the last."""
        found: dict[str, Tensor] = {}

        def note(name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
            values = args[0].double()
            variance, mean = torch.var_mean(values, (0, *range(2, values.ndim)), correction=1)
            found[name] = torch.stack([mean, variance])

        with self.again(self.last, x) as passes, torch.no_grad(), ExitStack() as stack:
            for name, layer in self._layers.items():
                stack.enter_context(layer.register_forward_pre_hook(partial(note, name)))
            passes.start()
            passes.forward()
        return found


def find_batch_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """The batch normalisations of a model by qualified name, in order of registration; each has running statistics."""
    found = {name: module for name, module in model.named_modules() if isinstance(module, _BatchNorm)}
    for name, module in found.items():
        which = f"batch normalisation {name!r}" if name else "the batch normalisation"
        if module.running_mean is None or module.running_var is None:
            raise UserError(f"{which} keeps no running statistics; it was made with track_running_stats=False")
        if is_lazy(module.running_mean):
            raise UserError(f"{which} does not know its size yet; pass a batch through the model first")
    return found


def running(layer: _BatchNorm) -> tuple[Tensor, Tensor]:
    """The running mean and the running variance, each (C,)."""
    return layer.running_mean, layer.running_var  # type: ignore[return-value]  # see `find_batch_norms`


def _summary(statistics: Tensor) -> Tensor:
    """(2, C) → (4,): mean and unbiased standard deviation over channels of the means, then of the variances."""
    mean = statistics.mean(1, keepdim=True)
    variance = (statistics - mean).square().sum(1, keepdim=True) / (statistics.shape[1] - 1)  # of one channel: nan
    return torch.cat([mean, variance.sqrt()], dim=1).flatten()
