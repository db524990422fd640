"""The distance table in Markdown: a line for every curve, a column for every window."""

from typing import Any

import pandas as pd

from ics.analysis.markdown import number, table
from ics.analysis.windows import WINDOWS

HEAD = """# Distance to the paper's curves

A line for each digitised curve that our runs have a counterpart of, scale by scale. Sizes (shift, loss, β) are
compared by their ratio, ours over the paper's (×1 is the same); accuracies (points), cosines and changes of activations
by their difference, ours minus the paper's. In brackets: the share of the paper's points that lie inside the band over
our seeds. Each number compares medians over the same steps. The paper shows one run of each network.
"""

_FACTOR = "times {:g}: the paper's axis has no numbers, only the course is compared"


def to_markdown(distances: pd.DataFrame) -> str:
    """The report.

    Args:
        distances: from `paper_distance`.
    """
    parts = [HEAD]
    for title, scale in distances.groupby("scale_title", sort=False):
        parts.append(f"\n## {title}\n")
        for model, rows in scale.groupby("model", sort=False):
            windows = [w.name for w in WINDOWS[str(model)] if w.name in set(rows["window"])]
            parts += ["\n", table(header(windows), lines(rows, windows))]
    return "".join(parts)


def header(windows: list[str]) -> list[str]:
    """The names of the columns of `lines`."""
    return ["figure", "quantity", "learning rate", "layer", "network", *windows, "seeds", "note"]


def lines(rows: pd.DataFrame, windows: list[str]) -> list[list[str]]:
    """A line for each curve of one network at one scale.

    Args:
        rows: of `paper_distance`.
        windows: names of the windows that have a column.
    """
    found = []
    series = ["figure", "quantity", "lr", "layer", "arm", "edge"]
    for _, own in rows.groupby(series, dropna=False, sort=False):
        row = own.iloc[0]
        cells = {w: _cell(r) for w, r in zip(own["window"], own.to_dict("records"), strict=True)}
        layer = "" if pd.isna(row["layer"]) else f"#{row['layer']}"
        if layer and row["our_layer"] != row["layer"]:
            layer += f" (ours #{row['our_layer']})"
        notes = [str(row["note"])] if row["note"] else []
        if row["common_factor"] != 1:
            notes.append(_FACTOR.format(row["common_factor"]))
        edge = "" if row["edge"] == "value" else f", {row['edge']}"
        found.append(
            [
                str(row["figure"]),
                f"{row['quantity']}{edge}",
                f"{row['lr']:g}",
                layer,
                str(row["arm"]),
                *(cells.get(window, "–") for window in windows),
                str(own["seeds"].max()),
                "; ".join(notes),
            ]
        )
    return found


def _cell(row: dict[Any, Any]) -> str:
    distance = float(row["distance"])
    if row["measure"] == "log10 ratio":
        text = f"×{number(10**distance, 2)}"
    else:
        text = ("+" if distance > 0 else "") + number(distance, 2)
    inside = float(row["share_inside"])
    return text if pd.isna(inside) else f"{text} ({inside:.0%})"
