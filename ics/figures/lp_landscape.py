"""Figures 12 and 13: training and landscape with the ℓp normalisations, one column per network."""

from pathlib import Path

from ics.analysis.load import Runs
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


def _figure(number: str, experiment: str, model: str, rate: float, lengths: str, small: str = "") -> Figure:
    landscape = Landscape(
        number,
        model,
        rate,
        arms=("standard", "batch", "l1", "l2", "linf"),
        needed=("standard", "batch", "l1|l2|linf"),
        how_to_read=_HOW_TO_READ.format(lengths=lengths),
        body=5.4,
    )
    regression = model == "deep_linear"

    def fill(sheet: Sheet, runs: FigureRuns) -> None:
        grid = sheet.grid(4, len(runs.arms), wspace=0.1, hspace=0.14, left=0.11)
        for row in range(4):
            panels = [sheet.figure.add_subplot(grid[row, column]) for column in range(len(runs.arms))]
            for axes, arm in zip(panels, runs.arms, strict=True):
                if row > 0:
                    draw_panel(axes, PANELS[row - 1], runs, (arm,), rate)
                elif regression:
                    axes.set_yscale("log")
                    runs.draw(axes, "train_loss", arm, rate)
                else:
                    axes.set_ylim(0, 103)
                    runs.draw(axes, "train_accuracy_percent", arm, rate)
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

    def draw(runs: Runs, folder: Path) -> list[Path]:
        return landscape.draw(fill, runs, folder)

    return Figure(f"fig{number}", experiment, landscape.how_to_read, draw, small)


FIG12 = _figure("12", "fig5_vgg", "vgg", 0.1, "½ to 4", "scale=cpu")
FIG13 = _figure("13", "fig5_dln", "deep_linear", 1e-6, "1/100 to 30")
