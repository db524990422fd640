"""Stretches of training steps that are summarised by one number: those of the paper's curves."""

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Window:
    """The steps first ≤ step < end.

    Attributes:
        name: "1k–3k".
        first: first step.
        end: the step after the last.
    """

    name: str
    first: int
    end: int

    def of(self, steps: pd.Series) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Which of the steps lie in the window."""
        values = steps.to_numpy()
        inside: np.ndarray[tuple[int], np.dtype[np.bool_]] = (values >= self.first) & (values < self.end)
        return inside


_START = Window("step 0", 0, 1)
ALL = Window("all", 0, 2**62)

# The paper's name of a model -> windows; the last one takes the last step in.
WINDOWS = {
    "vgg": (
        _START,
        Window("100–1k", 100, 1_000),
        Window("1k–3k", 1_000, 3_000),
        Window("3k–5k", 3_000, 5_000),
        Window("5k–10k", 5_000, 10_000),
        Window("10k–15k", 10_000, 15_001),
        ALL,
    ),
    "dln": (
        _START,
        Window("50–500", 50, 500),
        Window("500–2k", 500, 2_000),
        Window("2k–5k", 2_000, 5_000),
        Window("5k–10k", 5_000, 10_001),
        ALL,
    ),
}
