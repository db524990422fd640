"""The least that measuring can cost, from counted multiplications."""

from itertools import accumulate

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
    flops = _flops(model, x)
    order, place = list(flops.values()), {name: i for i, name in enumerate(flops)}
    measuring = sum(order)
    for layer in layers:
        i = place[layer.name]
        measuring += sum(order[i:]) + order[i] + sum(order[i + 1 :])
    return float(measuring / _plain(order))


def counted_origins(model: nn.Module, layers: list[Layer], x: Tensor) -> float:
    """What the shift's origins would take on top of it, all k layers being measured: with F_j = Σ_{l>j} f_l

        Σ f + Σ_j (f_j + F_j + F_j + F_{j+1}) + (3 Σ f − f_1) + Σ_j 4 F_j + (k − 1) Σ f

    a forward pass in which nothing has moved; for each block the forward pass from it on and the gradients of all later
    weights and of the inputs between; a pass whose gradients can be differentiated; for each block the products with
    the Hessian, back through the backward pass and the forward pass above it; for each layer but the first the outputs
    with all before it moved.

    Args:
        model: see `counted_limit`.
        layers: all that it has.
        x: a batch.
    """
    order = list(_flops(model, x).values())
    assert len(order) == len(layers)
    beyond = [*list(accumulate(reversed(order)))[::-1][1:], 0, 0]  # F_j, up to the one after the last
    columns = sum(f + 2 * beyond[j] + beyond[j + 1] for j, f in enumerate(order[:-1]))
    hessian = _plain(order) + 4 * sum(beyond)
    return float((len(layers) * sum(order) + columns + hessian) / _plain(order))


def _plain(order: list[int]) -> int:
    return 3 * sum(order) - order[0]


def _flops(model: nn.Module, x: Tensor) -> dict[str, int]:
    """Of every layer that has any, in order."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    root, counts = type(model).__name__, counter.get_flop_counts()
    leaves = [name for name, module in model.named_modules() if not list(module.children())]
    flops = {name: sum(counts.get(f"{root}.{name}", {}).values()) for name in leaves}
    return {name: found for name, found in flops.items() if found}
