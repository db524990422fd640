"""The loss of each kind of task, of a batch and over a whole split."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from ics.data import Dataset, Split, evaluation_batches
from ics.data.dataset import Task


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over the batch of −log softmax(outputs)[target]; outputs (N, classes), targets (N,)."""
    return functional.cross_entropy(outputs, targets)


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """‖outputs − targets‖², summed over samples and components (Santurkar et al. 2018, deep linear network)."""
    return functional.mse_loss(outputs, targets, reduction="sum")


LOSSES = {"classification": cross_entropy, "regression": squared_error}


def accuracy(outputs: Tensor, targets: Tensor, task: Task) -> Tensor:
    """Share of samples whose largest output is the target's, from 0 to 1; NaN for a regression."""
    if task == "regression":
        return torch.full((), float("nan"), device=outputs.device)
    return (outputs.argmax(dim=1) == targets).float().mean()


def evaluate(model: nn.Module, dataset: Dataset, split: Split, batch_size: int) -> tuple[float, float]:
    """Loss and accuracy of the model as it would be used: running statistics, no noise.

    Args:
        model: left in the mode it came in.
        dataset: the task and the scaling of inputs.
        split: what is evaluated.
        batch_size: samples at a time.

    Returns:
        (loss, accuracy): the mean loss per sample of a classification, the summed loss of a regression; accuracy from
        0 to 1, NaN for a regression.
    """
    was_training = model.training
    model.eval()
    total = torch.zeros((), dtype=torch.float64, device=split.targets.device)
    correct = torch.zeros((), dtype=torch.int64, device=split.targets.device)
    loss_fn, mean = LOSSES[dataset.task], dataset.task == "classification"
    try:
        with torch.inference_mode():
            for x, y in evaluation_batches(split, batch_size, dataset.transform):
                outputs = model(x)
                total += loss_fn(outputs, y).double() * (len(y) if mean else 1)
                if mean:
                    correct += (outputs.argmax(dim=1) == y).sum()
    finally:
        model.train(was_training)
    if not mean:
        return float(total), math.nan
    return float(total) / len(split), int(correct) / len(split)
