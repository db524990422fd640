"""VGG for 32×32 images."""

from itertools import count, islice
from typing import Literal

from pydantic import PositiveFloat
from torch import nn

from ics.errors import UserError
from ics.nets.base import NETS, NamedModule, chain
from ics.nets.norms import NormFactory
from ics.registry import Count

STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Convolutions before each of the five max-pools, by depth (Simonyan & Zisserman 2015, table 1)."""

CHANNELS = (64, 128, 256, 512, 512)

HeadNorm = Literal["none", "first", "all"]


@NETS.register("vgg")
def vgg(
    norm: NormFactory,
    input_shape: tuple[int, ...],
    outputs: int,
    depth: Literal[11, 13, 16, 19] = 16,
    width: PositiveFloat = 1.0,
    head: tuple[Count, ...] = (512, 512),
    head_norm: HeadNorm = "none",
) -> nn.Module:
    """VGG (Simonyan & Zisserman 2015) without dropout: conv1, norm1, relu1, … pool5, fc1, … classifier.

    Args:
        norm: placed before each non-linearity of the convolutions.
        input_shape: (channels, 32, 32).
        outputs: number of classes.
        depth: layers with weights when the head has two hidden ones, as in the original.
        width: multiplies the number of channels of every convolution.
        head: sizes of the hidden fully connected layers; not multiplied by `width`.
        head_norm: which hidden fully connected layers are normalised too.

    Returns:
        A network from (N, channels, 32, 32) to (N, outputs).

    Raises:
        UserError: the input is not an image of 32×32 pixels, which the five max-pools halve down to 1×1.
    """
    if len(input_shape) != 3 or input_shape[1:] != (32, 32):
        raise UserError(
            f"VGG needs images of shape (channels, 32, 32), and the data have shape {input_shape}; "
            "data.size=32 upscales digits, or choose another model"
        )

    modules: list[NamedModule] = []
    features, layers = input_shape[0], count(1)
    for stage, convolutions in enumerate(STAGES[depth], start=1):
        wider = max(1, round(width * CHANNELS[stage - 1]))
        for layer in islice(layers, convolutions):
            modules += [
                (f"conv{layer}", nn.Conv2d(features, wider, kernel_size=3, padding=1)),
                (f"norm{layer}", norm(wider, 2)),
                (f"relu{layer}", nn.ReLU()),
            ]
            features = wider
        modules.append((f"pool{stage}", nn.MaxPool2d(2)))
    modules.append(("flatten", nn.Flatten()))
    for layer, hidden in enumerate(head, start=1):
        modules.append((f"fc{layer}", nn.Linear(features, hidden)))
        if head_norm == "all" or (head_norm == "first" and layer == 1):
            modules.append((f"fc_norm{layer}", norm(hidden, 0)))
        modules.append((f"fc_relu{layer}", nn.ReLU()))
        features = hidden
    return chain(*modules, ("classifier", nn.Linear(features, outputs)))
