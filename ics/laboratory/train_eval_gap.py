"""What a network with batch normalisation answers by running statistics, and by those of batches of any size."""

import math
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ics.laboratory.running_stats import find_batch_norms, running
from ics.quantities.base import QUANTITIES, LossFunction, Row, Step
from ics.quantities.distribution import rounded
from ics.quantities.passes import PassQuantity
from ics.tables import Table, columns


@QUANTITIES.register("train_eval_gap")
class TrainEvalGap(PassQuantity):
    """Loss and accuracy on the batch before the update, batch normalisation working in one way and another.

    - running: as in evaluation, with the running statistics as they were before this batch, which they have not seen;
    - batch: as in training, the batch being cut into pieces of so many samples, each normalised by itself. Of one
      sample after a linear map nothing is left but β: its mean is itself.

    Weights, samples and random draws are the same in all, so that the differences come from the statistics alone. In
    the first epoch neither weights nor running statistics have seen the samples: the numbers are those of new data.

    Costs one forward pass without gradients for each. A network without batch normalisation has no rows.

    Args:
        batch_sizes: samples in a piece; what is larger than the batch is left out, and so is an incomplete piece.
    """

    table = Table(
        "train_eval_gap",
        columns(
            ("step", "int", "number of updates before this one"),
            ("statistics", "str", "running: those kept so far, without this batch; batch: each piece's own"),
            ("batch_size", "int", "samples normalised together; of running: all of the batch, which does not matter"),
            ("loss", "float", "mean over the pieces; six significant digits", True),
            ("accuracy", "float", "share classified rightly, 0 to 1; nan for a regression", True),
        ),
        key=("step", "statistics", "batch_size"),
    )

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFunction,
        batch_sizes: tuple[PositiveInt, ...] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
    ) -> None:
        super().__init__(model, loss_fn)
        self._sizes = sorted(set(batch_sizes))
        self._layers = list(find_batch_norms(model).values())

    def rows(self, step: Step) -> list[Row]:
        rows: list[Row] = []
        if self._layers:
            before = self.last.hold
            kept = [partial(normalise_by, [*map(before.value, running(layer))]) for layer in self._layers]
            rows.append(self._row(step, "running", len(step.x), kept))
            for size in (size for size in self._sizes if size <= len(step.x)):
                pieces = [partial(normalise_pieces, size)] * len(self._layers)
                rows.append(self._row(step, "batch", size, pieces))
        return rows

    def _row(self, step: Step, statistics: str, size: int, norms: list[Any]) -> Row:
        """One pass over the batch's complete pieces, each batch normalisation's output replaced by a hook."""
        samples = len(step.x) // size * size
        x, y = step.x[:samples], step.y[:samples]
        with self.again(self.last, x) as passes, torch.no_grad(), ExitStack() as stack:
            for layer, norm in zip(self._layers, norms, strict=True):
                stack.enter_context(layer.register_forward_hook(norm))
            passes.start()
            outputs = passes.forward()
            loss = float(self.loss_fn(outputs, y))
        classes = not y.is_floating_point()
        accuracy = float((outputs.argmax(dim=1) == y).double().mean()) if classes else math.nan
        return {"statistics": statistics, "batch_size": size, "loss": rounded(loss), "accuracy": rounded(accuracy)}


def normalise_by(statistics: list[Tensor], layer: _BatchNorm, args: tuple[Tensor], output: Tensor) -> Tensor:
    """A hook, for evaluation mode: by running mean and variance."""
    mean, variance = statistics
    return nn.functional.batch_norm(args[0], mean, variance, layer.weight, layer.bias, training=False, eps=layer.eps)


def normalise_pieces(size: int, layer: _BatchNorm, args: tuple[Tensor], output: Tensor) -> Tensor:
    """A hook, for training mode on every `size` samples by themselves; (N, C, …) with N a multiple of the size.

    Unlike PyTorch's, this takes single values: σ² = 0, so that γ (x − μ)/√(σ² + ε) + β = β.
    """
    (x,) = args
    pieces = x.reshape(-1, size, *x.shape[1:])  # (pieces, size, C, …)
    variance, mean = torch.var_mean(pieces, (1, *range(3, pieces.ndim)), correction=0, keepdim=True)
    normalised = ((pieces - mean) * (variance + layer.eps).rsqrt()).reshape(x.shape)
    if not layer.affine:
        return normalised
    unit = (-1, *(1,) * (x.ndim - 2))
    return torch.addcmul(layer.bias.view(unit), layer.weight.view(unit), normalised)
