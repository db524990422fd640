"""Statistics over seeds: the median and a band, step by step."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

FEW = 5
TAILS = (0.1, 0.9)
BAND = f"band: full range of the seeds (10–90\u00a0% from {FEW + 1} seeds on)"


def over_seeds(frame: pd.DataFrame, value: str, by: Sequence[str] = ()) -> pd.DataFrame:
    """The median over the runs and a band around it, for every step.

    The band is the full range for up to five runs, where percentiles would be made up, and the 10th to the
    90th percentile for more. The largest number of runs at any step of a group decides, so that the meaning
    of the band does not change along a curve when single runs end early. Values that are not finite count as
    missing; a step without any value keeps its row, with nan and n = 0, so that a drawn line breaks there.

    Args:
        frame: one row per run, step and group, as from `load_runs`.
        value: the column to summarise.
        by: the columns that, beside the step, tell groups apart; nothing else may (one row per run and step
            each).

    Returns:
        A frame with the columns `by`, step, n, median, low, high, sorted by `by` and step.

    Raises:
        ValueError: a run has two rows for the same group and step: `by` lacks a column.

    Example:
        >>> frame = pd.DataFrame({"run": ["a", "b", "c"], "step": 0, "l2": [1.0, 2.0, 9.0]})
        >>> over_seeds(frame, "l2").to_dict("records")
        [{'step': 0, 'n': 3, 'median': 2.0, 'low': 1.0, 'high': 9.0}]
    """
    keys = [*by, "step"]
    if frame.duplicated(["run", *keys]).any():
        raise ValueError(f"a run has several rows for the same {', '.join(keys)}")
    values = frame[value].astype("float64").where(np.isfinite(frame[value]))
    grouped = values.groupby([frame[key] for key in keys], observed=True, sort=True)
    table = grouped.agg(["count", "median", "min", "max"])
    table.columns = ["n", "median", "low", "high"]
    most = table["n"].groupby(level=list(by), observed=True).transform("max") if by else table["n"].max()
    many = pd.Series(most > FEW, index=table.index)
    if many.any():
        for column, share in zip(("low", "high"), TAILS, strict=True):
            table[column] = table[column].where(~many, grouped.quantile(share))
    return table.reset_index()


def band(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The lower and the upper edge of the band of `over_seeds`, of a table with a row per step and a column per run.

    Returns:
        Two rows, a column per step; nan where no value is finite.
    """
    finite = np.where(np.isfinite(values), values, np.nan)
    if np.isfinite(values).sum(axis=1).max(initial=0) <= FEW:
        return np.array([np.fmin.reduce(finite, axis=1), np.fmax.reduce(finite, axis=1)])
    return pd.DataFrame(finite).quantile(TAILS, axis=1).to_numpy()
