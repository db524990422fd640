"""MNIST with and without BatchNorm: loss and accuracy in evaluation mode, and the shift of every layer beside them."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from ics.analysis.load import Runs
from ics.analysis.scales import Scale, split_by_scale
from ics.analysis.seeds import BAND
from ics.figures import style
from ics.figures.catalogue import Figure
from ics.figures.curves import arms_of, draw_curve, of_scale, seeds_of, step_axis

HOW_TO_READ = (
    "How to read: left, loss and accuracy over the whole training set (dashed) and test set (solid) in evaluation "
    "mode, once an epoch. Right, the covariate shift of the layers under the same updates: the gradient of a layer's "
    "weights and the same gradient once the earlier layers have been updated: the lower, the less shift, in length "
    "and in direction. The first layer has nothing before it, hence none."
)
SPLITS: dict[str, dict[str, Any]] = {
    "train": {"linestyle": (0, (3, 1.2)), "linewidth": 0.8},
    "test": {"linestyle": "-", "linewidth": 1.2},
}


def draw(runs: Runs, folder: Path) -> list[Path]:
    """One figure per scale of the runs there are."""
    settings = runs.settings
    if not {"evaluation", "shift"} <= set(runs) or "experiment" not in settings:
        return []
    mine = settings[settings["experiment"] == "mnist_mlp"]
    files: list[Path] = []
    for scale in split_by_scale(mine) if len(mine) else ():
        with style.style():
            files += style.save(_figure(runs, scale), folder / f"mnist_mlp_{scale.slug.removesuffix('_mlp')}")
    return files


MNIST_MLP = Figure("mnist_mlp", "mnist_mlp", HOW_TO_READ, draw)


def _figure(runs: Runs, scale: Scale) -> Canvas:
    evaluation, shift = of_scale(scale, runs["evaluation"]), of_scale(scale, runs["shift"])
    evaluation = evaluation.assign(accuracy=100 * evaluation["accuracy"])
    shift = shift.assign(turn=1 - shift["cosine"])
    layers = shift[shift["layer_index"] > 1].drop_duplicates("layer_index").sort_values("layer_index")
    last_step = int(max(evaluation["step"].max(), shift["step"].max()))
    columns = 1 + len(layers)
    height = 4.6
    figure = style.new_figure(height)
    grid = figure.add_gridspec(
        2, columns, wspace=0.36, hspace=0.12, left=0.075, right=0.985, bottom=1.05 / height, top=1 - 0.75 / height
    )
    loss, accuracy = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[1, 0])
    loss.set_yscale("log")
    loss.set_title("loss and accuracy")
    arms = arms_of(scale)
    for arm in arms:
        for split, line in SPLITS.items():
            own = evaluation[(evaluation["arm"] == arm) & (evaluation["split"] == split)]
            draw_curve(loss, own, "loss", style.ARMS[arm].colour, **line)
            trained = own[own["step"] > 0]  # the untrained network's accuracy would squeeze all others
            draw_curve(accuracy, trained, "accuracy", style.ARMS[arm].colour, **line)
    loss.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    loss.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    loss.minorticks_off()
    loss.set_ylabel("cross-entropy")
    accuracy.set_ylabel("accuracy (%)")
    for i, layer in enumerate(layers.itertuples(), start=1):
        above, below = figure.add_subplot(grid[0, i]), figure.add_subplot(grid[1, i])
        above.set_yscale("log")
        below.set_yscale("log")
        for axes in (above, below):
            axes.yaxis.set_minor_formatter(NullFormatter())
        above.set_title(f"Layer #{layer.layer_index}, {layer.layer}")
        above.set_ylabel("‖G − G′‖₂")
        below.set_ylabel("1 − cos∠(G, G′)")
        own = shift[shift["layer_index"] == layer.layer_index]
        for arm in arms:
            draw_curve(above, own[own["arm"] == arm], "l2", style.ARMS[arm].colour)
            draw_curve(below, own[own["arm"] == arm], "turn", style.ARMS[arm].colour)
    for i, axes in enumerate(figure.axes):
        step_axis(axes, last_step, labelled=i % 2 == 1, ticks=4)
    _words(figure, scale, arms)
    return figure


def _words(figure: Canvas, scale: Scale, arms: list[str]) -> None:
    height = figure.get_size_inches()[1]
    title = f"With and without BatchNorm, from the same initial weights. {scale.title}"
    style.add_title(figure, title)
    handles = [Line2D([], [], color=style.ARMS[a].colour, linewidth=1.6, label=seeds_of(scale.runs, a)) for a in arms]
    handles += [Line2D([], [], color="#444444", label=f"{split} set", **line) for split, line in SPLITS.items()]
    place = (0.005, 1 - 0.27 / height)
    figure.legend(handles=handles, loc="upper left", bbox_to_anchor=place, ncols=5, columnspacing=1.6)
    notes = f"{HOW_TO_READ} Lines: median over seeds; {BAND}. The untrained networks' accuracy is left out."
    style.add_notes(figure, notes)
