"""Panels of activation histograms: rows of layers, columns of arms."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas
from matplotlib.gridspec import GridSpecBase

from ics.figures import style
from ics.figures.figure_runs import FigureRuns
from ics.figures.ridgeline import draw_ridges
from ics.figures.sheet import row_label

READ = (
    "Each ridge is the distribution of all of a layer's activations in one training batch, before the non-linearity, "
    "the seeds pooled; time runs downwards, light to dark, and every ridge is drawn to the same height. Mind the "
    "horizontal axes: every panel has its own, in units of the activation."
)


def draw_histograms(
    figure: Canvas, grid: GridSpecBase, runs: FigureRuns, papers: Sequence[int], rate: float, label_x: float
) -> None:
    """All panels: one row per layer of the paper, one column per arm.

    Args:
        figure: on which.
        grid: with at least so many rows and columns.
        runs: with their arms.
        papers: the paper's layer numbers.
        rate: learning rate.
        label_x: where the layers' names stand, as a share of the sheet's width.
    """
    rows = histogram_rows(runs, rate)
    layers = runs.layers(papers, rows, "layer_index")
    for i, (number, ours) in enumerate(layers.items()):
        for j, arm in enumerate(runs.arms):
            axes = figure.add_subplot(grid[i, j])
            own = rows[(rows["layer_index"] == ours) & (rows["arm"] == arm)]
            if len(own):
                draw_ridges(axes, own, style.ARMS[arm].colour, labelled=j == 0)
            if i == 0:
                label = style.ARMS[arm].label
                axes.set_title(label.replace(" ", "\n", 1) if len(runs.arms) == 4 else label, fontsize=7.5)
            if j == 0:
                name = f"Layer #{ours}" if number == ours else f"Layer #{ours} (paper: #{number})"
                row_label(axes, f"{name}, step", x=label_x)
            if i == len(layers) - 1:
                axes.set_xlabel("activation")


def histogram_rows(runs: FigureRuns, rate: float) -> pd.DataFrame:
    """The rows of the table `histogram` about all units together, with the column arm."""
    table = runs.runs["histogram"]
    mine = table["run"].isin(runs.scale.runs["run"]) & np.isclose(table["optimizer.lr"], rate, atol=0)
    rows = table.loc[mine & (table["unit"] == -1), ["run", "step", "layer_index", "low", "high", "count", "arm"]]
    return rows.assign(arm=rows["arm"].astype(str))
