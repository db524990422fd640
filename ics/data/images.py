"""From arrays of decoded images to a data set."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ics.data.dataset import Dataset, Split
from ics.data.scaling import Scaling, scaler
from ics.data.seeding import generator
from ics.errors import UserError


class Images(NamedTuple):
    """Decoded images, uint8 (N, C, H, W), and their classes, integers (N,)."""

    pixels: NDArray[np.uint8]
    classes: NDArray[Any]

    def to(self, device: torch.device) -> Split:
        """The same as tensors on the device."""
        pixels = torch.from_numpy(np.ascontiguousarray(self.pixels)).to(device)
        return Split(pixels, torch.from_numpy(self.classes.astype(np.int64)).to(device))


def image_dataset(
    label: str,
    train: Images,
    test: Images,
    outputs: int,
    scaling: Scaling,
    gain: float,
    limit: int | None,
    seed: int,
    device: torch.device,
) -> Dataset:
    """A classification data set held as bytes on the device.

    Args:
        label: the name that results carry.
        train: training images.
        test: test images.
        outputs: number of classes.
        scaling: see `ics.data.scaling.scaler`; its statistics are those of the images trained on.
        gain: what they are multiplied by then.
        limit: train on this many images only, chosen by the seed, the classes balanced.
        seed: of that choice.
        device: where the images are held.

    Raises:
        UserError: the limit is larger than the training set.
    """
    if limit is not None:
        if limit > len(train.classes):
            raise UserError(f"data.limit={limit} is more than the {len(train.classes)} training images of {label}")
        chosen = balanced_subset(train.classes, limit, seed)
        train = Images(train.pixels[chosen], train.classes[chosen])
    split = train.to(device)
    return Dataset(
        label=label,
        train=split,
        test=test.to(device),
        outputs=outputs,
        task="classification",
        transform=scaler(scaling, split.inputs, gain),
    )


def balanced_subset(classes: NDArray[Any], size: int, seed: int) -> NDArray[np.intp]:
    """Indices of `size` samples, drawn class by class in turn from a shuffled set.

    A smaller subset of the same seed lies within a larger one.

    Args:
        classes: the class of each sample, (N,).
        size: at most N.
        seed: of the shuffle.

    Returns:
        Indices (size,), ascending; the numbers per class differ by one at most, unless a class is used up.
    """
    order = generator("subset", seed).permutation(len(classes))
    shuffled = classes[order]
    turn = np.empty(len(classes), dtype=np.intp)  # each sample's place in its class
    for name in np.unique(classes):
        (places,) = np.nonzero(shuffled == name)
        turn[places] = np.arange(len(places))
    return np.sort(order[np.argsort(turn, kind="stable")[:size]])
