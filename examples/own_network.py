"""A network of one's own.

python scripts/train.py plugin=examples.own_network model=own model.name=small_cnn data=digits steps=200
"""

from torch import nn

from ics.nets import NETS, NormFactory


@NETS.register("small_cnn")
def small_cnn(norm: NormFactory, input_shape: tuple[int, ...], outputs: int, channels: int = 16) -> nn.Module:
    """Two convolutions, their average over the image, and a classifier."""
    layers = [
        nn.Conv2d(input_shape[0], channels, kernel_size=3),
        norm(channels, 2),  # None where there is to be no norm
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel_size=3),
        norm(channels, 2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, outputs),
    ]
    return nn.Sequential(*[layer for layer in layers if layer is not None])
