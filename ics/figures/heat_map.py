"""Seaborn's heat map, without its drawing the whole figure each time to see whether labels overlap."""

from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.backend_bases import FigureCanvasBase


def heat_map(table: pd.DataFrame, axes: Axes, **options: Any) -> None:
    """Draw a table of numbers as colours.

    Args:
        table: one cell per number; rows downwards, columns to the right.
        axes: where.
        options: of `seaborn.heatmap`.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    canvas = figure.canvas
    FigureCanvasBase(figure)  # draws nothing
    try:
        sns.heatmap(table, ax=axes, rasterized=True, **options)
    finally:
        figure.set_canvas(canvas)
