"""What a data set is."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from ics.errors import UserError
from ics.registry import Registry

Transform = Callable[[Tensor], Tensor]
"""From a batch as it is stored to a batch as the network takes it."""

Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class Split:
    """Samples and their targets, in memory and on one device.

    Attributes:
        inputs: images as bytes, uint8 (N, C, H, W), or features, float32 (N, D).
        targets: classes, int64 (N,), or values, float32 (N, outputs).
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Dataset:
    """A training and a test split of one task.

    Attributes:
        label: the name that results carry.
        train: what is trained on.
        test: what is only evaluated.
        outputs: number of classes, or of values to predict.
        task: "classification" or "regression".
        transform: applied to each batch of inputs; the scaling of images.
    """

    label: str
    train: Split
    test: Split
    outputs: int
    task: Task
    transform: Transform

    def __post_init__(self) -> None:
        for name, split in (("training", self.train), ("test", self.test)):
            targets, wanted = split.targets, "at least one sample, and a target for each"
            sound = 0 < len(targets) == len(split)
            if sound and self.task == "regression":
                wanted = f"targets (N, {self.outputs}) of floating point"
                sound = targets.is_floating_point() and targets.shape[1:] == (self.outputs,)
            if sound and self.task == "classification":
                wanted = f"targets from 0 to {self.outputs - 1}, int64 (N,)"
                sound = (targets.dtype, targets.ndim) == (torch.int64, 1)
                sound = sound and int(targets.min()) >= 0 and int(targets.max()) < self.outputs
            if not sound:
                found = f"{str(targets.dtype)[6:]} {tuple(targets.shape)} for {len(split)} samples"
                found += f", from {targets.min():g} to {targets.max():g}" if targets.numel() else ""
                raise UserError(f"the {name} split of {self.label} needs {wanted}; its targets are {found}")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one sample, (C, H, W) or (D,)."""
        return tuple(self.train.inputs.shape[1:])

    @cached_property
    def checksum(self) -> int:
        """Of all samples and targets, so that a run can tell whether it goes on with the data it began with."""
        found = 0
        for split in (self.train, self.test):
            for tensor in (split.inputs, split.targets):
                found = zlib.crc32(
                    tensor.cpu().flatten().view(torch.uint8).numpy().data, found
                )  # takes 0.1 s for CIFAR-10
        return found


def identity(inputs: Tensor) -> Tensor:
    """The transform of data that are stored as the network takes them."""
    return inputs


DATASETS = Registry[Dataset]("data set")
"""Builders called with the context `seed: int, device: torch.device` and options."""
