"""The regression problem of the deep linear network."""

from typing import Literal

import torch

from ics.data.dataset import DATASETS, Dataset, Split, identity
from ics.data.seeding import generator
from ics.registry import Count


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
