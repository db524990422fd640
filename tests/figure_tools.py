"""What the tests of figures share: figures as they would be saved, and what is drawn on them."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex

from ics.analysis.load import Runs
from ics.figures.catalogue import draw, find, select
from ics.figures.sheet import Sheet
from ics.figures.style import save


def sheets(name: str, runs: Runs) -> dict[str, Sheet]:
    """A figure at every scale there is, by the name of its file."""
    (figure,) = select(name)
    drawn = {stem: draw(figure, stem, found, lambda _, sheet: sheet) for stem, found in find(figure, runs)}
    assert all(sheet.words[1].startswith("How to read: ") for sheet in drawn.values())
    return drawn


def sheet(name: str, runs: Runs) -> Any:
    """A figure of which there is one scale only."""
    (only,) = sheets(name, runs).values()
    return only


def saved(name: str, runs: Runs, folder: Path) -> list[Path]:
    """The files of a figure."""
    (figure,) = select(name)
    pairs = (draw(figure, *one, lambda stem, canvas: save(canvas, folder / stem)) for one in find(figure, runs))
    return [path for pair in pairs for path in pair]


def lines(axes: Axes, linestyle: str | None = None) -> list[list[float]]:
    """The heights of all lines, or of those of one style."""
    return [
        [float(y) for y in line.get_ydata()]  # type: ignore[union-attr]
        for line in axes.get_lines()
        if linestyle in (None, line.get_linestyle())
    ]


def ends(axes: Axes, colour: str) -> list[float]:
    """The last heights of all lines of a colour."""
    ours = [line for line in axes.get_lines() if to_hex(line.get_color()) == colour.lower()]
    return [float(line.get_ydata()[-1]) for line in ours]  # type: ignore[index,arg-type]


def dots(axes: Axes) -> list[tuple[float, float]]:
    """The places of all crosses and lonely points."""
    points = [group.get_offsets() for group in axes.collections if isinstance(group, PathCollection)]
    return [(float(x), float(y)) for places in points for x, y in np.asarray(places)]


def words(canvas: Sheet) -> str:
    """Title and notes, on one line."""
    return " ".join(canvas.words)


def entries(canvas: Sheet) -> list[str]:
    """The labels of the legend."""
    return [text.get_text() for legend in canvas.legends for text in legend.get_texts()]
