"""The sheet that a figure is drawn on: title and legend above, sentences below, panels between them."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.gridspec import GridSpec
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.textpath import TextPath

from ics.figures import style

Handle = Line2D | Patch

_LINE = 0.128  # inches: a line of the sentences below
_LEGEND = 0.19  # inches: a row of the legend
_GAP = 0.15  # inches: between two entries of the legend
_BESIDE_LABEL = 0.39  # inches: an entry's line and the spaces around it


class Sheet:
    """An empty sheet with its words.

    Args:
        title: in bold, above all.
        legend: rows of entries.
        notes: the sentences below.
        body: height of the panels, in inches.
        above: room above them for their titles, in inches.
        below: room below them for the labels of the lowest axis, in inches.

    Attributes:
        figure: to draw on.
        height: of the sheet, in inches.
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
        rows = [line for row in legend for line in _lines(row)]
        first = 0.27 + 0.16 * style.wrapped(style.TITLE, title).count("\n")
        top = first + 0.03 + _LEGEND * len(rows) + above
        bottom = 0.12 + _LINE * (style.wrapped(style.NOTES, notes).count("\n") + 1) + below
        self.height = body + top + bottom
        self.figure: Canvas = style.new_figure(self.height)
        self._bottom, self.panels_top = bottom / self.height, 1 - top / self.height
        style.add_title(self.figure, title)
        for number, row in enumerate(rows):
            place = (0.005, 1 - (first + _LEGEND * number) / self.height)
            self.figure.legend(
                handles=list(row),
                loc="upper left",
                bbox_to_anchor=place,
                ncols=len(row),
                columnspacing=1.4,
                handlelength=1.5,
            )
        style.add_notes(self.figure, notes)

    def grid(self, rows: int, columns: int, left: float = 0.085, right: float = 0.972, **options: Any) -> GridSpec:
        """A grid for the panels; left and right as shares of the width."""
        return self.figure.add_gridspec(
            rows, columns, left=left, right=right, bottom=self._bottom, top=self.panels_top, **options
        )


def _lines(entries: Sequence[Handle]) -> list[list[Handle]]:
    """A row of the legend on as many lines as it takes."""
    lines: list[list[Handle]] = []
    room = 0.0
    for entry in entries:
        width = _BESIDE_LABEL + TextPath((0, 0), str(entry.get_label()), size=7.5).get_extents().width / 72
        if width > room:
            lines.append([])
            room = style.WIDTH - 0.2 + _GAP  # the last entry needs no space after it
        lines[-1].append(entry)
        room -= width
    return lines


def row_label(axes: Axes, text: str, x: float = 0.03) -> None:
    """The label of a panel's vertical axis, in line with those above and below whatever the panels' width.

    Args:
        axes: the leftmost panel of a row.
        text: the label.
        x: its place, as a share of the sheet's width.
    """
    box = axes.get_position()
    axes.set_ylabel(text)
    figure = axes.get_figure(root=True)
    assert figure is not None
    axes.yaxis.set_label_coords(x, box.y0 + box.height / 2, transform=figure.transFigure)


def letter(axes: Axes, text: str, pad: float = 4) -> None:
    """A panel's title, with its letter in the paper: (a) loss."""
    axes.set_title(text, loc="left", pad=pad)


def arm_handle(label: str, colour: Any) -> Line2D:
    """A legend entry for an arm."""
    return Line2D([], [], color=colour, linewidth=1.6, label=label)


def paper_handle(what: str) -> Line2D:
    """A legend entry for the paper's digitised curves."""
    return Line2D([], [], color="#444444", label=f"paper: digitised, {what}, one run", **style.PAPER)


def diverged_handle() -> Line2D:
    """A legend entry for the crosses where runs diverged."""
    return Line2D([], [], color="#444444", label="diverged here", **style.DIVERGED)
