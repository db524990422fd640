"""Panels of accuracy over training: Figures 1 and 2."""

from matplotlib.axes import Axes

from ics.figures.curves import step_axis
from ics.figures.figure_runs import FigureRuns


def draw_accuracy(axes: Axes, runs: FigureRuns, quantity: str, rate: float, labelled: bool, ticks: int = 4) -> None:
    """All arms at a rate, in per cent.

    Args:
        axes: where to.
        runs: with their arms.
        quantity: training or test accuracy.
        rate: learning rate.
        labelled: whether the steps are written below.
        ticks: at most so many steps are.
    """
    axes.set_ylim(0, 103)
    for arm in runs.arms:
        runs.draw(axes, quantity, arm, rate)
    step_axis(axes, runs.last_step, labelled=labelled, ticks=ticks)
