"""Data sets by name, in memory and on the device, and their batches."""

from ics.data import image_folder, small, torchvision_sets  # noqa: F401 (each registers its data sets)
from ics.data.batches import Batches
from ics.data.dataset import DATASETS, Dataset, Split

__all__ = ["DATASETS", "Batches", "Dataset", "Split"]
