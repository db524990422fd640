"""Scaling of images by name, from the bytes in memory to the network's input."""

from typing import Literal

import torch
from torch import Tensor

from ics.data.dataset import Transform

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
    """The transform of that name, with the statistics of the training images.

    Args:
        scaling: `standardize` (channel mean 0, standard deviation 1), `per_image` (mean 0, standard deviation 1 of
            each image by itself), `unit` (0 to 1), `bytes_centered` (0 to 255 minus the channel mean), `binary` (0
            or 1), `none` (0 to 255).
        images: the training images, uint8 (N, C, H, W); the transform works on their device.
        gain: what is multiplied in last.

    Returns:
        A function from uint8 to float32 images of the same shape.
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
    moments = []
    for channel in images.unbind(1):
        share = torch.bincount(channel.flatten(), minlength=LEVELS).cpu().double() / channel.numel()
        mean = (share * levels).sum()
        moments.append((mean, (share * (levels - mean) ** 2).sum().sqrt()))
    means, stds = zip(*moments, strict=True)
    return _per_channel(means, images.device), _per_channel(stds, images.device)


def _per_channel(values: tuple[Tensor, ...], device: torch.device) -> Tensor:
    return torch.stack(values).to(device, torch.float32).view(-1, 1, 1)
