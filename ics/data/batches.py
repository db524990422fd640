"""Batches by step number."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ics.data.dataset import Split, Transform, identity
from ics.data.seeding import generator
from ics.errors import UserError

PADDING = 4  # pixels of zeros around an image that is to be cropped


class Batches:
    """The training batches: `batches[step]` depends on seed and step alone.

    Hence a run resumes from its step number, and every network sees the same batches. Each epoch goes through
    the split in a new order, shuffled anew; the last, incomplete batch of an epoch is dropped.

    Args:
        split: what the batches are taken from; they come on its device.
        batch_size: samples per batch; None for the whole split in its stored order at every step.
        seed: of the order and the augmentation.
        transform: applied to the inputs of each batch.
        augment: crop and flip images at random before the transform.

    Raises:
        UserError: the batch is larger than the split or smaller than one, or the data are no images and
            cannot be augmented.

    Example:
        >>> split = Split(torch.arange(4.0), torch.arange(4))
        >>> x, y = Batches(split, batch_size=2, seed=0)[17]
    """

    def __init__(
        self,
        split: Split,
        batch_size: int | None,
        seed: int,
        transform: Transform = identity,
        augment: bool = False,
    ) -> None:
        if batch_size is not None and not 1 <= batch_size <= len(split):
            raise UserError(
                f"a batch of {batch_size} cannot be taken from {len(split)} training samples; "
                f"choose a batch size from 1 to {len(split)}"
            )
        if augment and split.inputs.ndim != 4:
            raise UserError(f"only images can be augmented, not inputs of shape {tuple(split.inputs.shape[1:])}")
        self.split = split
        self.batch_size = batch_size
        self.seed = seed
        self.transform = transform
        self.augment = augment
        self.steps_per_epoch = 1 if batch_size is None else len(split) // batch_size
        self._order = (-1, torch.empty(0))  # the last epoch asked for, and its order

    def epoch(self, step: int) -> int:
        """The epoch that a step belongs to, counted from 0."""
        return step // self.steps_per_epoch

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a step, counted from 0 and without end."""
        if step < 0:
            raise IndexError(f"steps count from 0, not {step}")
        inputs, targets = self.split.inputs, self.split.targets
        if self.batch_size is not None:
            first = step % self.steps_per_epoch * self.batch_size
            chosen = self._permutation(self.epoch(step))[first : first + self.batch_size]
            inputs, targets = inputs[chosen], targets[chosen]
        if self.augment:
            inputs = crop_and_flip(inputs, generator("augmentation", self.seed, step))
        return self.transform(inputs), targets

    def _permutation(self, epoch: int) -> Tensor:
        """The order of an epoch, on the device of the split; drawn and transferred once an epoch."""
        if self._order[0] != epoch:
            order = generator("order", self.seed, epoch).permutation(len(self.split))
            self._order = (epoch, torch.from_numpy(order).to(self.split.inputs.device))
        return self._order[1]


def crop_and_flip(images: Tensor, rng: np.random.Generator) -> Tensor:
    """Random crop after 4 pixels of zero padding, and a horizontal flip of every second image or so.

    Applied to bytes (N, C, H, W), before any scaling, as He et al. 2016 (section 4.2) do. All is drawn on the CPU, so
    that the result does not depend on the device.
    """
    n, channels, height, width = images.shape
    offsets = rng.integers(0, 2 * PADDING, size=(2, n), endpoint=True)
    flipped = rng.integers(0, 2, size=(1, n))
    top, left, flip = torch.from_numpy(np.concatenate([offsets, flipped])).to(images.device)

    def span(length: int) -> Tensor:
        return torch.arange(length, device=images.device)

    rows = (top[:, None] + span(height))[:, None, :, None]  # (N, 1, H, 1)
    columns = left[:, None] + span(width)  # (N, W)
    columns = torch.where(flip[:, None] == 1, columns.flip(1), columns)[:, None, None, :]
    return F.pad(images, (PADDING,) * 4)[span(n)[:, None, None, None], span(channels)[:, None, None], rows, columns]
