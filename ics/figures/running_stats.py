"""What running statistics are for: answers by them and by batches of any size, and what their momentum decides."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter

from ics.analysis.load import Runs
from ics.analysis.scales import Scale, split_by_scale
from ics.analysis.seeds import BAND
from ics.figures import style
from ics.figures.catalogue import Figure
from ics.figures.curves import draw_curve, of_scale, step_axis

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
BATCH: dict[str, Any] = {"color": "#9A9A9A", "linewidth": 0.8}


def draw(runs: Runs, folder: Path) -> list[Path]:
    """One figure per scale of the runs there are."""
    settings = runs.settings
    if not {"train_eval_gap", "running_stats"} <= set(runs) or not {"experiment", MOMENTUM} <= set(settings):
        return []
    mine = settings[settings["experiment"] == "running_stats"]
    files: list[Path] = []
    for scale in split_by_scale(mine, sweep=[MOMENTUM]) if len(mine) else ():
        with style.style():
            files += style.save(_figure(runs, scale), folder / f"running_stats_{scale.slug.removesuffix('_mlp')}")
    return files


RUNNING_STATS = Figure("running_stats", "running_stats", HOW_TO_READ, draw)


def _figure(runs: Runs, scale: Scale) -> Canvas:
    gap, statistics = of_scale(scale, runs["train_eval_gap"]), of_scale(scale, runs["running_stats"])
    layer = str(statistics["layer"].iloc[0])
    statistics = statistics[statistics["layer"].astype(str) == layer]
    momenta = sorted(scale.runs[MOMENTUM].unique())
    colours = dict(zip(momenta, colormaps["viridis"](np.linspace(0.0, 0.85, len(momenta))), strict=True))
    last_step = int(scale.runs["steps"].max())

    height = 5.8
    figure = style.new_figure(height)
    grid = figure.add_gridspec(
        2, 2, wspace=0.2, hspace=0.42, left=0.075, right=0.985, bottom=1.2 / height, top=1 - 0.75 / height
    )
    by_size, lag, variance, distance = (figure.add_subplot(grid[i // 2, i % 2]) for i in range(4))
    _errors(by_size, gap[gap["step"] >= LATE * last_step], colours)
    lag.set_title("(b) loss by running statistics − loss by the batch's")
    lag.axhline(0, **style.IDEAL)
    difference = _difference(gap)
    variance.set_title(f"(c) running variance, {layer}")
    distance.set_title(f"(d) distance of the running means, {layer}")
    for momentum, colour in colours.items():
        own = statistics[statistics[MOMENTUM] == momentum]
        draw_curve(lag, difference[difference[MOMENTUM] == momentum], "difference", colour)
        draw_curve(variance, own, "running_var_mean", colour)
        draw_curve(distance, own, "mean_distance", colour)
    for axes in (lag, variance, distance):
        step_axis(axes, last_step, labelled=True)
    _words(figure, scale, colours)
    return figure


def _errors(axes: Axes, late: pd.DataFrame, colours: dict[float, Any]) -> None:
    """Mean over the late steps, median and full range over the seeds, against the size of the pieces."""
    axes.set_title("(a) error (%) by batch size, second half of the run")
    late = late.assign(error=100 * (1 - late["accuracy"]))
    # The weights do not depend on the momentum, nor do the batches' statistics: one momentum stands for all.
    batch = late[(late["statistics"].astype(str) == "batch") & (late[MOMENTUM] == min(colours))]
    sizes = _over_seeds(batch, "batch_size")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.fill_between(sizes.index, sizes["min"], sizes["max"], color=BATCH["color"], **style.BAND)
    axes.plot(sizes.index, sizes["median"], marker="o", markersize=3, **BATCH)
    running = _over_seeds(late[late["statistics"].astype(str) == "running"], MOMENTUM)
    for momentum, colour in colours.items():
        axes.axhline(float(running["median"].loc[momentum]), color=colour, linewidth=0.9)
    axes.xaxis.set_major_locator(FixedLocator(list(sizes.index)))
    axes.yaxis.set_major_locator(FixedLocator([0.5, 1, 2, 5, 10, 20, 50, 100]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.minorticks_off()
    axes.set_xlabel("samples normalised together")


def _over_seeds(rows: pd.DataFrame, by: str) -> pd.DataFrame:
    """Median and full range over the runs of their mean error."""
    return rows.groupby(["run", by], observed=True)["error"].mean().groupby(by).agg(["median", "min", "max"])


def _difference(gap: pd.DataFrame) -> pd.DataFrame:
    """Loss by running statistics minus loss by those of the whole batch, one row per run and step."""
    running = gap[gap["statistics"].astype(str) == "running"]
    whole = gap[(gap["statistics"].astype(str) == "batch") & (gap["batch_size"] == running["batch_size"].max())]
    merged = running.merge(whole[["run", "step", "loss"]], on=["run", "step"], suffixes=("", "_batch"))
    return merged.assign(difference=merged["loss"] - merged["loss_batch"])


def _words(figure: Canvas, scale: Scale, colours: dict[float, Any]) -> None:
    height = figure.get_size_inches()[1]
    seeds = scale.runs["seed"].nunique()
    title = f"What running statistics are for. {scale.title}, {seeds} seed{'s' if seeds > 1 else ''}"
    style.add_title(figure, title)
    handles = [Line2D([], [], label="statistics of the batch", marker="o", markersize=3, **BATCH)]
    handles += [
        Line2D([], [], color=colour, linewidth=1.6, label=f"running, {momentum:g}")
        for momentum, colour in colours.items()
    ]
    place = (0.005, 1 - 0.27 / height)
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=place, ncols=5, columnspacing=1.4)
    notes = f"{HOW_TO_READ} Lines: median over seeds; {BAND}."
    style.add_notes(figure, notes)
