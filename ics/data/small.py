"""Data sets that need no download: scikit-learn's digits, and the deep linear network's regression problem."""

from importlib.metadata import distribution
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, PositiveFloat
from torch.nn import functional as F

from ics.data.dataset import DATASETS, Dataset, Split, identity
from ics.data.images import Images, Scaling, image_dataset
from ics.data.seeding import generator
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


@DATASETS.register("gaussian")
def gaussian(
    seed: int,
    device: torch.device,
    samples: Count = 1000,
    dim: Count = 10,
    target: Literal["normal", "uniform"] = "normal",
) -> Dataset:
    """y = A x for Gaussian x and a random square A (Santurkar et al. 2018, section 2.2).

    Args:
        seed: of x and A, which depend on nothing else but the options; x is the same for both targets.
        device: where the samples are held.
        samples: size of the training split, and of the test split, which has the same A.
        dim: D, the size of x and of y.
        target: the entries of A: "normal", N(0, 1), as the paper states, or "uniform", U(0, 1), which fits
            the paper's published losses better.
    """
    draw = generator("gaussian target", seed)
    a = draw.standard_normal((dim, dim)) if target == "normal" else draw.uniform(size=(dim, dim))
    inputs = generator("gaussian inputs", seed)

    def split() -> Split:
        x = inputs.standard_normal((samples, dim))
        y = x @ a.T  # yᵢ = A xᵢ
        x32, y32 = (torch.from_numpy(values).to(device, torch.float32) for values in (x, y))
        return Split(x32, y32)

    return Dataset("gaussian", train=split(), test=split(), outputs=dim, task="regression", transform=identity)
