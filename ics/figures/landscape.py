"""Figures 4 and 10: the loss landscape along the gradient, with and without BatchNorm."""

from pathlib import Path

from ics.analysis.load import Runs
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


def _figure(number: str, model: str, rate: float, lengths: str, small: str = "") -> Figure:
    arms = ("standard", "batch")
    landscape = Landscape(number, model, rate, arms, arms, _HOW_TO_READ.format(lengths=lengths), body=2.3)

    def fill(sheet: Sheet, runs: FigureRuns) -> None:
        grid = sheet.grid(1, 3, wspace=0.36)
        for i, panel in enumerate(PANELS):
            axes = sheet.figure.add_subplot(grid[0, i])
            draw_panel(axes, panel, runs, runs.arms, rate)
            fit([axes])
            step_axis(axes, runs.last_step, labelled=True)
            letter(axes, f"({'abc'[i]}) {panel.title}")
            axes.set_ylabel(panel.label)

    def draw(runs: Runs, folder: Path) -> list[Path]:
        return landscape.draw(fill, runs, folder)

    return Figure(f"fig{number}", f"fig{number}", landscape.how_to_read, draw, small)


FIG4 = _figure("4", "vgg", 0.1, "½ to 4", "scale=cpu")
FIG10 = _figure("10", "deep_linear", 1e-6, "1/100 to 30")
