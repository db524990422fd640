"""The paper's own curves, digitised from its figures; `results/paper/README.md` says how, and the units."""

from pathlib import Path

import pandas as pd

from ics.errors import UserError

FIGURES_CSV = Path(__file__).parents[2] / "results" / "paper" / "figures.csv"

# The paper's name of an arm -> the project's.
ARMS = {
    "standard": "standard",
    "batch_norm": "batch",
    "noisy_batch_norm": "noisy_batch",
    "l1_norm": "l1",
    "l2_norm": "l2",
    "linf_norm": "linf",
}

_DTYPES = {
    "figure": "str",
    "model": "str",
    "lr": "float64",
    "layer": "Int64",
    "arm": "str",
    "quantity": "str",
    "step": "int64",
    "value": "float64",
    "low": "float64",
    "high": "float64",
    "axis_labelled": "int64",
}


def paper_curves(
    figure: str | None = None,
    *,
    quantity: str | None = None,
    lr: float | None = None,
    layer: int | None = None,
    path: str | Path = FIGURES_CSV,
) -> pd.DataFrame:
    """The digitised points of the paper's figures.

    Args:
        figure: a panel ("3a") or a whole figure ("3"); all by default.
        quantity: only this one, such as "ics_l2" or "train_accuracy_percent".
        lr: only this learning rate.
        layer: only this layer, as the paper counts.
        path: the CSV file.

    Returns:
        A frame with the columns figure, model ("vgg", "dln"), lr, layer, arm (the project's names), quantity,
        step, value (or low and high, where the paper shows a range), axis_labelled (False: the paper's axis
        has no numbers, so the values are known only up to a common power of ten). Accuracies are in per cent.

    Raises:
        UserError: the file is missing or is not the one described here, or the paper has no such figure.
    """
    path = Path(path)
    try:
        frame = pd.read_csv(path, dtype=_DTYPES)
    except FileNotFoundError:
        raise UserError(
            f"{path}: the paper's digitised curves are missing; they are part of the project's repository "
            "(install it from a checkout with pip install -e .)"
        ) from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path}: cannot be read as the paper's digitised curves ({error})") from None
    unknown = sorted(set(frame.get("arm", [])) - set(ARMS))
    if list(frame.columns) != list(_DTYPES) or unknown:
        what = f"unknown arm {unknown[0]!r}" if unknown else f"the columns should be {', '.join(_DTYPES)}"
        raise UserError(f"{path}: not the paper's digitised curves ({what})")
    frame = frame.assign(arm=frame["arm"].map(ARMS), axis_labelled=frame["axis_labelled"] == 1)
    if figure is not None:
        number = frame["figure"].str.rstrip("abcdefgh")
        if figure not in set(frame["figure"]) | set(number):
            raise UserError(
                f"no digitised curves of figure {figure!r}; there are {', '.join(frame['figure'].unique())}"
            )
        frame = frame[(frame["figure"] == figure) | (number == figure)]
    for column, wanted in (("quantity", quantity), ("lr", lr), ("layer", layer)):
        if wanted is not None:
            frame = frame[(frame[column] == wanted).fillna(False)]
    return frame.reset_index(drop=True)
