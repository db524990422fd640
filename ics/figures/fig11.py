"""Figure 11: how far the gradient changes on the way along it, at many steps of a training."""

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.ticker import FuncFormatter

from ics.analysis.load import Runs
from ics.figures import style
from ics.figures.catalogue import Figure
from ics.figures.figure_runs import FigureRuns, find
from ics.figures.sheet import Sheet

ARMS = ("standard", "batch")
RATE = 0.1
COLOURS = ListedColormap(mpl.colormaps["viridis"](np.linspace(0, 0.88, 256)))  # its last yellows are lost on white
LINES = 50
"""At most so many steps are shown, evenly spread."""

HOW_TO_READ = (
    "How to read: a line is one step of the training; it shows how far the gradient at a distance along −g is from the "
    "gradient g at the start, the median over seeds, coloured by the step. The lower and flatter a line, the better g "
    "predicts the gradient nearby. The horizontal axis is the step length η in learning rates."
)


def draw(runs: Runs, folder: Path) -> list[Path]:
    """One figure per scale of the runs there are."""
    files: list[Path] = []
    for found in find(runs, "11", "vgg", ("training", "landscape"), ARMS, (RATE,), ARMS):
        with style.style():
            files += style.save(_figure(found).figure, folder / f"fig11_{found.scale.slug}")
    return files


FIG11 = Figure("fig11", "fig4", HOW_TO_READ, draw, "scale=cpu")


def _figure(runs: FigureRuns) -> Sheet:
    title = f"Figure 11. {runs.scale.title}, lr {style.number(RATE)}"
    sheet = Sheet(title, [], HOW_TO_READ, body=2.5, above=0.35)
    grid = sheet.grid(1, len(runs.arms) + 1, width_ratios=[*[1] * len(runs.arms), 0.03], wspace=0.12, right=0.92)
    norm = Normalize(0, runs.last_step)
    panels: list[Axes] = []
    for j, arm in enumerate(runs.arms):
        axes = sheet.figure.add_subplot(grid[0, j], **({"sharey": panels[0]} if panels else {}))
        lines = gradient_distances(runs, arm)
        for step, line in lines.groupby("step"):
            axes.plot(line["factor"], line["gradient_distance"], color=COLOURS(norm(float(str(step)))), linewidth=0.7)
        axes.set_title(runs.label(arm))
        axes.set_xlabel("step length η / learning rate")
        axes.set_xticks(sorted(lines["factor"].unique()))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda factor, _: f"{factor:g}"))
        axes.tick_params(labelleft=not panels)
        panels.append(axes)
    panels[0].set_yscale("log")
    panels[0].set_ylabel("‖∇L(θ − ηg) − g‖₂")
    bar = sheet.figure.add_subplot(grid[0, len(runs.arms)])
    bar.grid(visible=False)
    colours = sheet.figure.colorbar(ScalarMappable(norm, COLOURS), cax=bar)
    colours.set_label("training step")
    colours.ax.yaxis.set_major_formatter(FuncFormatter(lambda step, _: f"{step:,.0f}"))
    colours.outline.set_linewidth(0.4)
    return sheet


def gradient_distances(runs: FigureRuns, arm: str) -> pd.DataFrame:
    """The median over seeds of the distance of gradients, for at most `LINES` steps and every step length."""
    table: Any = runs.runs["landscape"]
    rows = table[
        table["run"].isin(runs.scale.runs["run"])
        & np.isclose(table["optimizer.lr"], RATE, atol=0)
        & (table["arm"] == arm)
        & (table["direction"].astype(str) == "gradient")
    ]
    steps = np.unique(rows["step"])
    chosen = steps[np.unique(np.linspace(0, len(steps) - 1, min(LINES, len(steps))).round().astype(int))]
    rows = rows[rows["step"].isin(chosen) & np.isfinite(rows["gradient_distance"])]
    medians: pd.DataFrame = rows.groupby(["step", "factor"], as_index=False)["gradient_distance"].median()
    return medians
