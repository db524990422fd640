"""scikit-learn's handwritten digits: real images without a download."""

from importlib.metadata import distribution
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, PositiveFloat
from torch.nn import functional as F

from ics.data.dataset import DATASETS, Dataset
from ics.data.images import Images, image_dataset
from ics.data.scaling import Scaling
from ics.registry import Count

FILE = "sklearn/datasets/data/digits.csv.gz"
SIDE = 8
LARGEST = 16  # the images hold 0 to 16, not 0 to 255


@DATASETS.register("digits")
def digits(
    seed: int,
    device: torch.device,
    size: Annotated[int, Field(ge=SIDE, le=1024)] = SIDE,
    scaling: Scaling = "standardize",
    gain: PositiveFloat = 1,
    limit: Count | None = None,
) -> Dataset:
    """1,797 grey 8×8 images of ten digits, every fifth of them for testing.

    Args:
        size: height and width in pixels; larger ones are interpolated bilinearly, once.
        seed, device, scaling, gain, limit: see `ics.data.images.image_dataset`.
    """
    # The file alone: an import of scikit-learn takes as long as that of torch.
    table = np.loadtxt(str(distribution("scikit-learn").locate_file(FILE)), delimiter=",")
    grey = torch.from_numpy(table[:, :-1]).reshape(-1, 1, SIDE, SIDE) * (255 / LARGEST)
    labels = table[:, -1].astype(int)
    if size > SIDE:
        grey = F.interpolate(grey, size=(size, size), mode="bilinear")
    pixels = grey.round().to(torch.uint8).numpy()
    tested = np.arange(len(pixels)) % 5 == 4
    train, test = Images(pixels[~tested], labels[~tested]), Images(pixels[tested], labels[tested])
    return image_dataset("digits", train, test, 10, scaling, gain, limit, seed, device)
