"""Loss and accuracy over a whole split, in eval mode."""

import math

import torch
from torch import nn

from ics.data import Dataset, Split, evaluation_batches
from ics.runs.losses import LOSSES


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
