"""The specification curve: what BatchNorm does to the shift by every reading, sorted, and the choices below."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ics.analysis import specifications as specs
from ics.analysis.claims.claim import PHASES, WHOLE
from ics.analysis.claims.covariate_shift import NETS
from ics.analysis.load import Runs
from ics.analysis.measured import QUANTITIES
from ics.figures.catalogue import Figure
from ics.figures.sheet import Sheet, handle

HOW_TO_READ = (
    "How to read: every column of dots is one reading of the same runs. Above: BatchNorm against standard, mean over "
    "pairs of runs with the same seed, with its 95 % interval, sorted. Below: the choices that make the reading. A "
    "reading says reduced or increased where its whole interval lies on one side of no change; of a cosine, larger is "
    "reduced. Black: the reading that was written beforehand. Single layers share a band, the shallowest on top. By "
    "loss or accuracy: not at the same step, but when both first had the same smoothed training loss or accuracy. "
    "Names that begin with shift: other readings of Definition 2.1 (experiment=readings)."
)
COLOURS = {specs.UNDECIDED: "#CDCDCD", specs.INCREASED: "#D9601A", specs.REDUCED: "#16306B"}
"""Told apart by lightness too."""

CHOICES = {
    "statistic": {specs.MEDIAN: "median", specs.MEAN: "mean", specs.MEAN_LOG: "mean of logs"},
    "phase": {phase.name: phase.name.split(":")[0] for phase in (WHOLE, *PHASES)},
    "alignment": {specs.BY_STEP: "by step", specs.BY_LOSS: "by loss", specs.BY_ACCURACY: "by accuracy"},
}
"""Column -> its values, and how they are written beside their line."""

GAP = 0.6  # lines between two kinds of choice
BAND = 3.4  # lines that the single layers share
LINES = 17.2  # of all choices but the definition


def _figure(readings: pd.DataFrame) -> Sheet:
    rates = sorted(readings["lr"].unique(), reverse=True)
    entries = [handle(name, color=colour, marker="o", markersize=4) for name, colour in COLOURS.items()]
    rule = handle("written beforehand", color="black", marker="D", markersize=4)
    title = f"Every reading: {readings['scale_title'].iloc[0]}"
    more = readings["definition"].nunique() + GAP if readings["definition"].nunique() > 1 else 0
    lower = 1.25 * (LINES + more) / LINES  # beside the curve's height
    sheet = Sheet(title, [[*entries, rule]], HOW_TO_READ, body=1.31 * (1 + lower) * len(rates), below=0.1)
    quantities = list(readings["quantity"].unique())
    grid = sheet.grid(len(rates), len(quantities), left=0.155, right=0.985, wspace=0.2, hspace=0.06)
    for (rate, quantity), mine in readings.groupby(["lr", "quantity"], sort=False):
        row, column = rates.index(rate), quantities.index(quantity)
        pair = grid[row, column].subgridspec(2, 1, height_ratios=[1, lower], hspace=0.04)
        curve, matrix = sheet.add_subplot(pair[0]), sheet.add_subplot(pair[1])
        mine = mine.sort_values("effect", kind="stable").reset_index(drop=True)
        of = QUANTITIES[str(quantity)]
        _curve(curve, mine, of.log)
        _matrix(matrix, mine, labelled=column == 0)
        for axes in (curve, matrix):
            axes.set_xlim(-0.02 * len(mine), 1.02 * len(mine))
            axes.set_xticks([])
        curve.set_title("" if row else f"{of.label}, {'ratio' if of.log else 'difference'}", fontsize=7.5)
        if column == 0:
            middle = (curve.get_position().y1 + matrix.get_position().y0) / 2
            sheet.beside(middle, rates[row])
    return sheet


def _curve(axes: Axes, mine: pd.DataFrame, ratio: bool) -> None:
    """The effects, sorted, with their intervals, which may leave the panel."""
    numbers = mine[["effect", "low", "high"]]
    values = 10**numbers if ratio else numbers
    if ratio:
        axes.set_yscale("log")
    for change, colour in COLOURS.items():
        at = mine.index[mine["change"] == change]
        axes.vlines(at, values["low"][at], values["high"][at], color=colour, linewidth=0.35, alpha=0.55)
        axes.plot(at, values["effect"][at], ".", color=colour, markersize=1.6)
    for at in mine.index[mine["headline"] == 1]:
        axes.vlines(at, values["low"][at], values["high"][at], color="black", linewidth=1.1, zorder=3)
        axes.plot(at, values["effect"][at], "D", color="black", markersize=3.6, zorder=3)
    axes.axhline(1 if ratio else 0, color="#444444", linewidth=0.6)
    low, high = values["effect"].min(), values["effect"].max()
    axes.set_ylim((low / 1.5, high * 1.5) if ratio else (low - 0.1, high + 0.1))
    if not ratio:
        axes.yaxis.set_major_locator(MaxNLocator(4))


def _matrix(axes: Axes, mine: pd.DataFrame, labelled: bool) -> None:
    """A mark in every line whose choice a reading makes; single layers by their depth in one broad line."""
    single = pd.to_numeric(mine["layers"], errors="coerce")
    depth = ((single - single.min()) / (single.max() - single.min())).fillna(0)
    made = mine.assign(layers=mine["layers"].where(single.isna(), "one"))
    papers = NETS[str(mine["model"].iloc[0])][0]
    layers = {" ".join(map(str, papers)): " and ".join(f"#{layer}" for layer in papers)}
    definitions = sorted(mine["definition"].unique(), key=lambda name: (name != specs.SHIFT, name))
    choices = {"layers": layers | {"all": "all but the first", "one": "one layer"}} | CHOICES
    if len(definitions) > 1:
        choices["definition"] = {str(name): str(name) for name in definitions}
    ticks: dict[float, str] = {}
    top = 0.0
    for name, labels in choices.items():
        for value, label in labels.items():
            at = made.index[made[name] == value]
            if at.empty and name == "alignment":
                continue
            height = BAND if value == "one" else 1
            place = top + depth[at] * (height - 1)
            for change, colour in COLOURS.items():
                marks = place[mine["change"][at] == change]
                axes.plot(marks.index, marks, "|", color=colour, markersize=4.2, markeredgewidth=0.45)
            rule = place[mine["headline"][at] == 1]
            axes.plot(rule.index, rule, "D", color="black", markersize=2.6, zorder=3)
            ticks[top + (height - 1) / 2] = label
            top += height
        top += GAP
    axes.set_ylim(top - GAP - 0.4, -0.6)
    axes.set_yticks(list(ticks), labels=list(ticks.values()) if labelled else [], fontsize=6.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)


def _find(runs: Runs) -> Iterator[tuple[str, pd.DataFrame]]:
    readings = specs.specifications(runs)
    shown = readings[(readings["n"] > 1) & np.isfinite(readings["effect"].astype(float))]
    for scale, own in shown.groupby("scale", sort=False):
        yield f"specifications_{scale}", own


SPECIFICATIONS = Figure("specifications", "fig3_vgg", _find, _figure, "scale=cpu")
