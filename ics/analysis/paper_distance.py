"""How far our runs are from the paper's curves: curve by curve, in windows of steps, scale by scale."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ics.analysis.load import Runs
from ics.analysis.measured import QUANTITIES, Measured, Unit, measured_by
from ics.analysis.paper import MODELS, SERIES, all_paper_points
from ics.analysis.seeds import band

COLUMNS = {
    "scale": "short name of our runs' scale; different scales are never mixed",
    "scale_title": "the same in words",
    **{name: f"of the paper's curve: its {name}" for name in SERIES},
    "our_layer": "the layer of ours that stands for it: the same number, or else the nearest in relative depth",
    "edge": "value; of a range: low, high, or width (high - low)",
    "window": "steps, the last one excluded; 'all': as far as both go",
    "points": "the paper's points in the window, up to our last step",
    "seeds": "our runs",
    "paper": "median of the paper's points in the window, times common_factor",
    "ours": "median over the seeds of each seed's median at the same steps",
    "measure": "log10 ratio: log10(ours / paper); difference: ours - paper",
    "distance": "median over the seeds",
    "distance_low": "smallest over the seeds",
    "distance_high": "largest over the seeds",
    "papers_spread": "how far apart the paper's own curves of it in several figures are, by the same measure: 0 where "
    "they are one run; empty where it shows one curve",
    "share_inside": "share of the paper's points inside the band over our seeds; none with one seed",
    "common_factor": "1; where the paper's axis has no numbers: the power of ten that brings the panel's curves, all "
    "together, nearest to ours, so that the distance says nothing about their absolute size",
    "note": "what keeps the two from being the same thing",
    "number": "of the paper's figure, without the panel's letter",
}

ALL = "all"
WINDOWS = {
    "vgg": {
        "step 0": (0, 1),
        "100–1k": (100, 1_000),
        "1k–3k": (1_000, 3_000),
        "3k–5k": (3_000, 5_000),
        "5k–10k": (5_000, 10_000),
        "10k–15k": (10_000, 15_001),
        ALL: (0, 2**62),
    },
    "dln": {
        "step 0": (0, 1),
        "50–500": (50, 500),
        "500–2k": (500, 2_000),
        "2k–5k": (2_000, 5_000),
        "5k–10k": (5_000, 10_001),
        ALL: (0, 2**62),
    },
}
"""The paper's name of a model -> stretches of steps, each summed up by one number: first ≤ step < end."""

PENALTY = "the paper's loss contains an l2 penalty (about 2 at step 0), ours does not; compare the width"


def paper_distance(runs: Runs) -> pd.DataFrame:
    """The distance table.

    Every digitised curve is compared with our runs of the same model family, learning rate, arm and layer: the
    quantities of size (shift, loss, beta) by their ratio, accuracies, cosines and changes of activations by their
    difference.

    Args:
        runs: ours.

    Returns:
        A frame with the columns of `COLUMNS`; no rows where nothing matches.

    Raises:
        UserError: the runs cannot be compared, or the curves cannot be read.
    """
    points = all_paper_points()
    of_table = points["quantity"].map({name: quantity.table for name, quantity in QUANTITIES.items()})
    records = [
        {"scale": measured.scale.slug, "scale_title": measured.scale.title} | record
        for papers_model, model in MODELS.items()
        for table in sorted(of_table[points["model"] == papers_model].unique())
        for measured in measured_by(runs, model, table)
        for record in distances_of(measured, points[(points["model"] == papers_model) & (of_table == table)])
    ]
    table = distance_frame(records)
    first = {figure: number for number, figure in enumerate(points["figure"].unique())}
    return table.sort_values(
        ["scale", "figure"], key=lambda column: column.map(first) if column.name == "figure" else column, kind="stable"
    ).reset_index(drop=True)


def distance_frame(records: list[dict[str, Any]]) -> pd.DataFrame:
    """Records of `distances_of`, each with its scale, as a frame with the columns of `COLUMNS`."""
    table = pd.DataFrame(records, columns=list(COLUMNS)).astype({"layer": "Int64", "our_layer": "Int64"})
    table["papers_spread"] = _papers_spread(table)
    return table


def distances_of(measured: Measured, points: pd.DataFrame) -> Iterator[dict[str, Any]]:
    """The records of one scale: its curves beside the paper's `points`, window by window."""
    panel = ["figure", "quantity", "lr", "layer"]
    for (figure, name, _, _), curves in points.groupby(panel, dropna=False, sort=False):
        quantity, all_ours = QUANTITIES[str(name)], measured.curve(str(name))
        shown = points.loc[(points["figure"] == figure) & (points["quantity"] == name), "layer"].dropna()
        wanted = sorted(shown.unique()) if len(all_ours) else []
        layers = measured.scale.layers(wanted, all_ours) if wanted else {}
        pairs: list[tuple[dict[str, Any], pd.DataFrame, pd.DataFrame]] = []
        for key, theirs in curves.groupby(SERIES, dropna=False, sort=False):
            series: dict[str, Any] = dict(zip(SERIES, key, strict=True))
            own, layer = measured.of(str(name), series["arm"], series["lr"]), layers.get(series["layer"])
            own = own[own["layer"] == layer] if quantity.per_layer else own
            if len(own):
                pairs.append((series | {"our_layer": pd.NA if layer is None else layer}, theirs, own))
        factor = 1.0 if curves["axis_labelled"].all() else _common_factor([pair[1:] for pair in pairs])
        for series, theirs, own in pairs:
            series |= {"common_factor": factor, "number": theirs["number"].iloc[0]}
            edges = ["low", "high"] if "low" in own else ["value"]
            lacks = name == "loss_range" and measured.scale.lacks_penalty
            if name == "loss_range":
                edges.append("width")
                theirs, own = (rows.assign(width=rows["high"] - rows["low"]) for rows in (theirs, own))
            for row in _in_windows(theirs, own, edges, quantity.log, factor, series["model"]):
                yield series | {"note": PENALTY if lacks else ""} | row


def _papers_spread(table: pd.DataFrame) -> pd.Series:
    """Between the figures of the paper that show the same network: some show one run, others another."""
    same = ["scale", *(name for name in SERIES if name != "figure"), "edge", "window"]
    papers = table.groupby(same, dropna=False)["paper"]
    low, high = papers.transform("min"), papers.transform("max")
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.where(table["measure"] == Unit.RATIO, np.log10(high / low), high - low)
    return pd.Series(spread, index=table.index).where(papers.transform("count") > 1)


def _common_factor(pairs: list[tuple[pd.DataFrame, pd.DataFrame]]) -> float:
    """The power of ten that brings several of the paper's curves nearest to ours."""
    ratios = []
    for theirs, ours in pairs:
        middle = pd.DataFrame(_at(theirs["step"], ours, "value")).median(axis=1).to_numpy()
        ratios.append(np.log10(middle / theirs["value"].to_numpy()))
    return float(10.0 ** np.round(np.nanmedian(np.concatenate(ratios)))) if ratios else 1.0


def _in_windows(
    theirs: pd.DataFrame, ours: pd.DataFrame, edges: list[str], log: bool, factor: float, model: str
) -> Iterator[dict[str, Any]]:
    theirs = theirs[theirs["step"] <= ours["step"].max()]
    steps = theirs["step"].to_numpy()
    for edge in edges:
        values, papers = _at(theirs["step"], ours, edge), theirs[edge].to_numpy() * factor
        low, high = band(values)
        inside = (low <= papers) & (papers <= high)
        for window, (first, end) in WINDOWS[model].items():
            at = (steps >= first) & (steps < end)
            measured = values[at][:, np.isfinite(values[at]).any(axis=0)]
            if not measured.size:
                continue
            of_seeds = np.nanmedian(measured, axis=0)
            paper = float(np.median(papers[at]))
            with np.errstate(divide="ignore", invalid="ignore"):
                distance = np.log10(of_seeds / paper) if log else of_seeds - paper
            yield {
                "edge": edge,
                "window": window,
                "points": int(at.sum()),
                "seeds": len(of_seeds),
                "paper": paper,
                "ours": float(np.median(of_seeds)),
                "measure": str(Unit.RATIO) if log else "difference",
                "distance": float(np.median(distance)),
                "distance_low": float(distance.min()),
                "distance_high": float(distance.max()),
                "share_inside": float(inside[at].mean()) if len(of_seeds) > 1 else np.nan,
            }


def _at(steps: pd.Series, rows: pd.DataFrame, column: str) -> NDArray[np.float64]:
    """Our values at certain steps, one column per run: as measured, between two measured steps on a straight line."""
    wanted = steps.to_numpy()
    all_steps, all_values = rows["step"].to_numpy(), rows[column].to_numpy(dtype=float)
    columns = []
    for mine in rows.groupby("run", observed=True).indices.values():
        have, values = all_steps[mine], all_values[mine]
        finite = np.isfinite(values)
        between = np.interp(wanted, have[finite], values[finite], right=np.nan) if finite.any() else np.nan
        at = np.searchsorted(have, wanted).clip(max=len(have) - 1)
        columns.append(np.where(have[at] == wanted, values[at], between))
    return np.column_stack(columns)
