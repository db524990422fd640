"""Definition 2.1 of Santurkar et al. 2018 and nothing else: what every faster way must equal, to the bit.

G'_i = ∇_{W_i} L(W_1ᵗ⁺¹, …, W_{i−1}ᵗ⁺¹, W_iᵗ, W_{i+1}ᵗ, …, W_kᵗ; x, y)
"""

from collections.abc import Callable, Collection, Container, Iterator, Sequence
from dataclasses import replace

from torch import Tensor, nn

from ics.shift.layers import Layer, flat_gradient


def moved_only(layers: Sequence[Layer], weights: Collection[nn.Parameter]) -> list[Layer]:
    """The layers, of whose earlier parameters no others move than some: what `moved="weights"` means.

    Args:
        layers: as they are measured where all earlier parameters move, γ, β and biases too.
        weights: those that may move: W_1 … W_k, measured or not.
    """
    return [replace(layer, before=layer.before.intersection(weights)) for layer in layers]


def penalized(gradient: Tensor, weight: Tensor, penalty: float) -> Tensor:
    """∇_{W_i}(L + λ/2·‖W_i‖²) = ∇_{W_i} L + λW_iᵗ, which is the same vector in G and in G'.

    Args:
        gradient: ∇_{W_i} L.
        weight: W_iᵗ, in the gradient's shape.
        penalty: λ. The penalty may be over more than W_i: no other parameter's has a derivative with respect to W_i.
    """
    return gradient + penalty * weight if penalty else gradient


def shifted_gradients(
    start: Callable[[Container[nn.Parameter]], None], loss: Callable[[], Tensor], layers: Sequence[Layer]
) -> Iterator[tuple[Layer, Tensor | None]]:
    """G' of every layer, by a full forward and backward pass for each; a penalty is added by `penalized`.

    Args:
        start: `start(moved)` puts the model to where the training pass began: buffers, attributes and random numbers as
            then, no `.grad`, the parameters in `moved` at W(t + 1), all others at W(t).
        loss: a forward pass; the scalar loss.
        layers: those whose G' is wanted; of each the parameters W_i, and those that are used before them.

    Yields:
        A layer and its G', in the shape of W_i (one vector where W_i is several tensors); None where the loss does not
        depend on the layer.

    Example:
        >>> w1, w2 = (nn.Parameter(Tensor([value])) for value in (2.0, 3.0))
        >>> def start(moved):
        ...     w1.data.fill_(1.0 if w1 in moved else 2.0)  # the update takes w1 from 2 to 1
        ...     w1.grad = w2.grad = None
        >>> layers = [Layer(1, "w1", (w1,), frozenset()), Layer(2, "w2", (w2,), frozenset([w1]))]
        >>> [(layer.name, g.item()) for layer, g in shifted_gradients(start, lambda: (w1 * w2) ** 2 / 2, layers)]
        [('w1', 18.0), ('w2', 3.0)]
    """
    for layer in layers:
        start(layer.before)
        value = loss()
        if value.requires_grad:
            value.backward()  # type: ignore[no-untyped-call]
        gradients = [None if p.grad is None else p.grad.clone() for p in layer.parameters]
        yield layer, flat_gradient(layer, gradients)
