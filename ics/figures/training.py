"""Figures 1, 2 and 5: how networks train, the first two beside their activations."""

from functools import partial

from matplotlib.axes import Axes

from ics.analysis.claims.words import rate as written
from ics.figures import style
from ics.figures.activations import RIDGES, draw_histograms
from ics.figures.axes import fit, step_axis
from ics.figures.curves import draw_curves
from ics.figures.panels import SEEDS, TRAINING, draw, legend, paper_figure, title, training_axis
from ics.figures.runs import LP, NOISE, PAIR, PaperRuns
from ics.figures.sheet import Sheet

_FIRST = (
    "How to read: (a, b) a network that trains faster or generalises better has the higher curve; training accuracy is "
    f"that of the current batch. (c) at learning rate 0.1. {RIDGES}"
)
_NOISE_HOW = (
    "How to read: noisy BatchNorm shifts and scales its outputs at random, anew in every step. If stable distributions "
    "were what makes BatchNorm train well, its accuracy would be the standard network's; the paper finds BatchNorm's. "
    "The same noise on a standard network is shown where it was run; the paper has no curve of it. " + RIDGES
)
_LP_HOW = (
    "How to read: left, all networks together; right, each with the paper's curve, on the same axes. If dividing by "
    "another norm of the activations trains as well as BatchNorm, which divides by their standard deviation, the "
    "curves on the left lie together, apart from the standard network's."
)


def _first(runs: PaperRuns) -> Sheet:
    sheet = Sheet(f"Figure 1. {runs.scale.title}", legend(runs), f"{_FIRST} {SEEDS}", body=3.3)
    left, right = sheet.grid(1, 2, right=0.555, wspace=0.3), sheet.grid(2, 2, left=0.665, wspace=0.08, hspace=0.3)
    columns = {"train_accuracy_percent": "(a) training accuracy (%)", "test_accuracy_percent": "(b) test accuracy (%)"}
    for place, (quantity, name) in zip((left[0, 0], left[0, 1]), columns.items(), strict=True):
        rows = place.subgridspec(len(runs.rates), 1, hspace=0.1)
        panels = [sheet.add_subplot(rows[i, 0]) for i in range(len(runs.rates))]
        panels[0].set_title(name)
        for axes, rate in zip(panels, runs.rates, strict=True):
            _training(axes, runs, quantity, rate, labelled=axes is panels[-1], ticks=3)
            axes.set_ylabel(f"learning rate {written(rate)}" if place.is_first_col() else "")
    draw_histograms(sheet, right, runs, (3, 11), runs.rates[0], label_x=0.6)
    middle = (0.665 + 0.972) / 2
    sheet.text(middle, sheet.panels_top + 0.23 / sheet.get_figheight(), "(c) activations", ha="center", fontsize=8)
    return sheet


def _noise(runs: PaperRuns) -> Sheet:
    (rate,) = runs.rates
    sheet = Sheet(title("2", runs), legend(runs), f"{_NOISE_HOW} {SEEDS}", body=3.9)
    left = sheet.grid(1, 1, right=0.38)
    right = sheet.grid(3, len(runs.arms), left=0.5, wspace=0.1, hspace=0.35)
    axes = sheet.add_subplot(left[0, 0])
    _training(axes, runs, "train_accuracy_percent", rate, labelled=True)
    axes.set_ylabel("training accuracy (%)")
    draw_histograms(sheet, right, runs, (2, 9, 13), rate, label_x=0.43)
    return sheet


def _training(axes: Axes, runs: PaperRuns, quantity: str, rate: float, labelled: bool, ticks: int = 4) -> None:
    training_axis(axes, quantity)
    draw(axes, runs, quantity, rate)
    step_axis(axes, runs.last_step, labelled=labelled, ticks=ticks)


def _lp(number: str, runs: PaperRuns) -> Sheet:
    (rate,) = runs.rates
    quantity, label = TRAINING[runs.model]
    sheet = Sheet(title(number, runs), legend(runs), f"{_LP_HOW} {SEEDS}", body=3.0, above=0.24)
    halves = sheet.grid(1, 2, width_ratios=(1, 1.15), wspace=0.16)
    columns = (len(runs.arms) + 1) // 2
    grid = halves[0, 1].subgridspec(2, columns, wspace=0.12, hspace=0.28)
    places = [halves[0, 0], *(grid[i] for i in range(len(runs.arms)))]
    together, *each = panels = [sheet.add_subplot(place) for place in places]
    for axes in panels:
        training_axis(axes, quantity)
    draw_curves(together, runs.ours(quantity, rate))
    step_axis(together, runs.last_step, labelled=True)
    together.set_ylabel(label)
    together.set_title("all")
    for i, (axes, arm) in enumerate(zip(each, runs.arms, strict=True)):
        draw(axes, runs, quantity, rate, arms=[arm])
        step_axis(axes, runs.last_step, labelled=i + columns >= len(each), ticks=2, beside=True)
        axes.tick_params(labelleft=i % columns == 0)
        axes.set_title(style.ARMS[arm].label)
    if together.get_yscale() == "log":
        fit(panels)
    return sheet


FIG1 = paper_figure("1", "fig1", "vgg", ("evaluation", "histogram"), PAIR, _first, panels="ab", rates=(0.1, 0.5))
FIG2 = paper_figure("2", "fig2", "vgg", ["histogram"], NOISE, _noise)
FIG5A = paper_figure("5a", "fig5_vgg", "vgg", [], LP, partial(_lp, "5(a)"))
FIG5B = paper_figure("5b", "fig5_dln", "deep_linear", [], LP, partial(_lp, "5(b)"))
