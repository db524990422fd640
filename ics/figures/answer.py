"""The answer in one figure: the shift with BatchNorm beside that without, network by network, early to late."""

import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from numpy.typing import NDArray

from ics.analysis.claims import covariate_shift
from ics.analysis.claims.claim import EARLY, LATE, MIDDLE, WHOLE
from ics.analysis.claims.judge import evaluate, without_beginnings
from ics.analysis.claims.words import rate as written
from ics.analysis.load import Runs
from ics.analysis.measured import QUANTITIES
from ics.figures.axes import inner_ticks
from ics.figures.catalogue import Figure
from ics.figures.sheet import Handle, Sheet, handle

HOW_TO_READ = (
    "How to read: each mark compares networks with BatchNorm and without, at the paper's two layers: a mean over pairs "
    "of runs with the same seed, with its 95 % interval, which may leave the panel. An interval inside the shaded part "
    "says that BatchNorm reduces the shift, one outside of it that BatchNorm does not. The verdicts are those of the "
    "black marks. Early: the first tenth of the training; middle: from there to its half; late: the rest."
)
ROW = 0.66  # inches: a network at one learning rate
GAP = 0.34  # inches: between the kinds of network, whose axes differ
LABELS = 0.335  # share of the width that the networks' names take
CHARACTERS = 40  # of those names per line
SHADE = "#F3E3D3"


PHASES = {
    WHOLE.name: ("all steps", -0.19, "#000000", 4.6),
    EARLY.name: ("early", 0.01, "#7FB8E6", 3.4),
    MIDDLE.name: ("middle", 0.18, "#3C7DC0", 3.4),
    LATE.name: ("late", 0.35, "#1B3F77", 3.4),
}
"""Phase of the training -> label, distance from the middle of a network's line in lines, colour, size of the mark."""

_PAPER: dict[str, Any] = {
    "marker": "D",
    "markersize": 3.6,
    "markerfacecolor": "none",
    "markeredgecolor": "#D55E00",
    "markeredgewidth": 0.9,
    "linestyle": "none",
}
PANELS = {
    "ics_l2": "‖G − G′‖₂\nBatchNorm / standard",
    "ics_cosine": "cos∠(G, G′)\nBatchNorm − standard",
    "ics_relative_l2": "‖G − G′‖₂ / ‖G‖₂\nBatchNorm / standard",
}


def _figure(found: pd.DataFrame) -> Sheet:
    blocks = [
        rows.assign(line=rows.groupby(["scale_title", "lr"], sort=False).ngroup())
        for _, rows in found.groupby("model", sort=False)
    ]
    lines = [rows["line"].nunique() for rows in blocks]
    body = ROW * sum(lines) + GAP * (len(blocks) - 1)
    hspace = GAP * len(blocks) / (ROW * sum(lines))
    sheet = Sheet(covariate_shift.QUESTION, [_legend(found)], HOW_TO_READ, body, above=0.42, below=0.3)
    grid = sheet.grid(
        len(blocks), len(PANELS), left=LABELS, right=0.985, wspace=0.16, hspace=hspace, height_ratios=lines
    )
    for number, rows in enumerate(blocks):
        panels = [sheet.add_subplot(grid[number, column]) for column in range(len(PANELS))]
        for axes, (quantity, title) in zip(panels, PANELS.items(), strict=True):
            _panel(axes, rows[rows["quantity"] == quantity], lines[number])
            axes.set_title("" if number else title, fontsize=7.5)
        _names(panels[0], rows)
    return sheet


def _find(runs: Runs) -> Iterator[tuple[str, pd.DataFrame]]:
    """The claim's rows at the paper's layers, whole and by phase, with what tells them apart."""
    claims = [claim for claim in covariate_shift.claims() if claim.name == covariate_shift.CLAIM]
    rows = evaluate([claim for claim in claims if len(claim.statistic.layers or ()) > 1], runs)
    if (rows["n"] > 0).any():
        yield "answer", without_beginnings(rows[rows["n"] > 0])


def _panel(axes: Axes, rows: pd.DataFrame, lines: int) -> None:
    """One measure: a line for each network, a mark for each phase, the paper's number above that of all steps."""
    ratio = QUANTITIES[str(rows["quantity"].iloc[0])].log
    numbers = rows[["effect", "low", "high", "papers_as_far", "claimed_low", "claimed_high"]]
    values = rows.assign(**(10**numbers if ratio else numbers))
    left, right = _limits(values[["effect", "papers_as_far"]].to_numpy(), ratio)
    if ratio:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if right / left < 100 else (1,), numticks=4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"×{value:,g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xticks(inner_ticks(left, right))
    axes.set_xlim(left, right)
    claimed = values.iloc[0]
    reduced = (left, claimed["claimed_low"]) if ratio else (claimed["claimed_high"], right)
    axes.axvspan(*reduced, color=SHADE, linewidth=0, zorder=0)
    axes.axvline(1 if ratio else 0, color="#888888", linewidth=0.7, zorder=1)
    for row in values.to_dict("records"):
        _, offset, colour, size = PHASES[str(row["phase"])]
        y = row["line"] + offset
        axes.hlines(y, row["low"], row["high"], color=colour, linewidth=1.1 if row["headline"] else 0.8)
        axes.plot(row["effect"], y, "o", color=colour, markersize=size)
        if row["headline"]:
            axes.plot(row["papers_as_far"], y - 0.17, **_PAPER)
    axes.set_ylim(lines - 0.45, -0.55)
    axes.set_yticks([line + 0.5 for line in range(lines - 1)], labels=[])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="x")
    axes.spines["left"].set_visible(False)


def _limits(marks: NDArray[np.float64], ratio: bool) -> tuple[float, float]:
    """An axis with every mark on it, and as much of the intervals as leaves the marks apart."""
    low, high = float(np.nanmin(marks)), float(np.nanmax(marks))
    if ratio:
        return min(low / 1.6, 0.4), max(high * 1.6, 2.5)
    room = 0.08 * (high - low)
    return min(low - room, -0.2), max(high + room, 0.2)


def _names(axes: Axes, rows: pd.DataFrame) -> None:
    """The networks, left of the panels."""
    place = axes.get_yaxis_transform()
    box = axes.get_position()
    for line, (_, own) in enumerate(rows.groupby("line")):
        title, lr, seeds = own["scale_title"].iloc[0], own["lr"].iloc[0], own["n"].max()
        below = f"learning rate {written(lr)}, {seeds} seed{'s' if seeds > 1 else ''}"
        words = f"{textwrap.fill(title, CHARACTERS)}\n{below}"
        axes.text((0.012 - box.x0) / box.width, line, words, transform=place, va="center", fontsize=7, linespacing=1.25)


def _legend(rows: pd.DataFrame) -> list[Handle]:
    phases: list[Handle] = [
        handle(label, color=colour, marker="o", markersize=size, linewidth=0.9)
        for name, (label, _, colour, size) in PHASES.items()
        if (rows["phase"] == name).any()
    ]
    return [*phases, handle("paper's curves, as many steps", **_PAPER), Patch(color=SHADE, label="reduced")]


ANSWER = Figure("answer", "fig3_vgg", _find, _figure, "scale=cpu")
