"""Batch normalisation as the formula in NumPy: to be read, and to test the fast ones against."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


@dataclass
class RunningStatistics:
    """What evaluation uses in the place of the batch's statistics.

    Attributes:
        mean: (C,), starts at 0.
        variance: (C,), starts at 1.
    """

    mean: Array
    variance: Array

    def update(self, mean: Array, variance: Array, fraction_kept: float = 0.9) -> None:
        """Exponential moving average; PyTorch's `momentum` is the fraction replaced, 1 − fraction_kept."""
        self.mean = fraction_kept * self.mean + (1 - fraction_kept) * mean
        self.variance = fraction_kept * self.variance + (1 - fraction_kept) * variance


def batch_norm(
    x: Array,
    gamma: Array,
    beta: Array,
    running: RunningStatistics,
    training: bool,
    fraction_kept: float = 0.9,
    eps: float = 1e-5,
) -> Array:
    """Ioffe & Szegedy 2015, algorithms 1 and 2.

    Args:
        x: (N, C) or (N, C, H, W).
        gamma: (C,).
        beta: (C,).
        running: updated by training, used by evaluation.
        training: which of the two.
        fraction_kept: of the running statistics in an update.
        eps: added to the variance.

    Returns:
        γ x̂ + β, of the shape of x.

    Example:
        >>> running = RunningStatistics(mean=np.zeros(1), variance=np.ones(1))
        >>> batch_norm(np.array([[1.0], [3.0]]), np.ones(1), np.zeros(1), running, training=True, eps=0).tolist()
        [[-1.0], [1.0]]
        >>> running.mean.round(3).tolist(), running.variance.round(3).tolist()
        ([0.2], [1.1])
    """
    values = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])  # (m, C): batch, height and width are one
    if training:
        m = len(values)
        mean = values.mean(axis=0)  # μ = 1/m Σ xᵢ
        variance = ((values - mean) ** 2).mean(axis=0)  # σ² = 1/m Σ (xᵢ − μ)²: biased, for normalising
        running.update(mean, variance * m / (m - 1), fraction_kept)  # unbiased, for later
    else:
        mean, variance = running.mean, running.variance
    unit = (-1, *(1,) * (x.ndim - 2))  # (C,) → (C, 1, 1), which broadcasts over x
    normalised = (x - mean.reshape(unit)) / np.sqrt(variance.reshape(unit) + eps)  # x̂
    y: Array = gamma.reshape(unit) * normalised + beta.reshape(unit)
    return y
