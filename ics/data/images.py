"""From decoded images to a data set: which are trained on, and how bytes become the network's input."""

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ics.data.dataset import Dataset, Split, Transform
from ics.data.seeding import generator
from ics.errors import UserError

Scaling = Literal["standardize", "per_image", "unit", "bytes_centered", "binary", "none"]

LEVELS = 256


def binary(images: Tensor) -> Tensor:
    """1 where the byte is above 127, else 0."""
    return (images > 127).to(torch.float32)


def per_image(images: Tensor) -> Tensor:
    """(x − mean) / max(std, 1/√n) of each image over all its n pixels and channels (TensorFlow's
    `per_image_standardization`; the bound keeps an image of one colour from being divided by 0)."""
    x = images.to(torch.float32).flatten(1)
    variance, mean = torch.var_mean(x, dim=1, correction=0, keepdim=True)
    return x.sub_(mean).div_(variance.sqrt().clamp_(min=x.shape[1] ** -0.5)).view(images.shape)


def scaler(scaling: Scaling, images: Tensor, gain: float = 1) -> Transform:
    """The transform of that name, with the statistics of these training images; uint8 to float32 (N, C, H, W), · gain.

    `standardize` (channel mean 0, standard deviation 1), `per_image` (mean 0, standard deviation 1 of each image by
    itself), `unit` (0 to 1), `bytes_centered` (0 to 255 minus the channel mean), `binary` (0 or 1), `none` (0 to 255).
    """
    if gain != 1:
        scaled = scaler(scaling, images)
        return lambda bytes_: scaled(bytes_) * gain
    if scaling in ("binary", "per_image"):  # these know each image by itself
        return binary if scaling == "binary" else per_image
    mean, std = channel_statistics(images)
    zero, one = torch.zeros_like(mean), torch.ones_like(std)
    shift, scale = {
        "standardize": (mean, torch.where(std > 0, std, one)),  # a constant channel has nothing to scale
        "unit": (zero, one * (LEVELS - 1)),
        "bytes_centered": (mean, one),
        "none": (zero, one),
    }[scaling]
    return lambda bytes_: bytes_.to(torch.float32).sub_(shift).div_(scale)  # shift and scale: (C, 1, 1)


def channel_statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (biased) standard deviation of each channel in bytes, float32 (C, 1, 1).

    Both come from the channel's histogram: exact, equal on every device, without a float copy of the images.
    """
    levels = torch.arange(LEVELS, dtype=torch.float64)
    counts = torch.stack([torch.bincount(channel.flatten(), minlength=LEVELS) for channel in images.unbind(1)])
    shares = counts.cpu().double() / images[:, 0].numel()  # (C, levels)
    means = (shares * levels).sum(1, keepdim=True)
    stds = (shares * (levels - means) ** 2).sum(1, keepdim=True).sqrt()
    mean, std = (values.to(images.device, torch.float32).unsqueeze(-1) for values in (means, stds))
    return mean, std


class Images(NamedTuple):
    """Decoded images, uint8 (N, C, H, W), and their classes, integers (N,)."""

    pixels: NDArray[np.uint8]
    classes: NDArray[Any]


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
        scaling: see `ics.data.images.scaler`; its statistics are those of the images trained on.
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

    def split(images: Images) -> Split:
        pixels = torch.from_numpy(np.ascontiguousarray(images.pixels)).to(device)
        return Split(pixels, torch.from_numpy(images.classes).to(device, torch.int64))

    held = split(train)
    return Dataset(label, held, split(test), outputs, "classification", scaler(scaling, held.inputs, gain))


def balanced_subset(classes: NDArray[Any], size: int, seed: int) -> NDArray[np.intp]:
    """Indices of `size` samples, drawn class by class in turn from a shuffled set.

    A smaller subset of the same seed lies within a larger one. The indices ascend; the numbers per class differ by one
    at most, unless a class is used up.
    """
    order = generator("subset", seed).permutation(len(classes))
    shuffled = classes[order]
    turn = np.empty(len(classes), dtype=np.intp)  # each sample's place in its class
    for name in np.unique(classes):
        (places,) = np.nonzero(shuffled == name)
        turn[places] = np.arange(len(places))
    return np.sort(order[np.argsort(turn, kind="stable")[:size]])
