"""The paper's own curves, digitised from its figures; `paper_data/README.md` says how, and the units."""

from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from ics.analysis.select import select
from ics.errors import UserError

# The paper's name of an arm -> the project's.
ARMS = {
    "standard": "standard",
    "batch_norm": "batch",
    "noisy_batch_norm": "noisy_batch",
    "l1_norm": "l1",
    "l2_norm": "l2",
    "linf_norm": "linf",
}

# The paper's name of a model -> the project's.
MODELS = {"vgg": "vgg", "dln": "deep_linear"}
PAPERS_NAME = {ours: papers for papers, ours in MODELS.items()}

# One panel of the paper's figures has one curve for each of these.
SERIES = ["figure", "model", "lr", "layer", "arm", "quantity"]

# Steps between two of the paper's points.
CADENCE = {"vgg": 100, "dln": 50}
EVALUATION_CADENCE = 1000

_DTYPES: dict[Any, Any] = dict.fromkeys(("figure", "model", "arm", "quantity"), "str") | {
    "layer": "Int64",
    "step": "int64",
    "axis_labelled": "int64",
}


def paper_curves(
    figure: str | None = None,
    *,
    quantity: str | None = None,
    lr: float | None = None,
    layer: int | None = None,
) -> pd.DataFrame:
    """The digitised points of the paper's figures.

    Args:
        figure: a panel ("3a") or a whole figure ("3"); all by default.
        quantity: only this one, such as "ics_l2" or "train_accuracy_percent".
        lr: only this learning rate.
        layer: only this layer, as the paper counts.

    Returns:
        A frame with the columns figure ("3a"), number (3), model ("vgg", "dln"), lr, layer, arm (the project's names),
        quantity, step, value (or low and high, where the paper shows a range), axis_labelled (False: the paper's axis
        has no numbers, so the values are known only up to a common power of ten). Accuracies are in per cent.

    Raises:
        UserError: the paper has no such figure, or it shows no curves.
    """
    frame = _read()
    if figure is not None:
        mine = (frame["figure"] == figure) | (frame["number"].astype(str) == figure)
        if not mine.any():
            raise UserError(
                f"no digitised curves of figure {figure!r}; there are {', '.join(frame['figure'].unique())}"
            )
        frame = frame[mine]
    return select(frame, quantity=quantity, lr=lr, layer=layer).reset_index(drop=True)


@cache
def _read() -> pd.DataFrame:
    with (files("ics.analysis") / "paper_data" / "figures.csv").open(encoding="utf-8") as file:
        frame = pd.read_csv(file, dtype=_DTYPES)
    number = frame["figure"].str.extract(r"^(\d+)", expand=False).astype("int64")
    return frame.assign(arm=frame["arm"].map(ARMS), axis_labelled=frame["axis_labelled"] == 1, number=number)


def paper_points(curves: pd.DataFrame) -> pd.DataFrame:
    """Rows of `paper_curves` with one row for every step that the paper measured.

    The drawings merge points on a straight stretch into its two ends; here they are read off the stretch again.
    Straight means on the axis of the drawing, which is logarithmic for the shift's norm and the loss.
    """
    parts = [
        _filled(curve, log=str(quantity) in ("ics_l2", "train_loss"))
        for (*_, quantity), curve in curves.groupby(SERIES, dropna=False, sort=False)
    ]
    return pd.concat(parts, ignore_index=True) if parts else curves


@cache
def all_paper_points() -> pd.DataFrame:
    """`paper_points` of all digitised curves, read once; not to be changed."""
    return paper_points(paper_curves())


def _filled(curve: pd.DataFrame, log: bool) -> pd.DataFrame:
    first = curve.iloc[0]
    every = EVALUATION_CADENCE if first["quantity"] == "test_accuracy_percent" else CADENCE[first["model"]]
    have = curve["step"].to_numpy()
    steps = np.union1d(np.arange(have[0], have[-1] + 1, every), have)
    columns = {}
    for name in ("value", "low", "high"):
        values = curve[name].to_numpy()
        columns[name] = np.exp(np.interp(steps, have, np.log(values))) if log else np.interp(steps, have, values)
        known = np.isin(steps, have)
        columns[name][known] = values  # to the bit
    of_series = {name: first[name] for name in (*SERIES, "axis_labelled", "number")}
    return pd.DataFrame({"step": steps, **columns} | of_series)[list(curve.columns)]
