"""The standard augmentation of CIFAR images."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

PADDING = 4


def crop_and_flip(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Random crop after 4 pixels of zero padding, and a horizontal flip of every second image or so.

    Applied to bytes, before any scaling, as He et al. 2016 (section 4.2) do.

    Args:
        images: (N, C, H, W), of any type and on any device.
        rng: drawn from on the CPU, so that the result does not depend on the device.

    Returns:
        Images of the same shape and type.
    """
    n, channels, height, width = images.shape
    offsets = rng.integers(0, 2 * PADDING, size=(2, n), endpoint=True)
    flipped = rng.integers(0, 2, size=(1, n))
    top, left, flip = torch.from_numpy(np.concatenate([offsets, flipped])).to(images.device)

    def span(length: int) -> Tensor:
        return torch.arange(length, device=images.device)

    rows = top[:, None] + span(height)  # (N, H)
    columns = left[:, None] + span(width)  # (N, W)
    columns = torch.where(flip[:, None] == 1, columns.flip(1), columns)
    padded = F.pad(images, (PADDING,) * 4)
    return padded[
        span(n)[:, None, None, None],
        span(channels)[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
