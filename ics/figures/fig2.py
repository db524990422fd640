"""Figure 2: BatchNorm with noise after it: accuracy, and activations over training."""

from pathlib import Path

from ics.analysis.load import Runs
from ics.figures import style
from ics.figures.accuracy_panels import draw_accuracy
from ics.figures.catalogue import Figure
from ics.figures.figure_runs import SEEDS, FigureRuns, find
from ics.figures.histogram_panels import READ, draw_histograms
from ics.figures.sheet import Sheet

ARMS = ("standard", "batch", "noisy_batch", "noise_only")
NEEDED = ("standard", "batch", "noisy_batch")
RATE = 0.1
LAYERS = (2, 9, 13)
HOW_TO_READ = (
    "How to read: noisy BatchNorm shifts and scales its outputs at random, anew in every step. If stable distributions "
    "were what makes BatchNorm train well, its accuracy would be the standard network's; the paper finds BatchNorm's. "
    "The same noise on a standard network is shown where it was run; the paper has no curve of it. " + READ
)


def draw(runs: Runs, folder: Path) -> list[Path]:
    """One figure per scale of the runs there are."""
    files: list[Path] = []
    for found in find(runs, "2", "vgg", ("training", "histogram"), ARMS, (RATE,), NEEDED):
        with style.style():
            files += style.save(_figure(found).figure, folder / f"fig2_{found.scale.slug}")
    return files


FIG2 = Figure("fig2", "fig2", HOW_TO_READ, draw, "scale=cpu")


def _figure(runs: FigureRuns) -> Sheet:
    title = f"Figure 2. {runs.scale.title}, lr {style.number(RATE)}"
    sheet = Sheet(title, runs.handles(), f"{HOW_TO_READ} {SEEDS}", body=3.9)
    left = sheet.grid(1, 1, right=0.38)
    right = sheet.grid(len(LAYERS), len(runs.arms), left=0.5, wspace=0.1, hspace=0.35)
    axes = sheet.figure.add_subplot(left[0, 0])
    draw_accuracy(axes, runs, "train_accuracy_percent", RATE, labelled=True)
    axes.set_ylabel("training accuracy (%)")
    draw_histograms(sheet.figure, right, runs, LAYERS, RATE, label_x=0.43)
    return sheet
