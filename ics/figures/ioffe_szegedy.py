"""Figure 1 of Ioffe & Szegedy 2015, test accuracy and the input to one sigmoid, with the covariate shift below it."""

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D

from ics.analysis.load import Runs
from ics.analysis.scales import Scale, split_by_scale
from ics.analysis.seeds import BAND
from ics.figures import style
from ics.figures.catalogue import Figure
from ics.figures.curves import arms_of, draw_curve, of_scale, seeds_of, step_axis

UNIT = 0
HOW_TO_READ = (
    "How to read: above, as in the paper of 2015: test accuracy, and the 15th, 50th and 85th percentile over the batch "
    f"of the input to one sigmoid of the last hidden layer (unit {UNIT}, first seed); there, covariate shift is how "
    "this distribution moves over the steps. Below, the covariate shift of 2018 of the same layer: how far the "
    "gradient of its weights moves when the earlier layers are updated, in length, relative to its length, and in "
    "direction."
)
PANELS = {"l2": "‖G − G′‖₂", "relative_l2": "‖G − G′‖₂ / ‖G‖₂", "turn": "1 − cos∠(G, G′)"}


def draw(runs: Runs, folder: Path) -> list[Path]:
    """One figure per scale of the runs there are."""
    settings = runs.settings
    if not {"evaluation", "activations", "shift"} <= set(runs) or "experiment" not in settings:
        return []
    mine = settings[settings["experiment"] == "ioffe_szegedy"]
    files: list[Path] = []
    for scale in split_by_scale(mine) if len(mine) else ():
        with style.style():
            files += style.save(_figure(runs, scale), folder / f"ioffe_szegedy_{scale.slug.removesuffix('_mlp')}")
    return files


IOFFE_SZEGEDY = Figure("ioffe_szegedy", "ioffe_szegedy", HOW_TO_READ, draw)


def _figure(runs: Runs, scale: Scale) -> Canvas:
    evaluation, activations, shift = (of_scale(scale, runs[t]) for t in ("evaluation", "activations", "shift"))
    evaluation = evaluation[evaluation["split"].astype(str) == "test"]
    evaluation = evaluation.assign(accuracy=100 * evaluation["accuracy"])
    layer = str(activations["layer"].iloc[-1])
    shift = shift[shift["layer"].astype(str) == layer].assign(turn=lambda rows: 1 - rows["cosine"])
    unit = activations[(activations["layer"].astype(str) == layer) & (activations["unit"] == UNIT)]
    arms = [arm for arm in arms_of(scale) if arm in ("standard", "batch", "batch_by_hand")][:2]
    last_step = int(scale.runs["steps"].max())

    height = 5.0
    figure = style.new_figure(height)
    grid = figure.add_gridspec(
        2, 3, wspace=0.33, hspace=0.32, left=0.075, right=0.985, bottom=1.05 / height, top=1 - 0.75 / height
    )
    accuracy = figure.add_subplot(grid[0, 0])
    accuracy.set_title("(a) test accuracy (%)")
    accuracy.set_ylim(70, 100)
    for arm in arms:
        draw_curve(accuracy, evaluation[evaluation["arm"] == arm], "accuracy", style.ARMS[arm].colour, linewidth=1.2)
    for i, arm in enumerate(arms):
        axes = figure.add_subplot(grid[0, 1 + i], sharey=figure.axes[1] if i else None)
        axes.set_title(f"({'bc'[i]}) a sigmoid's input, {style.ARMS[arm].label}")
        _percentiles(axes, unit[unit["arm"] == arm], style.ARMS[arm].colour)
    for i, (column, label) in enumerate(PANELS.items()):
        axes = figure.add_subplot(grid[1, i])
        axes.set_yscale("log")
        axes.set_title(f"({'def'[i]}) {label}, {layer}")
        for arm in arms:
            draw_curve(axes, shift[shift["arm"] == arm], column, style.ARMS[arm].colour)
    for axes in figure.axes:
        step_axis(axes, last_step, labelled=True, ticks=3)
        axes.set_xlabel("training step" if axes.get_subplotspec().is_last_row() else "")  # type: ignore[union-attr]
    _words(figure, scale, arms)
    return figure


def _percentiles(axes: Axes, rows: pd.DataFrame, colour: str) -> None:
    """The three percentiles of the first seed's run, every recorded step."""
    own = rows[rows["seed"] == rows["seed"].min()].sort_values("step")
    for name, width in (("p15", 0.6), ("p50", 1.2), ("p85", 0.6)):
        axes.plot(own["step"], own[name], color=colour, linewidth=width)


def _words(figure: Canvas, scale: Scale, arms: list[str]) -> None:
    height = figure.get_size_inches()[1]
    title = f"Ioffe & Szegedy's Figure 1, and the covariate shift under it. {scale.title}"
    style.add_title(figure, title)
    handles = [Line2D([], [], color=style.ARMS[a].colour, linewidth=1.6, label=seeds_of(scale.runs, a)) for a in arms]
    place = (0.005, 1 - 0.27 / height)
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=place, ncols=4, columnspacing=1.6)
    notes = f"{HOW_TO_READ} (a), (d) to (f): median over seeds; {BAND}."
    style.add_notes(figure, notes)
