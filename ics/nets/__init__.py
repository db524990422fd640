"""Networks and normalisations by name."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from ics.nets import deep_linear, mlp, resnet, vgg  # noqa: F401 (each registers its network)
from ics.nets.base import NETS
from ics.nets.init import INITS, initialize, weights_generator
from ics.nets.norms import NORMS, ActivationNoise, LpNorm, NormFactory

__all__ = ["INITS", "NETS", "NORMS", "ActivationNoise", "LpNorm", "NormFactory", "build"]


def build(
    model: Mapping[str, Any], norm: Mapping[str, Any], input_shape: tuple[int, ...], outputs: int, seed: int
) -> nn.Module:
    """Build a network on the CPU and draw its initial weights.

    The weights depend on the settings of the model and on the seed alone: neither the norm nor the random
    state of the process enters, and that state is left as it was.

    Args:
        model: name and options of the network; its `init` holds name and options of the initialisation
            (default glorot_uniform).
        norm: name and options of the norm.
        input_shape: shape of one sample.
        outputs: number of classes or of regression targets.
        seed: of the initial weights.

    Raises:
        UserError: a name or an option is wrong, or the network does not fit the input.

    Example:
        >>> net = build({"name": "mlp"}, {"name": "batch"}, input_shape=(1, 28, 28), outputs=10, seed=0)
        >>> net.fc1
        Linear(in_features=784, out_features=32, bias=True)
    """
    settings = dict(model)
    init = settings.pop("init", {"name": "glorot_uniform"})
    generator = weights_generator(seed)
    # PyTorch's constructors draw from the global CPU generator: lend it a seed of ours, and put it back.
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(generator.initial_seed())
        net = NETS.build(settings, norm=NORMS.build(norm), input_shape=tuple(input_shape), outputs=outputs)
    initialize(net, init, generator)
    return net
