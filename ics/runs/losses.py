"""The loss of each kind of task."""

import torch
from torch import Tensor
from torch.nn import functional

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
