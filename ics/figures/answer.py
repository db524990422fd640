"""The answer in one figure: the shift with BatchNorm beside that without, network by network, early to late."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from ics.analysis.claims import covariate_shift
from ics.analysis.claims.claim import EARLY, LATE, MIDDLE, WHOLE, Claim
from ics.analysis.claims.judge import Evidence, evaluate
from ics.analysis.load import Runs
from ics.figures import style
from ics.figures.catalogue import Figure
from ics.figures.sheet import Handle, Sheet

HOW_TO_READ = (
    "How to read: each mark compares networks with BatchNorm and without, at the paper's two layers: a mean over pairs "
    "of runs with the same seed, with its 95 % interval, which may leave the panel. An interval inside the shaded part "
    "says that BatchNorm reduces the shift, one outside of it that BatchNorm does not. The verdicts are those of the "
    "black marks. Early: the first tenth of the training; middle: from there to its half; late: the rest."
)
ROW = 0.66  # inches: a network at one learning rate
GAP = 0.34  # inches: between the kinds of network, whose axes differ
LABELS = 0.335  # share of the width that the networks' names take
SHADE = "#F3E3D3"


@dataclass(frozen=True)
class Look:
    """How one phase of the training is drawn.

    Attributes:
        label: in the legend.
        offset: from the middle of its network's line, in lines.
        colour: of the mark and its interval.
        size: of the mark, in points.
    """

    label: str
    offset: float
    colour: str
    size: float


PHASES = {
    WHOLE.name: Look("all steps", -0.19, "#000000", 4.6),
    EARLY.name: Look("early", 0.01, "#7FB8E6", 3.4),
    MIDDLE.name: Look("middle", 0.18, "#3C7DC0", 3.4),
    LATE.name: Look("late", 0.35, "#1B3F77", 3.4),
}
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


def draw(runs: Runs, folder: Path) -> list[Path]:
    """One figure, of all networks that there are runs of with BatchNorm and without."""
    found = _comparisons(runs)
    if found.empty:
        return []
    with style.style():
        return style.save(_figure(found).figure, folder / "answer")


ANSWER = Figure("answer", "fig3_vgg", HOW_TO_READ, draw, "scale=cpu")


def _figure(found: pd.DataFrame) -> Sheet:
    blocks = [rows for _, rows in found.groupby("model", sort=False)]
    lines = [len(_networks(rows)) for rows in blocks]
    body = ROW * sum(lines) + GAP * (len(blocks) - 1)
    hspace = GAP * len(blocks) / (ROW * sum(lines))
    sheet = Sheet(covariate_shift.QUESTION, [_legend(found)], HOW_TO_READ, body, above=0.42, below=0.3)
    grid = sheet.grid(
        len(blocks), len(PANELS), left=LABELS, right=0.985, wspace=0.09, hspace=hspace, height_ratios=lines
    )
    for number, rows in enumerate(blocks):
        panels = [sheet.figure.add_subplot(grid[number, column]) for column in range(len(PANELS))]
        for axes, (quantity, title) in zip(panels, PANELS.items(), strict=True):
            _panel(axes, rows[rows["quantity"] == quantity], _networks(rows))
            axes.set_title("" if number else title, fontsize=7.5)
        _names(panels[0], rows)
    return sheet


def _comparisons(runs: Runs) -> pd.DataFrame:
    """The claim's rows at the paper's layers, whole and by phase, with what tells them apart."""
    evidence = Evidence(runs)
    parts = [_rows(claim, evidence) for claim in covariate_shift.claims() if _is_shown(claim)]
    return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)


def _is_shown(claim: Claim) -> bool:
    return claim.name == covariate_shift.CLAIM and len(claim.statistic.layers or ()) > 1


def _rows(claim: Claim, evidence: Evidence) -> pd.DataFrame:
    rows = evaluate([claim], evidence)
    return rows[rows["n"] > 0]


def _networks(rows: pd.DataFrame) -> list[tuple[str, float]]:
    """The lines of a block: scale and learning rate."""
    return list(dict.fromkeys(zip(rows["scale_title"].astype(str), rows["lr"].astype(float), strict=True)))


def _panel(axes: Axes, rows: pd.DataFrame, networks: Sequence[tuple[str, float]]) -> None:
    """One measure: a line for each network, a mark for each phase, the paper's number above that of all steps."""
    ratio = rows["unit"].iloc[0] == "log10 ratio"
    numbers = rows[["effect", "low", "high", "papers_effect", "claimed_low", "claimed_high"]]
    values = rows.assign(**(10**numbers if ratio else numbers))
    if ratio:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"×{value:,g}"))
        axes.xaxis.set_minor_locator(NullLocator())
    left, right = _limits(values[["effect", "papers_effect"]].to_numpy(), ratio)
    axes.set_xlim(left, right)
    if ratio and right / left < 100:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    claimed = values.iloc[0]
    reduced = (left, claimed["claimed_low"]) if ratio else (claimed["claimed_high"], right)
    axes.axvspan(*reduced, color=SHADE, linewidth=0, zorder=0)
    axes.axvline(1 if ratio else 0, color="#888888", linewidth=0.7, zorder=1)
    for row in values.to_dict("records"):
        look = PHASES[str(row["phase"])]
        y = networks.index((str(row["scale_title"]), float(row["lr"]))) + look.offset
        axes.hlines(y, row["low"], row["high"], color=look.colour, linewidth=1.1 if row["headline"] else 0.8)
        axes.plot(row["effect"], y, "o", color=look.colour, markersize=look.size)
        if row["headline"]:
            axes.plot(row["papers_effect"], y - 0.17, **_PAPER)
    axes.set_ylim(len(networks) - 0.45, -0.55)
    axes.set_yticks([line + 0.5 for line in range(len(networks) - 1)], labels=[])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="x")
    axes.spines["left"].set_visible(False)


def _limits(marks: "np.ndarray[tuple[int, int], np.dtype[np.float64]]", ratio: bool) -> tuple[float, float]:
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
    for line, (title, lr) in enumerate(_networks(rows)):
        seeds = rows.loc[(rows["scale_title"] == title) & (rows["lr"] == lr), "n"].max()
        network = rows.loc[rows["scale_title"] == title, "network"].iloc[0]
        rest = title.removeprefix(f"{network}, ")
        words = f"{network}\n{rest}\nlearning rate {style.number(lr)}, {seeds} seed{'s' if seeds > 1 else ''}"
        axes.text((0.012 - box.x0) / box.width, line, words, transform=place, va="center", fontsize=7, linespacing=1.25)


def _legend(rows: pd.DataFrame) -> list[Handle]:
    phases: list[Handle] = [
        Line2D([], [], color=look.colour, marker="o", markersize=look.size, linewidth=0.9, label=look.label)
        for name, look in PHASES.items()
        if (rows["phase"] == name).any()
    ]
    return [*phases, Line2D([], [], label="paper's curves, all steps", **_PAPER), Patch(color=SHADE, label="reduced")]
