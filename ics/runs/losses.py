"""The loss of each kind of task, of a batch and over a whole split."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ics.data import Dataset, Split
from ics.data.dataset import Task


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over the batch of −log softmax(outputs)[target]; outputs (N, classes), targets (N,)."""
    return functional.cross_entropy(outputs, targets)


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """‖outputs − targets‖², summed over samples and components (Santurkar et al. 2018, deep linear network)."""
    return functional.mse_loss(outputs, targets, reduction="sum")


LOSSES = {"classification": cross_entropy, "regression": squared_error}


def correct(outputs: Tensor, targets: Tensor, task: Task) -> Tensor:
    """How many samples' largest output is the target's; NaN for a regression."""
    if task == "regression":
        return outputs.new_tensor(torch.nan)
    return (outputs.argmax(dim=1) == targets).sum()


def evaluate(model: nn.Module, dataset: Dataset, split: Split, batch_size: int) -> tuple[float, float]:
    """(loss, accuracy) of the model as it would be used: running statistics, no noise.

    The mean loss per sample of a classification, the summed loss of a regression; accuracy from 0 to 1, NaN for a
    regression.
    """
    was_training = model.training
    model.eval()
    total, right = torch.zeros(2, dtype=torch.float64, device=split.targets.device)
    mean = dataset.task == "classification"
    try:
        with torch.inference_mode():
            for x, y in zip(*(torch.split(part, batch_size) for part in (split.inputs, split.targets)), strict=True):
                outputs = model(dataset.transform(x))
                total += LOSSES[dataset.task](outputs, y).double() * (len(y) if mean else 1)
                right += correct(outputs, y, dataset.task)
    finally:
        model.train(was_training)
    return float(total) / (len(split) if mean else 1), float(right) / len(split)
