"""What running statistics are for: answers by them and by batches of any size, and what their momentum decides."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from ics.figures import style
from ics.figures.axes import plain_ticks, step_axis
from ics.figures.catalogue import Figure
from ics.figures.curves import draw_curves
from ics.figures.panels import SEEDS
from ics.figures.runs import OfExperiment, ScaleRuns
from ics.figures.sheet import Sheet, handle

MOMENTUM = "norm.momentum"
LATE = 0.5
"""(a) averages over the steps after this share of the run."""

HOW_TO_READ = (
    "How to read: every batch is answered before it is trained on, with the same weights: by running statistics "
    "(evaluation mode) of four momenta, and by the statistics of pieces of the batch (training mode). (a) Small pieces "
    "have poor statistics; a single sample has none, and the answer is a guess. (b) Loss by running statistics minus "
    "loss by the whole batch's. Momentum is the fraction of the running value that a batch replaces: where it is small "
    "the running value lags behind at first, where it is 1 it is the last batch's alone. (c) The running variance, "
    "mean over channels; at momentum 1 the batch's. (d) Distance of the running means from the batch's, root mean "
    "square over channels."
)
BATCH: dict[str, Any] = {"color": "#9A9A9A", "linewidth": 0.8, "marker": "o", "markersize": 3}


def _figure(runs: ScaleRuns) -> Sheet:
    gap, statistics = runs.table("train_eval_gap"), runs.table("running_stats")
    layer = statistics["layer"].iloc[0]
    statistics = statistics[statistics["layer"] == layer]
    momenta = sorted(runs.scale.runs[MOMENTUM].unique())
    colours = dict(zip(momenta, sns.color_palette("viridis", len(momenta)), strict=True))
    seeds = runs.scale.runs["seed"].nunique()
    running = [handle(f"running, {momentum:g}", color=colours[momentum], linewidth=1.6) for momentum in momenta]
    sheet = Sheet(
        f"What running statistics are for. {runs.scale.title}, {seeds} seed{'s' if seeds > 1 else ''}",
        [[handle("statistics of the batch", **BATCH), *running]],
        f"{HOW_TO_READ} {SEEDS}",
        body=3.85,
    )
    grid = sheet.grid(2, 2, wspace=0.2, hspace=0.42, left=0.075, right=0.985)
    _errors(sheet.add_subplot(grid[0, 0]), gap[gap["step"] >= LATE * runs.last_step], colours)
    for place, rows, column, title in (
        (grid[0, 1], _difference(gap), "difference", "(b) loss by running statistics − loss by the batch's"),
        (grid[1, 0], statistics, "running_var_mean", f"(c) running variance, {layer}"),
        (grid[1, 1], statistics, "mean_distance", f"(d) distance of the running means, {layer}"),
    ):
        axes = sheet.add_subplot(place, title=title)
        if column == "difference":
            axes.axhline(0, **style.IDEAL)
        draw_curves(axes, rows, column, MOMENTUM, colours)
        step_axis(axes, runs.last_step, labelled=True)
        axes.set_ylabel("")
    return sheet


def _errors(axes: Axes, late: pd.DataFrame, colours: Mapping[float, Any]) -> None:
    """Mean over the late steps, median and full range over the seeds, against the size of the pieces."""
    late = late.assign(error=100 * (1 - late["accuracy"]))
    # The weights do not depend on the momentum, nor do the batches' statistics: one momentum stands for all.
    batch = late[(late["statistics"] == "batch") & (late[MOMENTUM] == min(colours))]
    sizes = _over_seeds(batch, "batch_size")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.fill_between(sizes.index, sizes["min"], sizes["max"], color=BATCH["color"], **style.BAND)
    axes.plot(sizes.index, sizes["median"], **BATCH)
    running = _over_seeds(late[late["statistics"] == "running"], MOMENTUM)
    for momentum, colour in colours.items():
        axes.axhline(running["median"].loc[momentum], color=colour, linewidth=0.9)
    plain_ticks(axes.xaxis, list(sizes.index))
    axes.set(title="(a) error (%) by batch size, second half of the run", xlabel="samples normalised together")


def _over_seeds(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """Median and full range over the runs of their mean error."""
    return rows.groupby(["run", by], observed=True)["error"].mean().groupby(by).agg(["median", "min", "max"])


def _difference(gap: pd.DataFrame) -> pd.DataFrame:
    """Loss by running statistics minus loss by those of the whole batch, one row per run and step."""
    running = gap[gap["statistics"] == "running"]
    whole = gap[(gap["statistics"] == "batch") & (gap["batch_size"] == running["batch_size"].max())]
    merged = running.merge(whole[["run", "step", "loss"]], on=["run", "step"], suffixes=("", "_batch"))
    return merged.assign(difference=merged["loss"] - merged["loss_batch"])


RUNNING_STATS = Figure(
    "running_stats",
    "running_stats",
    OfExperiment("running_stats", ("train_eval_gap", "running_stats"), (MOMENTUM,)),
    _figure,
)
