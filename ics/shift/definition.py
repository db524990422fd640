"""Definition 2.1 of Santurkar et al. 2018 and nothing else: what every faster way must equal, to the bit.

G'_i = ∇_{W_i} L(W_1ᵗ⁺¹, …, W_{i−1}ᵗ⁺¹, W_iᵗ, W_{i+1}ᵗ, …, W_kᵗ; x, y)
"""

from collections.abc import Callable, Container, Iterator, Sequence

from torch import Tensor, nn

from ics.shift.layers import Layer, of_layer


def shifted_gradients(
    start: Callable[[Container[nn.Parameter]], None], loss: Callable[[], Tensor], layers: Sequence[Layer]
) -> Iterator[tuple[Layer, Tensor]]:
    """G' of every layer, by a full forward and backward pass for each.

    Args:
        start: `start(moved)` puts the model to where the training pass began: buffers, attributes and random numbers as
            then, no `.grad`, the parameters in `moved` at W(t + 1), all others at W(t).
        loss: a forward pass; the scalar loss.
        layers: those whose G' is wanted; of each the parameters W_i, and those that are used before them.

    Yields:
        A layer and its G', in the shape of W_i (one vector where W_i is several tensors); zeros where the loss does not
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
        yield layer, of_layer(layer, {p: p.grad for p in layer.parameters}).clone()
