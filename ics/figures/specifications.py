"""The specification curve: what BatchNorm does to the shift by every reading, sorted, and the choices below."""

from collections.abc import Iterator, Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ics.analysis.claims.claim import PHASES, WHOLE
from ics.analysis.load import Runs
from ics.analysis.measured import QUANTITIES
from ics.analysis.specifications import (
    BY_ACCURACY,
    BY_LOSS,
    BY_STEP,
    INCREASED,
    MEAN,
    MEAN_LOG,
    MEDIAN,
    REDUCED,
    UNDECIDED,
    specifications,
)
from ics.figures.axes import rate as written
from ics.figures.catalogue import Figure
from ics.figures.sheet import Sheet, handle

HOW_TO_READ = (
    "How to read: every column of dots is one reading of the same runs. Above: BatchNorm against standard, mean over "
    "pairs of runs with the same seed, with its 95 % interval, sorted. Below: the choices that make the reading. A "
    "reading says reduced or increased where its whole interval lies on one side of no change; of a cosine, larger is "
    "reduced. Black: the reading that was written beforehand. Single layers share a band, the shallowest on top. By "
    "loss or accuracy: not at the same step, but when both first had the same smoothed training loss or accuracy."
)
COLOURS = {UNDECIDED: "#CDCDCD", INCREASED: "#D9601A", REDUCED: "#16306B"}
"""Told apart by lightness too."""

CHOICES = {
    "statistic": {MEDIAN: "median", MEAN: "mean", MEAN_LOG: "mean of logs"},
    "phase": {phase.name: phase.name.split(":")[0] for phase in (WHOLE, *PHASES)},
    "alignment": {BY_STEP: "by step", BY_LOSS: "by loss", BY_ACCURACY: "by accuracy"},
}
"""Column -> its values, and how they are written beside their line."""

GAP = 0.6  # lines between two kinds of choice
BAND = 3.4  # lines that the single layers share


def _figure(readings: pd.DataFrame) -> Sheet:
    rates = sorted(readings["lr"].unique(), reverse=True)
    title = f"Every reading: {readings['scale_title'].iloc[0]}"
    entries = [handle(name, color=colour, marker="o", markersize=4) for name, colour in COLOURS.items()]
    rule = handle("written beforehand", color="black", marker="D", markersize=4)
    sheet = Sheet(title, [[*entries, rule]], HOW_TO_READ, body=2.95 * len(rates), below=0.1)
    grid = sheet.grid(len(rates), len(MEASURES), left=0.155, right=0.985, wspace=0.2, hspace=0.06)
    for row, rate in enumerate(rates):
        for column, (quantity, label) in enumerate(MEASURES.items()):
            mine = readings[(readings["lr"] == rate) & (readings["quantity"] == quantity) & (readings["n"] > 1)]
            pair = grid[row, column].subgridspec(2, 1, height_ratios=[1, 1.25], hspace=0.04)
            curve, matrix = sheet.add_subplot(pair[0]), sheet.add_subplot(pair[1])
            mine = mine.sort_values("effect", kind="stable").reset_index(drop=True)
            _curve(curve, mine, QUANTITIES[quantity].log)
            _matrix(matrix, mine, labelled=column == 0)
            if row == 0:
                curve.set_title(label, fontsize=7.5)
            if column == 0:
                middle = (curve.get_position().y1 + matrix.get_position().y0) / 2
                sheet.text(0.012, middle, f"learning rate {written(rate)}", rotation=90, va="center", fontsize=8.5)
    return sheet


MEASURES = {
    "ics_l2": "‖G − G′‖₂, ratio",
    "ics_cosine": "cos∠(G, G′), difference",
    "ics_relative_l2": "‖G − G′‖₂ / ‖G‖₂, ratio",
}


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
    axes.set_xlim(-0.02 * len(mine), 1.02 * len(mine))
    axes.set_xticks([])


def _matrix(axes: Axes, mine: pd.DataFrame, labelled: bool) -> None:
    """A mark in every line whose choice a reading makes."""
    lines, ticks, labels, first = {}, [], [], 0.0
    pair, *_ = (name for name in mine["layers"] if " " in name)
    for name, choices in (("layers", _layers(pair)), *CHOICES.items()):
        made = {value: label for value, label in choices.items() if name != "alignment" or (mine[name] == value).any()}
        for value, label in made.items():
            tall = BAND if value == "one" else 1
            lines[name, value] = first
            ticks.append(first + (tall - 1) / 2)
            labels.append(label)
            first += tall
        first += GAP
    single = pd.to_numeric(mine["layers"], errors="coerce")
    depth = (single - single.min()) / (single.max() - single.min())
    places = {name: mine[name].map(lambda value, name=name: lines.get((name, value))) for name in CHOICES}
    places["layers"] = (lines["layers", "one"] + depth * (BAND - 1)).fillna(
        mine["layers"].map(lambda value: lines.get(("layers", value)))
    )
    for place in places.values():
        for change, colour in COLOURS.items():
            at = mine.index[mine["change"] == change]
            axes.plot(at, place[at], "|", color=colour, markersize=4.2, markeredgewidth=0.45)
        chosen = mine.index[mine["headline"] == 1]
        axes.plot(chosen, place[chosen], "D", color="black", markersize=2.6)
    axes.set_ylim(first - GAP - 0.4, -0.6)
    axes.set_xlim(-0.02 * len(mine), 1.02 * len(mine))
    axes.set_xticks([])
    axes.set_yticks(ticks, labels=labels if labelled else [], fontsize=6.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False)
    axes.spines[["left", "bottom"]].set_visible(False)


def _layers(pair: str) -> Mapping[str, str]:
    both = " and ".join(f"#{layer}" for layer in pair.split())
    return {pair: both, "all": "all but the first", "one": "one layer"}


def _find(runs: Runs) -> Iterator[tuple[str, pd.DataFrame]]:
    for scale, readings in specifications(runs).groupby("scale", sort=False):
        if (readings["n"] > 1).any():
            yield f"specifications_{scale}", readings


SPECIFICATIONS = Figure("specifications", "fig3_vgg", HOW_TO_READ, _find, _figure, "scale=cpu")
