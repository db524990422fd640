"""The paper's set-up by its first step: the candidates, nearest first, and their numbers beside the published ones."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from ics.analysis.fingerprint import (
    EXPERIMENT,
    FORMULA,
    SETUP,
    first_steps,
    images,
    papers_numbers,
    ranking,
    seed_noise,
    seeds_in_words,
)
from ics.analysis.load import Runs
from ics.analysis.select import select
from ics.figures import style
from ics.figures.axes import plain_ticks
from ics.figures.catalogue import Figure
from ics.figures.sheet import Handle, Sheet, handle

HOW_TO_READ = (
    "How to read: each line is a set-up, the one nearest to the paper on top; black is what sets it apart from that "
    "one. Dots: one update from the initial weights, with and without BatchNorm, at two learning rates; the nearer to "
    "the vertical lines of the same colour, the paper's own numbers, the better."
)

ROW = 0.165  # inches: a line of the list
PANELS = (
    ("ics_l2", 5, "‖G − G′‖₂, layer #5"),
    ("ics_cosine", 5, "cos∠(G, G′), #5"),
    ("ics_cosine", 10, "cos∠(G, G′), #10"),
)
RATES = {0.1: -0.16, 0.01: 0.16}
"""Learning rate -> where its dots stand in a line."""

RANGE = (1e-5, 300)
"""Of the shift's axis; large initial weights make standard networks explode."""

DASHES = {0.1: (0, (3.5, 1.5)), 0.01: (0, (1, 1.2))}
COLUMNS = {
    "model.depth": 0.008,
    "model.head": 0.045,
    "model.head_norm": 0.132,
    "data.scaling": 0.175,
    "model.init.name": 0.277,
    "optimizer.weight_decay": 0.366,
}
"""Where the words on a set-up begin, as shares of the sheet's width."""

HEADINGS = dict(zip(SETUP, ("VGG", "head", "BN", "input", "weights", "penalty"), strict=True))
WORDS = {
    "standardize": "unit variance",
    "unit": "0 to 1",
    "bytes_centered": "0–255 − mean",
    "none": "0–255",
    "glorot_uniform": "Glorot unif.",
    "glorot_normal": "Glorot norm.",
    "he_uniform": "He unif.",
    "he_normal": "He norm.",
    "pytorch": "PyTorch's",
}


def _find(runs: Runs) -> Iterator[tuple[str, tuple[pd.DataFrame, str]]]:
    """All set-ups that there are runs of, and what their data are called."""
    steps = first_steps(runs)
    if len(steps):
        yield "fingerprint", (steps, images(runs))


def _figure(found: tuple[pd.DataFrame, str]) -> Sheet:
    steps, data = found
    ranked = ranking(steps)
    noise = seed_noise(steps, ranked.iloc[0])
    seeds = (
        f"Dots: median, lines: range of {seeds_in_words(ranked)}, each with its own initial weights and batch. "
        "Triangles: beyond the axis."
    )
    notes = f"{HOW_TO_READ} {FORMULA[0].upper()}{FORMULA[1:]}. {seeds}"
    title = f"Which set-up did the paper use? {len(ranked)} candidates by their first step, {data}"
    sheet = Sheet(title, _legend(noise), notes, body=ROW * len(ranked) + 0.1, above=0.3, below=0.3)
    grid = sheet.grid(1, 4, left=0.425, right=0.985, wspace=0.12)
    first, *others = [sheet.add_subplot(grid[0, column]) for column in range(4)]
    _distances(first, ranked, noise)
    for axes, (quantity, layer, title) in zip(others, PANELS, strict=True):
        _numbers(axes, steps, ranked, quantity, layer)
        axes.set_title(title, fontsize=7)
    for axes in (first, *others):
        axes.set_ylim(len(ranked) - 0.4, -0.6)
        axes.set_yticks(range(len(ranked)), labels=[])
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
    _words(first, ranked)
    return sheet


def _distances(axes: Axes, ranked: pd.DataFrame, noise: float) -> None:
    lines = np.arange(len(ranked))
    axes.set_xscale("log")
    axes.hlines(lines, ranked["low"], ranked["high"], color="#222222", linewidth=0.9)
    axes.plot(ranked["distance"], lines, "o", color="#222222", markersize=3)
    left, right = axes.get_xlim()
    axes.axvspan(left, noise, color="#DDDDDD", linewidth=0)
    axes.set_xlim(left, right)
    steps = [m * 10.0**k for k in range(-3, 4) for m in (1, 3)]
    plain_ticks(axes.xaxis, [step for step in steps if left <= step <= right])
    axes.set_title("distance", fontsize=7)


def _numbers(axes: Axes, steps: pd.DataFrame, ranked: pd.DataFrame, quantity: str, layer: int) -> None:
    """One published number of every arm and rate: our set-ups as dots, the paper's as vertical lines."""
    if quantity == "ics_l2":
        axes.set_xscale("log")
        axes.set_xlim(*RANGE)
        plain_ticks(axes.xaxis, [1e-4, 1e-1, 1e2])
    else:
        axes.set_xlim(-0.13, 1.06)
    papers = papers_numbers()
    for arm in ("standard", "batch"):
        colour = style.COLOURS[arm]
        for rate, offset in RATES.items():
            this: dict[str, Any] = {"quantity": quantity, "layer": layer, "arm": arm, "lr": rate}
            (paper,) = select(papers, **this)["paper"]
            axes.axvline(paper, color=style.darker(colour), linewidth=0.8, linestyle=DASHES[rate], zorder=1.9)
            own = select(steps, **this).groupby(list(SETUP))["ours"].agg(["median", "min", "max"])
            found = own.loc[list(ranked[list(SETUP)].itertuples(index=False, name=None))]
            lines = np.arange(len(ranked)) + offset
            axes.hlines(lines, found["min"], found["max"], color=colour, linewidth=0.8)
            axes.plot(found["median"], lines, "o", color=colour, **_dot(rate))
            beyond = lines[found["median"] > RANGE[1]]
            axes.plot(np.full(len(beyond), 0.6 * RANGE[1]), beyond, ">", color=colour, **_dot(rate))


def _dot(rate: float) -> dict[str, Any]:
    filled = {} if rate == max(RATES) else {"markerfacecolor": "white"}
    return {"markersize": 2.8, "markeredgewidth": 0.8, **filled}


def _words(axes: Axes, ranked: pd.DataFrame) -> None:
    """What each set-up is, to the left of the panels."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    place = axes.get_yaxis_transform()
    box = axes.get_position()
    for name, x in COLUMNS.items():
        left = (x - box.x0) / box.width
        heading = axes.text(left, 1, HEADINGS[name], transform=axes.transAxes, va="bottom", fontsize=6.5, weight="bold")
        heading.set_y(1 + 4 / 72 / (box.height * figure.get_size_inches()[1]))
        for line, value in enumerate(ranked[name]):
            word = "no" if name == "model.head_norm" and value == "none" else WORDS.get(value, value)
            word = "none" if name == "model.head" and value == "none" else word
            colour = "#999999" if line and value == ranked[name].iloc[0] else "#000000"
            axes.text(left, line, word, transform=place, va="center", fontsize=6.5, color=colour)


def _legend(noise: float) -> list[list[Handle]]:
    arms: list[Handle] = [
        handle(
            f"{style.ARMS[arm].label}, lr {rate:g}", color=style.COLOURS[arm], marker="o", linewidth=0.8, **_dot(rate)
        )
        for arm in ("standard", "batch")
        for rate in RATES
    ]
    papers: list[Handle] = [handle(f"paper, lr {rate:g}", linewidth=0.8, linestyle=DASHES[rate]) for rate in RATES]
    between: list[Handle] = []
    if np.isfinite(noise):
        between = [Patch(color="#DDDDDD", label="as far apart as two seeds of the nearest set-up")]
    return [arms, papers + between]


FINGERPRINT = Figure("fingerprint", EXPERIMENT, HOW_TO_READ, _find, _figure)
