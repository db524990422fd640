"""How far apart two gradients are (Santurkar et al. 2018, Definition 2.1 and Figure 3).

All sums run in float64 whatever the gradients' type. Nothing is averaged: ‖·‖₂ is over all entries.
"""

import torch
from torch import Tensor

METRICS = ("l2", "cosine", "relative_l2", "grad_norm", "shifted_grad_norm")


def compare(gradient: Tensor, shifted: Tensor) -> Tensor:
    """All metrics of two gradients of the same shape, in the order of `METRICS`: float64, left on their device.

    The cosine is NaN where a gradient is zero, and exactly 1 where the two are equal and not zero.
    """
    g, h = flat(gradient), flat(shifted)
    d = g - h
    dd, gh, gg, hh = torch.stack([d.dot(d), g.dot(h), g.dot(g), h.dot(h)]).unbind()
    distance, g_norm = dd.sqrt(), gg.sqrt()
    # cos∠(G, G') = ⟨G, G'⟩ / √(‖G‖²‖G'‖²): one root of the product, so that equal gradients give exactly 1.
    cosine = (gh / (gg * hh).sqrt()).clamp(-1, 1)
    return torch.stack([distance, cosine, distance / g_norm, g_norm, hh.sqrt()])


def flat(gradient: Tensor) -> Tensor:
    """As one float64 vector; a complex number is its two parts, so that ⟨G, G'⟩ is Re Σ G·conj(G')."""
    gradient = gradient.detach()
    return (torch.view_as_real(gradient.resolve_conj()) if gradient.is_complex() else gradient).flatten().double()


def l2(gradient: Tensor, shifted: Tensor) -> float:
    """‖G − G'‖₂, the internal covariate shift of Definition 2.1.

    Example:
        >>> l2(torch.tensor([3.0, 0.0]), torch.tensor([0.0, 4.0]))
        5.0
    """
    return float(compare(gradient, shifted)[0])


def cosine(gradient: Tensor, shifted: Tensor) -> float:
    """cos∠(G, G'), in [−1, 1]; NaN where either gradient is zero.

    Example:
        >>> cosine(torch.tensor([1.0, 0.0]), torch.tensor([-2.0, 0.0]))
        -1.0
    """
    return float(compare(gradient, shifted)[1])


def relative_l2(gradient: Tensor, shifted: Tensor) -> float:
    """‖G − G'‖₂ / ‖G‖₂: the shift free of the gradient's scale; NaN or infinite where G is zero.

    Example:
        >>> relative_l2(torch.tensor([4.0]), torch.tensor([3.0]))
        0.25
    """
    return float(compare(gradient, shifted)[2])
