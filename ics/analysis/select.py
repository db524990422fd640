"""Rows by what they are about."""

from typing import Any

import numpy as np
import pandas as pd


def select(rows: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """The rows whose columns have these values.

    Args:
        rows: any frame; where it has the settings of runs, `lr` is their `optimizer.lr`.
        wanted: column → value, or a collection of those that will do; None: any. Floats are the same up to their last
            bits.

    Example:
        >>> select(pd.DataFrame({"arm": ["batch", "l1"], "lr": [0.1, 0.1]}), arm="l1", lr=0.1)["arm"].tolist()
        ['l1']
    """
    keep = np.ones(len(rows), dtype=bool)
    for name, value in wanted.items():
        if value is None:
            continue
        column = rows["optimizer.lr" if name == "lr" and "optimizer.lr" in rows else name]
        values = list(value) if isinstance(value, list | tuple | set) else [value]
        if any(isinstance(one, float) for one in values):
            keep &= np.isclose(column.to_numpy(dtype=float)[:, None], values, atol=0).any(axis=1)
        elif len(values) == 1:
            keep &= (column == values[0]).to_numpy(dtype=bool, na_value=False)
        else:
            keep &= column.isin(values).to_numpy(dtype=bool)
    return rows[keep]
