"""A small part of a training set."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ics.data.seeding import generator


def balanced_subset(classes: NDArray[Any], size: int, seed: int) -> NDArray[np.intp]:
    """Indices of `size` samples, drawn class by class in turn from a shuffled set.

    A smaller subset of the same seed lies within a larger one.

    Args:
        classes: the class of each sample, (N,).
        size: at most N.
        seed: of the shuffle.

    Returns:
        Indices (size,), ascending; the numbers per class differ by one at most, unless a class is used up.
    """
    order = generator("subset", seed).permutation(len(classes))
    shuffled = classes[order]
    turn = np.empty(len(classes), dtype=np.intp)  # each sample's place in its class
    for name in np.unique(classes):
        (places,) = np.nonzero(shuffled == name)
        turn[places] = np.arange(len(places))
    return np.sort(order[np.argsort(turn, kind="stable")[:size]])
