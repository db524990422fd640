"""The slow, obvious definition: k full forward and backward passes on deep copies. The oracle of the probe's tests."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def forward(model: nn.Module, x: Any) -> Any:
    if isinstance(x, Mapping):
        return model(**x)
    return model(*x) if isinstance(x, tuple) else model(x)


def shifted_gradients(
    old: nn.Module,
    new: nn.Module,
    loss_fn: Callable[[Any, Any], Tensor],
    x: Any,
    y: Any,
    layers: Sequence[tuple[str, Sequence[str], Sequence[str]]],
    random_state: Tensor,
) -> dict[str, tuple[Tensor, ...]]:
    """G' of every layer by Definition 2.1.

    Args:
        old: the model with the parameters before the update, W(t), and the buffers the passes start from.
        new: the model with the parameters after it, W(t + 1).
        layers: for each layer (name, the names of W_i, the names of all parameters that come before layer i).
        random_state: the CPU generator's state before the training pass.

    Returns:
        layer name → gradients of the tensors of W_i.
    """
    result = {}
    kept = torch.get_rng_state()
    updated = dict(new.named_parameters())
    for name, own, before in layers:
        hybrid = copy.deepcopy(old)
        parameters = dict(hybrid.named_parameters())
        with torch.no_grad():
            for parameter in before:
                parameters[parameter].copy_(updated[parameter])
        torch.set_rng_state(random_state)
        hybrid.zero_grad()
        loss_fn(forward(hybrid, x), y).backward()
        result[name] = tuple(
            torch.zeros_like(parameters[n]) if parameters[n].grad is None else parameters[n].grad for n in own
        )
    torch.set_rng_state(kept)
    return result


class FirstTouch(TorchDispatchMode):
    """Order in which kernels first touch each parameter: found below autograd, unlike the probe's own way."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.names = {id(parameter): name for name, parameter in model.named_parameters()}
        self.order: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for leaf in tree_leaves((args, kwargs)):
            name = self.names.get(id(leaf))
            if name is not None and name not in self.order:
                self.order.append(name)
        return func(*args, **(kwargs or {}))


def execution_order(model: nn.Module, x: Any) -> list[str]:
    """Names of the parameters in order of first use, from a pass on a copy."""
    copied = copy.deepcopy(model)
    kept = torch.get_rng_state()
    with FirstTouch(copied) as touch:
        forward(copied, x)
    torch.set_rng_state(kept)
    return touch.order
