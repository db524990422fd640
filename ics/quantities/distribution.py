"""Numbers that describe a sample."""

import math

import torch
from torch import Tensor

ALL_UNITS = -1  # in a column `unit`: the values of all units of a layer together
PERCENTILES = (5, 15, 25, 50, 75, 85, 95)
SAMPLE = 100_000  # values that percentiles are taken from: the median's standard error is then 0.16 percentile ranks
DIGITS = 6


def describe(values: Tensor) -> list[float]:
    """Mean, variance (biased), minimum, maximum of a sample, and its `PERCENTILES` from at most `SAMPLE` values."""
    flat = values.flatten()
    mean, variance = moments(flat)
    ranks = torch.tensor(PERCENTILES, dtype=torch.float64, device=flat.device) / 100
    percentiles = torch.quantile(thinned(flat, SAMPLE).double(), ranks)  # between two values: linearly
    return torch.cat([torch.stack([mean, variance, *(m.double() for m in flat.aminmax())]), percentiles]).tolist()


def moments(values: Tensor) -> Tensor:
    """Mean and biased variance over the last dimension, in float64: shape (2, …)."""
    variance, mean = torch.var_mean(values.double(), dim=-1, correction=0)
    return torch.stack([mean, variance])


def thinned(values: Tensor, limit: int) -> Tensor:
    """At most `limit` positions of the last dimension, evenly spread; always the same ones.

    The stride shares no factor with the length, so that it does not keep to one column of an image.
    """
    stride = math.ceil(values.shape[-1] / limit)
    while math.gcd(stride, values.shape[-1]) > 1:
        stride += 1
    return values[..., ::stride]


def rounded(value: float) -> float:
    """To `DIGITS` significant digits: measured on one batch, nothing is known better, and files stay small."""
    return float(f"{value:.{DIGITS}g}")
