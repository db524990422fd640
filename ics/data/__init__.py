"""Data sets by name, in memory and on the device, and their batches."""

from collections.abc import Mapping
from typing import Any

import torch

from ics.data import digits, gaussian, image_folder, torchvision_sets  # noqa: F401 (each registers its data sets)
from ics.data.batches import Batches
from ics.data.dataset import DATASETS, Dataset, Split

__all__ = ["DATASETS", "Batches", "Dataset", "Split", "load"]


def load(settings: Mapping[str, Any], seed: int, device: torch.device) -> Dataset:
    """Load the data set that `settings["name"]` names.

    Args:
        settings: its name and options.
        seed: of whatever is drawn: the problem of `gaussian`, the images that `limit` chooses.
        device: where the samples are held.

    Raises:
        UserError: a name, an option or a file is wrong.

    Example:
        >>> load({"name": "digits", "size": 32}, seed=0, device=torch.device("cpu")).input_shape
        (1, 32, 32)
    """
    return DATASETS.build(settings, seed=seed, device=device)
