"""The sheet that a figure is drawn on: title and legend above, sentences below, panels between them."""

import textwrap
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text

from ics.analysis.claims.words import rate as written
from ics.figures import style
from ics.figures.axes import log_ticks

Handle = Line2D | Patch

WIDTH = 7.0
"""Inches: the text width of a two-column page."""

_DPI = 200  # at which words are measured; letters of few pixels have other widths
_TITLE, _NOTES = 94, 132  # characters per line
_LINE = 0.128  # inches: a line of the sentences below
_LEGEND = 0.19  # inches: a row of the legend
_GAP = 0.15  # inches: between two entries of the legend
_BESIDE_LABEL = 0.39  # inches: an entry's line and the spaces around it


class Sheet(Figure):
    """An empty figure with its words, made without pyplot and so without any window.

    Args:
        title: above all.
        legend: rows of entries.
        notes: the sentences below.
        body: height of the panels, in inches.
        above: room above them for their titles, in inches.
        below: room below them for the labels of the lowest axis, in inches.

    Attributes:
        words: the title, and the sentences below, each on one line.
        title: as it is drawn.
        notes: as they are drawn.
        panels_top: upper end of the panels, as a share of the height.
    """

    def __init__(
        self,
        title: str,
        legend: Sequence[Sequence[Handle]],
        notes: str,
        body: float,
        above: float = 0.3,
        below: float = 0.42,
    ) -> None:
        super().__init__(figsize=(WIDTH, body), dpi=_DPI)
        FigureCanvasAgg(self)
        self.words = title, notes
        lines = len(textwrap.wrap(title, _TITLE))  # about equally long, so that no word stands alone
        heading = textwrap.wrap(title, _TITLE if lines == 1 else len(title) // lines + 12)
        sentences = textwrap.wrap(notes, _NOTES)
        rows = [line for row in legend for line in self._lines(row)]
        first = 0.27 + 0.16 * (len(heading) - 1)
        top = first + 0.03 + _LEGEND * len(rows) + above
        bottom = 0.12 + _LINE * len(sentences) + below
        height = body + top + bottom
        self.set_figheight(height)
        self._bottom, self.panels_top = bottom / height, 1 - top / height
        # Large and not bold: a second font takes a tenth of the time that a PDF does.
        self.title = self.text(0.012, 1 - 0.12 / height, "\n".join(heading), va="top", fontsize=10)
        self.notes = self.text(0.012, 0.1 / height, "\n".join(sentences), va="bottom", fontsize=7)
        for number, row in enumerate(rows):
            self.legend(
                handles=row,
                loc="upper left",
                bbox_to_anchor=(0.005, 1 - (first + _LEGEND * number) / height),
                ncols=len(row),
                columnspacing=1.4,
                handlelength=1.5,
            )

    def grid(self, rows: int, columns: int, left: float = 0.085, right: float = 0.972, **options: Any) -> GridSpec:
        """A grid for the panels; left and right as shares of the width."""
        return self.add_gridspec(
            rows, columns, left=left, right=right, bottom=self._bottom, top=self.panels_top, **options
        )

    def beside(self, y: float, rate: float) -> None:
        """A learning rate, upwards along the left edge, its middle at a share of the height."""
        self.text(0.012, y, f"learning rate {written(rate)}", rotation=90, va="center", fontsize=8.5)

    def finish(self) -> None:
        """Does what can only be done when all is drawn: the numbers of logarithmic axes."""
        for axes in self.axes:
            if axes.get_yscale() == "log":
                log_ticks(axes)

    def _lines(self, entries: Sequence[Handle]) -> list[list[Handle]]:
        """A row of the legend on as many lines as it takes."""
        lines: list[list[Handle]] = []
        room = 0.0
        for entry in entries:
            label = Text(text=str(entry.get_label()), fontsize=7.5, figure=self)
            width = _BESIDE_LABEL + label.get_window_extent().width / self.dpi
            if width > room:
                lines.append([])
                room = WIDTH - 0.2 + _GAP  # the last entry needs no space after it
            lines[-1].append(entry)
            room -= width
        return lines


def row_label(axes: Axes, text: str, x: float = 0.03) -> None:
    """The label of a row's leftmost panel at a share of the sheet's width: in line with those above and below."""
    box = axes.get_position()
    axes.set_ylabel(text)
    figure = axes.get_figure(root=True)
    assert figure is not None
    axes.yaxis.set_label_coords(x, box.y0 + box.height / 2, transform=figure.transFigure)


def handle(label: str, **line: Any) -> Line2D:
    """A legend entry."""
    return Line2D([], [], label=label, **({"color": style.GREY} | line))
