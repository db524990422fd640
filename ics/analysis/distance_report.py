"""The distance table for people: a line for every curve, a column for every window."""

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from ics.analysis.claims.words import rate
from ics.analysis.markdown import number, table
from ics.analysis.measured import QUANTITIES, Unit
from ics.analysis.paper import SERIES
from ics.analysis.paper_distance import ALL, WINDOWS

DIGITISED = 0.02
"""Points, or decades: curves of one run in two figures are that far apart by being digitised."""

ACCURACY = "train_accuracy_percent"
NEAR = (ACCURACY, "ics_l2", "ics_cosine")
PAIR = ("standard", "batch")

HEAD = """# Distance to the paper's curves

A line for each digitised curve that our runs have a counterpart of, scale by scale. Sizes (shift, loss, β) are
compared by their ratio, ours over the paper's (×1 is the same); accuracies (points), cosines and changes of activations
by their difference, ours minus the paper's. In brackets: the share of the paper's points that lie inside the band over
our seeds. Each number compares medians over the same steps. The paper shows one run of each network, and of some a
second one in another figure: how far apart those two are stands there too, as *paper's own*. A distance no larger than
that is no difference.

In short, the root mean square of the distances over all steps, of the standard network's curves and BatchNorm's:
"""


def to_markdown(distances: pd.DataFrame) -> str:
    """The report on `paper_distance`."""
    parts = [HEAD, f"\n{nearness(distances)}"]
    for title, scale in distances.groupby("scale_title", sort=False):
        parts += [f"\n## {title}\n", *(f"\n{table(header, lines)}" for header, lines in curve_tables(scale))]
    return "".join(parts)


def nearness(distances: pd.DataFrame) -> str:
    """How near each scale comes, in one line for every learning rate."""
    mine = distances[(distances["window"] == ALL) & distances["quantity"].isin(NEAR) & distances["arm"].isin(PAIR)]
    lines = []
    for (title, lr), rows in mine.groupby(["scale_title", "lr"], sort=False):
        cells = []
        for name in NEAR:
            own = rows[rows["quantity"] == name]
            cells.append(size(_rms(own["distance"]), own["measure"].iloc[0], "±") if len(own) else "–")
        spread = rows.loc[rows["quantity"] == ACCURACY, "papers_spread"].dropna()
        lines.append([str(title), rate(float(str(lr))), *cells, f"±{number(_rms(spread), 2)}" if len(spread) else "–"])
    labels = [QUANTITIES[name].label for name in NEAR]
    return table(["network", "learning rate", *labels, f"{labels[0]} of the paper's own two runs"], lines)


def _rms(distances: pd.Series) -> float:
    return float((distances**2).mean() ** 0.5)


def curve_tables(scale: pd.DataFrame) -> Iterator[tuple[list[str], list[list[str]]]]:
    """For each of the paper's networks in one scale the names of the columns, and a line for each of its curves."""
    for model, rows in scale.groupby("model", sort=False):
        windows = [window for window in WINDOWS[str(model)] if window in set(rows["window"])]
        header = ["figure", "quantity", "learning rate", "layer", "network", *windows, "seeds", "note"]
        yield header, [_line(own, windows) for _, own in rows.groupby([*SERIES, "edge"], dropna=False, sort=False)]


def size(distance: float, measure: str, direction: str = "") -> str:
    """A distance by its measure; `direction` stands before a difference."""
    return f"×{number(10**distance, 2)}" if measure == Unit.RATIO else direction + number(distance, 2)


def _line(rows: pd.DataFrame, windows: list[str]) -> list[str]:
    first, cells = rows.iloc[0], {row["window"]: _cell(row) for row in rows.to_dict("records")}
    layer = "" if pd.isna(first["layer"]) else f"#{first['layer']}"
    if layer and first["our_layer"] != first["layer"]:
        layer += f" (ours #{first['our_layer']})"
    notes = [str(first["note"])] if first["note"] else []
    if first["common_factor"] != 1:
        notes.append(f"times {first['common_factor']:g}: the paper's axis has no numbers, only the course is compared")
    return [
        str(first["figure"]),
        str(first["quantity"]) + ("" if first["edge"] == "value" else f", {first['edge']}"),
        f"{first['lr']:g}",
        layer,
        str(first["arm"]),
        *(cells.get(window, "–") for window in windows),
        str(rows["seeds"].max()),
        "; ".join(notes),
    ]


def _cell(row: Mapping[Any, Any]) -> str:
    text = size(row["distance"], row["measure"], "+" if row["distance"] > 0 else "")
    said = [] if pd.isna(row["share_inside"]) else [f"{row['share_inside']:.0%}"]
    if row["papers_spread"] > DIGITISED:
        said.append(f"paper's own {size(row['papers_spread'], row['measure'], '±')}")
    return f"{text} ({', '.join(said)})" if said else text
