"""Sensitivity to the initial weights: a 4×4 grid of training accuracy, and the same grid of the covariate shift."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator

from ics.analysis.load import Runs
from ics.analysis.scales import Scale, split_by_scale
from ics.analysis.seeds import BAND
from ics.figures import style
from ics.figures.catalogue import Figure
from ics.figures.curves import arms_of, draw_curve, of_scale, seeds_of, step_axis

STD = "model.init.std"
COLUMNS = 4
RANGE = (1e-6, 1e3)
"""Of the shift's axis: dead networks' gradients go down to 1e-20 and on to 0, exploding ones up to 1e9."""

HOW_TO_READ = (
    "How to read: each panel is one standard deviation of the Gaussian initial weights, from large to small. A network "
    "that is insensitive to it looks the same in all panels."
)
HOW_TO_READ_SHIFT = (
    "‖G − G′‖₂ is how far a layer's gradient moves when the earlier layers are updated. It is smallest where nothing "
    "is learned, because no gradient arrives: little shift is no sign of good training."
)

Panel = Callable[[Axes, float], None]


def draw(runs: Runs, folder: Path) -> list[Path]:
    """Two figures per scale of the runs there are."""
    settings = runs.settings
    if not {"evaluation", "shift"} <= set(runs) or not {"experiment", STD} <= set(settings):
        return []
    mine = settings[settings["experiment"] == "init_scale"]
    files: list[Path] = []
    for scale in split_by_scale(mine, sweep=[STD]) if len(mine) else ():
        slug = scale.slug.removesuffix("_mlp")
        with style.style():
            files += style.save(_accuracy(runs, scale), folder / f"init_scale_{slug}")
            files += style.save(_shift(runs, scale), folder / f"init_scale_shift_{slug}")
    return files


INIT_SCALE = Figure("init_scale", "init_scale", HOW_TO_READ, draw)


def _accuracy(runs: Runs, scale: Scale) -> Canvas:
    rows = of_scale(scale, runs["evaluation"])
    rows = rows[rows["split"].astype(str) == "train"]
    rows = rows.assign(accuracy=100 * rows["accuracy"])

    def panel(axes: Axes, std: float) -> None:
        axes.set_ylim(0, 105)
        _arms(axes, rows[rows[STD] == std], "accuracy", scale)

    notes = f"{HOW_TO_READ} A cross: the loss was not finite any more. Accuracy: in evaluation mode."
    return _grid(scale, panel, "accuracy (%)", "Training accuracy", notes, crosses=True)


def _shift(runs: Runs, scale: Scale) -> Canvas:
    rows = of_scale(scale, runs["shift"])
    indices = sorted(rows["layer_index"].unique())
    middle = indices[len(indices) // 2]
    rows = rows[rows["layer_index"] == middle]
    name = f"Layer #{middle}, {rows['layer'].iloc[0]}"

    def panel(axes: Axes, std: float) -> None:
        own = rows[rows[STD] == std]
        axes.set_yscale("log")
        axes.set_ylim(*RANGE)
        axes.yaxis.set_major_locator(LogLocator(numticks=4))
        axes.minorticks_off()
        _arms(axes, own, "l2", scale)
        _off_range(axes, own)

    return _grid(scale, panel, "‖G − G′‖₂", f"Covariate shift of {name}", f"{HOW_TO_READ} {HOW_TO_READ_SHIFT}")


def _arms(axes: Axes, rows: pd.DataFrame, column: str, scale: Scale) -> None:
    for arm in arms_of(scale):
        draw_curve(axes, rows[rows["arm"] == arm], column, style.ARMS[arm].colour, **_line(arm))


def _line(arm: str) -> dict[str, Any]:
    """Solid with a norm, dashed without, as in the textbook."""
    return {"linestyle": (0, (3, 1.2)) if arm == "standard" else "-", "linewidth": 1.2}


def _off_range(axes: Axes, rows: pd.DataFrame) -> None:
    """Says where a curve is that lies outside the axis altogether."""
    for arm, own in rows.groupby("arm", observed=True):
        low, high = own["l2"].min(), own["l2"].max()
        if RANGE[0] <= high and low <= RANGE[1]:
            continue
        text = f"above {_power(low)}" if low > RANGE[1] else f"below {_power(high)}" if high > 0 else "0"
        place = 0.86 if low > RANGE[1] else 0.26
        label, colour = style.ARMS[str(arm)].label, style.ARMS[str(arm)].colour
        axes.text(0.03, place, f"{label}: {text}", transform=axes.transAxes, color=colour, fontsize=6.5)


def _power(value: float) -> str:
    """The next power of ten towards 1."""
    return f"1e{math.ceil(math.log10(value)) if value < 1 else math.floor(math.log10(value))}"


def _grid(scale: Scale, panel: Panel, label: str, title: str, notes: str, crosses: bool = False) -> Canvas:
    """One panel per standard deviation, largest first, all on the same axes."""
    stds = sorted(scale.runs[STD].unique(), reverse=True)
    lines = -(-len(stds) // COLUMNS)
    height = 1.75 + 1.25 * lines
    figure = style.new_figure(height)
    grid = figure.add_gridspec(
        lines, COLUMNS, wspace=0.13, hspace=0.3, left=0.085, right=0.985, bottom=1 / height, top=1 - 0.75 / height
    )
    last_step = int(scale.runs["steps"].max())
    for i, std in enumerate(stds):
        axes = figure.add_subplot(grid[i // COLUMNS, i % COLUMNS])
        panel(axes, std)
        axes.set_title(f"std {std:.2g}", pad=2)
        step_axis(axes, last_step, labelled=i + COLUMNS >= len(stds))
        if i % COLUMNS:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel(label)
            axes.yaxis.set_label_coords(-0.24, 0.5)
    images = f", {int(scale.runs['data.limit'].iloc[0]):,} images" if "data.limit" in scale.runs else ""
    heading = f"{title} by initial weights. {scale.title}{images}"
    style.add_title(figure, heading)
    handles = [
        Line2D([], [], color=style.ARMS[arm].colour, label=seeds_of(scale.runs, arm), **_line(arm))
        for arm in arms_of(scale)
    ]
    if crosses and (scale.runs["status"] == "diverged").any():
        handles.append(Line2D([], [], color="#444444", label="diverged here", **style.DIVERGED))
    place = (0.005, 1 - 0.27 / height)
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=place, ncols=4, columnspacing=1.6)
    style.add_notes(figure, f"{notes} Lines: median over seeds; {BAND}.")
    return figure
