"""The least that measuring can cost, from counted multiplications."""

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ics.shift.layers import Layer


def counted_limit(model: nn.Module, layers: list[Layer], x: Tensor) -> float:
    """What replay would take, in plain training steps, if nothing but the layers' arithmetic took time.

    With f_j operations in layer j's forward pass, as many for the gradient of its input and as many for that of its
    weight, a plain step takes 3 Σ f_j − f_1 (nobody asks for the gradient of the data), and the measurement

        Σ_j f_j + Σ_i (Σ_{j≥i} f_j + f_i + Σ_{j>i} f_j)

    one forward pass with the new weights; for each measured layer i the forward pass from i on, the gradient of its
    weight, and those of the inputs of all later layers. For k equal layers that is (k + 2)/3 plain steps.

    Args:
        model: a network that runs its layers in the order in which it registers them.
        layers: the measured ones.
        x: a batch.
    """
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    root = type(model).__name__
    named = {f"{root}.{name}": module for name, module in model.named_modules() if not list(module.children())}
    counts = counter.get_flop_counts()
    flops = {name: sum(counts[name].values()) for name in named if sum(counts.get(name, {}).values())}
    order = list(flops.values())
    place = {name.removeprefix(f"{root}."): i for i, name in enumerate(flops)}
    plain = 3 * sum(order) - order[0]
    measuring = sum(order)
    for layer in layers:
        i = place[layer.name]
        measuring += sum(order[i:]) + order[i] + sum(order[i + 1 :])
    return float(measuring / plain)
