"""Which of our layers stands for one of the paper's."""

from collections.abc import Collection, Sequence

import pandas as pd

# Setting `model.name` -> the paper's number of layers. It says none for VGG; 16 fits best.
PAPERS_DEPTH = {"vgg": 16, "deep_linear": 25}


def match_layers(wanted: Sequence[int], papers_depth: int, measured: Collection[int], depth: int) -> dict[int, int]:
    """The paper's layers and ours: the same numbers if all are measured, else the nearest in relative depth.

    Args:
        wanted: layer numbers of the paper, from 1.
        papers_depth: number of layers of the paper's network.
        measured: the layers there are.
        depth: number of layers of our network.

    Returns:
        The paper's number -> ours. Two of the paper's layers may fall on one of ours.

    Example:
        >>> match_layers([5, 10], 16, range(1, 10), 11)
        {5: 3, 10: 7}
    """
    if set(wanted) <= set(measured):
        return {number: number for number in wanted}
    return {
        number: min(sorted(measured), key=lambda index: abs(index - number / papers_depth * depth)) for number in wanted
    }


def common_layers(rows: pd.DataFrame, column: str = "layer_index") -> list[int]:
    """The layers that every run measured; all there are if no layer is common to all runs."""
    pairs = rows[["run", column]].drop_duplicates()
    runs = pairs[column].value_counts().sort_index()  # by how many each was measured
    return (runs.index[runs == pairs["run"].nunique()].tolist() or runs.index.tolist()) if len(runs) else []
