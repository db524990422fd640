"""Figures 4 and 10: the loss landscape along the gradient, with and without BatchNorm."""

from ics.figures.catalogue import Figure
from ics.figures.curves import step_axis
from ics.figures.figure_runs import FigureRuns
from ics.figures.landscape_panels import PANELS, Landscape, draw_panel, fit
from ics.figures.sheet import Sheet, letter

_HOW_TO_READ = (
    "How to read: at a training step with parameters θ and gradient g the loss is looked at along −g, at several step "
    "lengths η ({lengths} times the learning rate), without training. (a) From the smallest to the largest loss met; "
    "(b) by how much the gradient there differs from g; (c) the same per distance, the largest of the step lengths. A "
    "smoother landscape has narrower shades in (a), lower ones in (b) and a lower curve in (c); the dotted line is "
    "2 / learning rate, the edge of stability."
)


ARMS = ("standard", "batch")


def _fill(landscape: Landscape, sheet: Sheet, runs: FigureRuns) -> None:
    grid = sheet.grid(1, 3, wspace=0.36)
    for i, panel in enumerate(PANELS):
        axes = sheet.figure.add_subplot(grid[0, i])
        draw_panel(axes, panel, runs, runs.arms, landscape.rate)
        fit([axes])
        step_axis(axes, runs.last_step, labelled=True)
        letter(axes, f"({'abc'[i]}) {panel.title}")
        axes.set_ylabel(panel.label)


VGG = Landscape("4", "vgg", 0.1, ARMS, ARMS, _HOW_TO_READ.format(lengths="½ to 4"), 2.3, _fill)
DLN = Landscape("10", "deep_linear", 1e-6, ARMS, ARMS, _HOW_TO_READ.format(lengths="1/100 to 30"), 2.3, _fill)
FIG4 = Figure("fig4", "fig4", VGG.how_to_read, VGG.draw, "scale=cpu")
FIG10 = Figure("fig10", "fig10", DLN.how_to_read, DLN.draw)
