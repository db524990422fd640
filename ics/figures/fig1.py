"""Figure 1: (a) training and (b) test accuracy of VGG at two learning rates, (c) its activations over training."""

from pathlib import Path

from ics.analysis.load import Runs
from ics.figures import style
from ics.figures.accuracy_panels import draw_accuracy
from ics.figures.catalogue import Figure
from ics.figures.figure_runs import SEEDS, FigureRuns, find
from ics.figures.histogram_panels import READ, draw_histograms
from ics.figures.sheet import Sheet

ARMS = ("standard", "batch")
RATES = (0.1, 0.5)
LAYERS = (3, 11)
HOW_TO_READ = (
    "How to read: (a, b) a network that trains faster or generalises better has the higher curve; training accuracy is "
    f"that of the current batch. (c) at learning rate 0.1. {READ}"
)


def draw(runs: Runs, folder: Path) -> list[Path]:
    """One figure per scale of the runs there are."""
    files: list[Path] = []
    for found in find(runs, "1", "vgg", ("training", "evaluation", "histogram"), ARMS, RATES, ARMS):
        with style.style():
            files += style.save(_figure(found).figure, folder / f"fig1_{found.scale.slug}")
    return files


FIG1 = Figure("fig1", "fig1", HOW_TO_READ, draw, "scale=cpu")


def _figure(runs: FigureRuns) -> Sheet:
    sheet = Sheet(f"Figure 1. {runs.scale.title}", runs.handles(), f"{HOW_TO_READ} {SEEDS}", body=3.3)
    left, right = sheet.grid(1, 2, right=0.555, wspace=0.3), sheet.grid(2, 2, left=0.665, wspace=0.08, hspace=0.3)
    for j, (quantity, title) in enumerate(
        (("train_accuracy_percent", "(a) training accuracy (%)"), ("test_accuracy_percent", "(b) test accuracy (%)"))
    ):
        column = left[0, j].subgridspec(len(runs.rates), 1, hspace=0.1)
        for i, rate in enumerate(runs.rates):
            axes = sheet.figure.add_subplot(column[i, 0])
            draw_accuracy(axes, runs, quantity, rate, labelled=i == len(runs.rates) - 1, ticks=3)
            if i == 0:
                axes.set_title(title)
            if j == 0:
                axes.set_ylabel(f"learning rate {style.number(rate)}")
    draw_histograms(sheet.figure, right, runs, LAYERS, RATES[0], label_x=0.6)
    middle = (0.665 + 0.972) / 2
    sheet.figure.text(middle, sheet.panels_top + 0.23 / sheet.height, "(c) activations", ha="center", fontsize=8)
    return sheet
