"""Random streams for data that touch nobody else's."""

import numpy as np


def generator(purpose: str, *key: int) -> np.random.Generator:
    """A stream of its own for each purpose and key, the same on every device.

    NumPy's SeedSequence mixes the key, so that (seed 0, epoch 1) and (seed 1, epoch 0) are unrelated.

    Args:
        purpose: what is drawn ("order", "augmentation", …).
        key: non-negative integers, such as seed and epoch.
    """
    return np.random.default_rng([*purpose.encode(), *key])
