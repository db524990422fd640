"""A data set of one's own: two noisy rings.

python scripts/train.py plugin=examples.own_dataset data=own data.name=rings model=mlp steps=500
"""

import numpy as np
import torch

from ics.data import DATASETS, Dataset, Split
from ics.data.dataset import identity
from ics.data.seeding import generator


@DATASETS.register("rings")
def rings(seed: int, device: torch.device, samples: int = 1000) -> Dataset:
    """Points around two circles of radius 1 and 2; which circle?"""
    draw = generator("rings", seed)

    def split() -> Split:
        ring, angle = draw.integers(2, size=samples), draw.uniform(0, 2 * np.pi, samples)
        radius = 1 + ring + draw.normal(0, 0.2, samples)
        x = radius * np.stack([np.cos(angle), np.sin(angle)])
        return Split(torch.tensor(x.T, dtype=torch.float32, device=device), torch.tensor(ring, device=device))

    return Dataset("rings", train=split(), test=split(), outputs=2, task="classification", transform=identity)
