"""The multilayer perceptron."""

from math import prod
from typing import Literal

from torch import nn

from ics.nets.base import NETS, NamedModule, chain
from ics.nets.norms import NormFactory
from ics.registry import Count

ACTIVATIONS = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh}


@NETS.register("mlp")
def mlp(
    norm: NormFactory,
    input_shape: tuple[int, ...],
    outputs: int,
    hidden: tuple[Count, ...] = (32, 32),
    activation: Literal["relu", "sigmoid", "tanh"] = "relu",
) -> nn.Module:
    """A multilayer perceptron on the flattened input: fc1, norm1, relu1, … classifier.

    Args:
        norm: placed before each non-linearity.
        input_shape: any; flattened.
        outputs: number of classes or of regression targets.
        hidden: sizes of the hidden layers.
        activation: the non-linearity, after which its modules are named.

    Returns:
        A network from (N, *input_shape) to (N, outputs).
    """

    modules: list[NamedModule] = [("flatten", nn.Flatten())]
    features = prod(input_shape)
    for layer, size in enumerate(hidden, start=1):
        modules += [
            (f"fc{layer}", nn.Linear(features, size)),
            (f"norm{layer}", norm(size, 0)),
            (f"{activation}{layer}", ACTIVATIONS[activation]()),
        ]
        features = size
    return chain(*modules, ("classifier", nn.Linear(features, outputs)))
