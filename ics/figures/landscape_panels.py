"""The panels of Figures 4, 10, 12 and 13: the loss and its gradient along the gradient."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ics.analysis.load import Runs
from ics.analysis.seeds import over_seeds
from ics.figures import style
from ics.figures.curves import draw_range
from ics.figures.figure_runs import SEEDS, FigureRuns, find
from ics.figures.sheet import Sheet

SHARPNESS: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 2.6,
    "markeredgewidth": 0.7,
    "markerfacecolor": "white",
}
DECADES = 9
"""At most so many powers of ten on an axis; what lies above is cut off and said to be."""

SHADES = "Light shades: as far as any seed goes, cut off at the axes' ends."


@dataclass(frozen=True)
class Panel:
    """What one of the panels shows.

    Attributes:
        quantity: of `QUANTITIES`.
        title: of the panel.
        label: of its axis.
        is_range: whether it is a range over the step lengths.
    """

    quantity: str
    title: str
    label: str
    is_range: bool


LOSS = Panel("loss_range", "loss along the gradient", "loss: range over η", True)
PREDICTIVENESS = Panel(
    "gradient_predictiveness_range", "gradient predictiveness", "‖∇L(θ − ηg) − g‖₂: range over η", True
)
BETA = Panel("effective_beta_smoothness", "effective β-smoothness", "largest ‖∇L(θ − ηg) − g‖₂ / (η‖g‖₂)", False)
PANELS = (LOSS, PREDICTIVENESS, BETA)


@dataclass(frozen=True)
class Landscape:
    """One of the four figures.

    Attributes:
        number: of the figure.
        model: setting `model.name`.
        rate: learning rate.
        arms: those that are drawn where there are runs of them.
        needed: those without which there is no figure.
        how_to_read: for its readers.
        body: height of the panels in inches.
        fill: draws the panels of a figure onto its sheet.
    """

    number: str
    model: str
    rate: float
    arms: tuple[str, ...]
    needed: tuple[str, ...]
    how_to_read: str
    body: float
    fill: "Callable[[Landscape, Sheet, FigureRuns], None]"

    def draw(self, runs: Runs, folder: Path) -> list[Path]:
        """One figure per scale of the runs there are."""
        files: list[Path] = []
        tables = ("training", "landscape")
        for found in find(runs, self.number, self.model, tables, self.arms, (self.rate,), self.needed):
            with style.style():
                files += style.save(self.sheet(found).figure, folder / f"fig{self.number}_{found.scale.slug}")
        return files

    def sheet(self, runs: FigureRuns) -> Sheet:
        """The figure of one scale's runs."""
        arms, others = runs.handles()
        others.append(Line2D([], [], label="2 / learning rate", **style.IDEAL))
        if any(len(runs.of("edge_ratio", arm, self.rate)) for arm in runs.arms):
            others.append(Line2D([], [], color="#444444", label="largest eigenvalue of the Hessian", **SHARPNESS))
        notes = [self.how_to_read, SEEDS, SHADES]
        if self.model == "vgg":
            notes.append("The paper's loss contains an ℓ₂ penalty of about 2 at the start, ours does not.")
        title = f"Figure {self.number}. {runs.scale.title}, lr {style.number(self.rate)}"
        sheet = Sheet(title, [arms, others], " ".join(notes), body=self.body)
        self.fill(self, sheet, runs)
        return sheet


def draw_panel(axes: Axes, panel: Panel, runs: FigureRuns, arms: Sequence[str], rate: float) -> None:
    """One panel, logarithmic; its range of values is set by `fit`."""
    axes.set_yscale("log")
    for arm in arms:
        colour = style.ARMS[arm].colour
        if panel.is_range:
            draw_range(axes, runs.of(panel.quantity, arm, rate), colour)
            for edge in ("low", "high"):
                runs.draw_paper(axes, runs.theirs(panel.quantity, arm, rate), edge, arm)
        else:
            runs.draw(axes, panel.quantity, arm, rate)
            _draw_sharpness(axes, runs, arm, rate)
    if not panel.is_range:
        axes.axhline(2 / rate, **style.IDEAL)


def fit(panels: Sequence[Axes]) -> None:
    """Gives logarithmic panels of one quantity one range, at most `DECADES` long, that shows nearly all lines."""
    values = np.concatenate([_heights(axes) for axes in panels])
    low = float(values.min()) if len(values) else 1.0
    wanted = float(values.max()) if len(values) else 10.0
    # Rare excesses do not set the scale: the upper end is where 99 % of the values lie, if that is much lower.
    bulk = float(np.quantile(values, 0.99)) if len(values) else 10.0
    high = wanted if wanted < 30 * bulk and wanted / low < 10**DECADES else 3 * bulk
    low = max(low, high / 10**DECADES)
    for axes in panels:
        axes.set_ylim(low / 1.4, high * 1.4)
        if high > 1000 * low:
            axes.yaxis.set_minor_locator(NullLocator())
        elif high < 100 * low:  # powers of ten alone would be too few ticks
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_locator(NullLocator())


def _heights(axes: Axes) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """All positive values of the lines in a panel."""
    parts = [np.asarray(line.get_ydata(), dtype=float) for line in axes.get_lines()]
    values: np.ndarray[tuple[int], np.dtype[np.float64]] = np.concatenate([np.zeros(0), *parts])
    return values[np.isfinite(values) & (values > 0)]


def _draw_sharpness(axes: Axes, runs: FigureRuns, arm: str, rate: float) -> None:
    rows = runs.of("edge_ratio", arm, rate)
    if len(rows):
        table = over_seeds(rows, "value")
        axes.plot(table["step"], table["median"] * 2 / rate, color=style.ARMS[arm].colour, **SHARPNESS, zorder=3)
