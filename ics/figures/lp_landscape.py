"""Figures 12 and 13: training and landscape with the ℓp normalisations, one column per network."""

from ics.figures import style
from ics.figures.catalogue import Figure
from ics.figures.curves import step_axis
from ics.figures.figure_runs import FigureRuns
from ics.figures.landscape_panels import PANELS, Landscape, draw_panel, fit
from ics.figures.sheet import Sheet, row_label

_HOW_TO_READ = (
    "How to read: a column for each network, the same axes along each row. Below its training, the loss along the "
    "gradient g at several step lengths η ({lengths} times the learning rate): from the smallest to the largest loss "
    "met, by how much the gradient there differs from g, and the same per distance, the largest of the step lengths. "
    "If the other normalisations smooth the landscape as BatchNorm does, their columns look like BatchNorm's; the "
    "dotted line is 2 / learning rate, the edge of stability."
)
_ROWS = ("(b) loss\nalong the gradient", "(c) gradient\npredictiveness", "(d) effective\nβ-smoothness")


ARMS = ("standard", "batch", "l1", "l2", "linf")
NEEDED = ("standard", "batch", "l1|l2|linf")


def _fill(landscape: Landscape, sheet: Sheet, runs: FigureRuns) -> None:
    regression = landscape.model == "deep_linear"
    grid = sheet.grid(4, len(runs.arms), wspace=0.1, hspace=0.14, left=0.11)
    for row in range(4):
        panels = [sheet.figure.add_subplot(grid[row, column]) for column in range(len(runs.arms))]
        for axes, arm in zip(panels, runs.arms, strict=True):
            if row > 0:
                draw_panel(axes, PANELS[row - 1], runs, (arm,), landscape.rate)
            elif regression:
                axes.set_yscale("log")
                runs.draw(axes, "train_loss", arm, landscape.rate)
            else:
                axes.set_ylim(0, 103)
                runs.draw(axes, "train_accuracy_percent", arm, landscape.rate)
            step_axis(axes, runs.last_step, labelled=row == 3, ticks=2, beside=True)
        if row or regression:
            fit(panels)
        for axes in panels[1:]:
            axes.tick_params(labelleft=False)
        training = "(a) training loss" if regression else "(a) training\naccuracy (%)"
        row_label(panels[0], _ROWS[row - 1] if row else training, x=0.055)
        if row == 0:
            for axes, arm in zip(panels, runs.arms, strict=True):
                axes.set_title(style.ARMS[arm].label)


VGG = Landscape("12", "vgg", 0.1, ARMS, NEEDED, _HOW_TO_READ.format(lengths="½ to 4"), 5.4, _fill)
DLN = Landscape("13", "deep_linear", 1e-6, ARMS, NEEDED, _HOW_TO_READ.format(lengths="1/100 to 30"), 5.4, _fill)
FIG12 = Figure("fig12", "fig5_vgg", VGG.how_to_read, VGG.draw, "scale=cpu")
FIG13 = Figure("fig13", "fig5_dln", DLN.how_to_read, DLN.draw)
