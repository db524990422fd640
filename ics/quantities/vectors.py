"""All parameters together as one vector, kept as the list of its parts. Sums run in float64."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def norm(parts: Sequence[Tensor]) -> Tensor:
    """‖·‖₂ over all entries of all parts, a float64 scalar on the first part's device."""
    return _squares(parts).sum().sqrt()


def norms(parts: Sequence[Tensor]) -> Tensor:
    """‖·‖₂ of each part by itself, float64 (number of parts,) on the first part's device."""
    return _squares(parts).sqrt()


def _squares(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack([part.detach().double().square().sum().to(parts[0].device) for part in parts])


def gaussian(like: Sequence[Tensor], seed: int, step: int) -> list[Tensor]:
    """N(0, 1) entries of these shapes, types and devices, a function of seed, step and shapes alone.

    They are drawn on the CPU from a generator of their own: the same on every device, and nobody else's stream moves.
    """
    mixed = np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]  # (0, 1) and (1, 0) are unrelated
    generator = torch.Generator().manual_seed(int(mixed))
    return [torch.randn(part.shape, generator=generator).to(part) for part in like]
