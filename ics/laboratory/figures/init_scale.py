"""Sensitivity to the initial weights: a 4×4 grid of training accuracy, and the same grid of the covariate shift."""

import math
from collections.abc import Callable, Iterator
from functools import partial

import pandas as pd
from matplotlib.axes import Axes

from ics.analysis.load import Runs
from ics.figures import style
from ics.figures.axes import power_of_ten, step_axis
from ics.figures.catalogue import Figure
from ics.figures.curves import draw_curves
from ics.figures.panels import SEEDS, diverged_handles
from ics.figures.runs import OfExperiment, ScaleRuns
from ics.figures.sheet import Handle, Sheet, handle

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
DASHES: dict[str, tuple[float, ...]] = dict.fromkeys(style.ARMS, ()) | {"standard": (3, 1.2)}
"""Solid with a norm, dashed without, as in the textbook."""


def _accuracy(runs: ScaleRuns) -> Sheet:
    rows = runs.table("evaluation")
    rows = rows[rows["split"] == "train"]
    rows = rows.assign(accuracy=100 * rows["accuracy"])

    def panel(axes: Axes, std: float) -> None:
        axes.set_ylim(0, 105)
        _draw(axes, rows[rows[STD] == std], "accuracy")

    notes = f"{HOW_TO_READ} A cross: the loss was not finite any more. Accuracy: in evaluation mode."
    return _grid(runs, panel, "accuracy (%)", "Training accuracy", notes, diverged_handles(runs))


def _shift(runs: ScaleRuns) -> Sheet:
    rows = runs.table("shift")
    indices = sorted(rows["layer_index"].unique())
    middle = indices[len(indices) // 2]
    rows = rows[rows["layer_index"] == middle]
    name = f"Layer #{middle}, {rows['layer'].iloc[0]}"

    def panel(axes: Axes, std: float) -> None:
        own = rows[rows[STD] == std]
        axes.set_yscale("log")
        _draw(axes, own, "l2")
        axes.set_ylim(*RANGE)
        _off_range(axes, own)

    return _grid(runs, panel, "‖G − G′‖₂", f"Covariate shift of {name}", f"{HOW_TO_READ} {HOW_TO_READ_SHIFT}", [])


def _draw(axes: Axes, rows: pd.DataFrame, column: str) -> None:
    draw_curves(axes, rows, column, dash_by="arm", dashes=DASHES, linewidth=1.2)


def _off_range(axes: Axes, rows: pd.DataFrame) -> None:
    """Says where a curve is that lies outside the axis altogether."""
    for arm, own in rows.groupby("arm"):
        low, high = own["l2"].min(), own["l2"].max()
        if RANGE[0] <= high and low <= RANGE[1]:
            continue
        bound = f"above {_bound(low)}" if low > RANGE[1] else f"below {_bound(high)}" if high > 0 else "0"
        place = 0.86 if low > RANGE[1] else 0.26
        words, colour = f"{style.ARMS[str(arm)].label}: {bound}", style.COLOURS[str(arm)]
        axes.text(0.03, place, words, transform=axes.transAxes, color=colour, fontsize=6.5)


def _bound(value: float) -> str:
    """The next power of ten towards 1."""
    return power_of_ten(10.0 ** (math.ceil(math.log10(value)) if value < 1 else math.floor(math.log10(value))))


def _grid(
    runs: ScaleRuns, panel: Callable[[Axes, float], None], label: str, title: str, notes: str, crosses: list[Handle]
) -> Sheet:
    """One panel per standard deviation, largest first, all on the same axes."""
    settings = runs.scale.runs
    stds = sorted(settings[STD].unique(), reverse=True)
    rows = -(-len(stds) // COLUMNS)
    images = f", {int(settings['data.limit'].iloc[0]):,} images" if "data.limit" in settings else ""
    legend = [
        handle(runs.label(arm), color=style.COLOURS[arm], linestyle=(0, DASHES[arm] or None)) for arm in runs.arms
    ]
    sheet = Sheet(
        f"{title} by initial weights. {runs.scale.title}{images}",
        [[*legend, *crosses]],
        f"{notes} {SEEDS}",
        body=1.25 * rows,
    )
    grid = sheet.grid(rows, COLUMNS, wspace=0.13, hspace=0.3, right=0.985)
    for i, std in enumerate(stds):
        axes = sheet.add_subplot(grid[i // COLUMNS, i % COLUMNS])
        panel(axes, std)
        axes.set_title(f"std {std:.2g}", pad=2)
        step_axis(axes, runs.last_step, labelled=i + COLUMNS >= len(stds))
        if i % COLUMNS:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel(label)
            axes.yaxis.set_label_coords(-0.24, 0.5)
    return sheet


def _both(runs: Runs) -> Iterator[tuple[str, Callable[[], Sheet]]]:
    for stem, make in (("init_scale", _accuracy), ("init_scale_shift", _shift)):
        for name, found in OfExperiment("init_scale", ("evaluation", "shift"), (STD,), stem=stem)(runs):
            yield name, partial(make, found)


INIT_SCALE = Figure("init_scale", "init_scale", _both, lambda made: made())
