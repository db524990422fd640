"""The residual network for small images."""

from typing import Annotated

from pydantic import Field, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from ics.errors import UserError
from ics.nets.base import NETS, chain
from ics.nets.norms import NormFactory

CHANNELS = (16, 32, 64)


class ResidualBlock(nn.Module):
    """relu(shortcut(x) + branch(x)); the branch is two 3×3 convolutions, each followed by the norm.

    The shortcut has no parameters (option A of He et al. 2016): every second pixel, new channels zero.
    """

    def __init__(self, channels: int, wider: int, stride: int, norm: NormFactory) -> None:
        super().__init__()
        self.branch = chain(
            ("conv1", nn.Conv2d(channels, wider, kernel_size=3, stride=stride, padding=1, bias=False)),
            ("norm1", norm(wider, 2)),
            ("relu1", nn.ReLU()),
            ("conv2", nn.Conv2d(wider, wider, kernel_size=3, padding=1, bias=False)),
            ("norm2", norm(wider, 2)),
        )
        self.stride = stride
        before = (wider - channels) // 2
        self.new_channels = (before, wider - channels - before)
        self.same_shape = stride == 1 and wider == channels
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        if not self.same_shape:
            shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, *self.new_channels))
        out: Tensor = self.relu(shortcut + self.branch(x))
        return out


@NETS.register("resnet")
def resnet(
    norm: NormFactory,
    input_shape: tuple[int, ...],
    outputs: int,
    depth: Annotated[int, Field(ge=8)] = 20,
    width: PositiveFloat = 1.0,
) -> nn.Module:
    """The CIFAR ResNet of 6n + 2 layers (He et al. 2016, sec. 4.2): conv1, …, stage1, 2, 3, …, classifier.

    Args:
        norm: placed after each convolution; these have no bias.
        input_shape: (channels, height, width), at least 4×4 pixels.
        outputs: number of classes.
        depth: 20, 32, 44, 56 in the original; any 6n + 2.
        width: multiplies the number of channels of every convolution.

    Returns:
        A network from (N, *input_shape) to (N, outputs).

    Raises:
        UserError: the depth is not 6n + 2, or the input is not an image.
    """
    if depth % 6 != 2:
        raise UserError(f"a CIFAR ResNet has 6n + 2 layers (20, 32, 44, 56, ...), not model.depth={depth}")
    if len(input_shape) != 3 or min(input_shape[1:]) < 4:
        raise UserError(
            "ResNet needs images of shape (channels, height, width) with at least 4x4 pixels, and the data "
            f"have shape {input_shape}; choose another data set or model"
        )

    def stage(channels: int, wider: int, stride: int) -> nn.Sequential:
        blocks = [(channels, stride)] + [(wider, 1)] * ((depth - 2) // 6 - 1)
        return chain(*((f"block{i}", ResidualBlock(c, wider, s, norm)) for i, (c, s) in enumerate(blocks, start=1)))

    c1, c2, c3 = (max(1, round(width * channels)) for channels in CHANNELS)
    return chain(
        ("conv1", nn.Conv2d(input_shape[0], c1, kernel_size=3, padding=1, bias=False)),
        ("norm1", norm(c1, 2)),
        ("relu1", nn.ReLU()),
        ("stage1", stage(c1, c1, stride=1)),
        ("stage2", stage(c1, c2, stride=2)),
        ("stage3", stage(c2, c3, stride=2)),
        ("pool", nn.AdaptiveAvgPool2d(1)),
        ("flatten", nn.Flatten()),
        ("classifier", nn.Linear(c3, outputs)),
    )
