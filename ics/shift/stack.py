"""All hybrids of a small chain in one pass: where calls cost more than arithmetic.

The hybrid networks of Definition 2.1 share the old weights of every layer that lies after both of their places, so that
their activations there can go through it together, stacked: first one hybrid, then, at the next measured layer, its
own joins. One backward pass through the stack gives every G'. This needs a network whose modules treat each sample, or
each hybrid's batch, by itself, and the result has the definition's bits only where the kernels round a row of a matrix
alike wherever it stands; so the probe compares once, and uses the stack only if it is both exact and faster.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ics.shift.layers import Layer
from ics.shift.state import SwappedParameters

LARGEST = 2**26
"""Numbers in the stacks of all modules together, at most; 256 MiB if all hybrids went through all modules."""

_ELEMENTWISE = (
    nn.Identity,
    nn.ReLU,
    nn.LeakyReLU,
    nn.ELU,
    nn.GELU,
    nn.SiLU,
    nn.Sigmoid,
    nn.Tanh,
    nn.Softplus,
)


class Stack:
    """A chain of linear maps, batch norms and elementwise functions, whose hybrids can be stacked.

    Args:
        chain: its modules in order.
        layers: the measured ones among them, in order of execution.
    """

    def __init__(self, chain: Sequence[nn.Module], layers: Sequence[Layer]) -> None:
        self._chain = chain
        self._layers = layers
        owner = {parameter: module for module in chain for parameter in module.parameters(recurse=False)}
        self._measured = {owner[layer.parameters[0]] for layer in layers}

    @classmethod
    def of(cls, model: nn.Module, layers: Sequence[Layer]) -> "Stack | None":
        """The model's stack; None if it is no such chain."""
        chain = _chain(model)
        parameters = [p for module in chain or () for p in module.parameters(recurse=False)]
        once = len(set(parameters)) == len(parameters) and len(set(chain or ())) == len(chain or ())
        return cls(chain, layers) if chain and once else None

    def suits(self, x: Any) -> bool:
        """Whether the stack can take this batch now: norms in training mode, and not too much of it."""
        if not isinstance(x, Tensor) or (x.ndim != 2 and not isinstance(self._chain[0], nn.Flatten)):
            return False
        widest = max(module.out_features for module in self._chain if isinstance(module, nn.Linear))
        numbers = len(self._layers) * len(self._chain) * widest * len(x)
        norms = [module for module in self._chain if isinstance(module, nn.BatchNorm1d)]
        return numbers <= LARGEST and all(norm.training for norm in norms)

    def gradients(
        self, x: Tensor, loss_of: Callable[[Tensor], Tensor], parameters: SwappedParameters
    ) -> dict[Layer, tuple[Tensor, ...]]:
        """G' of every measured layer.

        Args:
            x: the batch.
            loss_of: outputs → scalar loss.
            parameters: the model's, old and new.

        Returns:
            layer → the gradients of its W_i; nothing where the loss does not depend on the outputs.
        """
        parameters.use_old(set())
        arrivals = self._arrivals(x)
        parameters.use_old(set(parameters))
        stack: Tensor | None = None  # (hybrids, N, features), the earliest hybrid first
        for module in self._chain:
            if module in self._measured:
                own = module(arrivals[module]).unsqueeze(0)  # the hybrid whose W_i this is: the only one to need ∇W_i
                stack = own if stack is None else torch.cat([_through(module, stack), own])
            elif stack is not None:
                stack = _through(module, stack)
        assert stack is not None
        total = torch.stack([loss_of(outputs) for outputs in stack.unbind()]).sum()
        wanted = [p for layer in self._layers for p in layer.parameters]
        if not total.requires_grad:
            return {}
        found = iter(torch.autograd.grad(total, wanted))
        return {layer: tuple(next(found) for _ in layer.parameters) for layer in self._layers}

    @torch.no_grad()
    def _arrivals(self, x: Tensor) -> dict[nn.Module, Tensor]:
        """What reaches each measured layer in the network with the updated weights."""
        arrivals = {}
        for module in self._chain:
            if module in self._measured:
                arrivals[module] = x
                if len(arrivals) == len(self._measured):
                    break
            x = module(x)
        return arrivals


def _chain(model: nn.Module) -> list[nn.Module] | None:
    """The modules of nested `Sequential`s in order; None if there are others than those that can be stacked."""
    if type(model) is nn.Sequential:
        parts = [_chain(module) for module in model]
        return None if any(part is None for part in parts) else [module for part in parts for module in part or ()]
    flattens = type(model) is nn.Flatten and (model.start_dim, model.end_dim) == (1, -1)
    known = flattens or type(model) in (nn.Linear, nn.BatchNorm1d, *_ELEMENTWISE)
    return [model] if known else None


def _through(module: nn.Module, stack: Tensor) -> Tensor:
    """The stack behind a module with its old parameters, which no hybrid in it asks a gradient of."""
    if isinstance(module, nn.Linear):
        return functional.linear(stack, module.weight.detach(), None if module.bias is None else module.bias.detach())
    if isinstance(module, nn.BatchNorm1d):
        # Call by call: side by side as one wide batch the backward pass rounds otherwise.
        γ, β = (None if p is None else p.detach() for p in (module.weight, module.bias))
        return torch.stack(
            [functional.batch_norm(one, None, None, γ, β, training=True, eps=module.eps) for one in stack]
        )
    return stack.flatten(2) if isinstance(module, nn.Flatten) else module(stack)
