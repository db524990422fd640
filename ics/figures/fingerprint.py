"""The paper's set-up by its first step: the candidates, nearest first, and how far each of their numbers is off."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from ics.analysis import fingerprint
from ics.analysis.load import Runs
from ics.figures import style
from ics.figures.axes import heat_map, plain_ticks
from ics.figures.catalogue import Figure
from ics.figures.sheet import Handle, Sheet, handle

HOW_TO_READ = (
    "How to read: each line is a set-up, the one nearest to the paper on top; black is what sets it apart from that "
    "one. Left: distance from the paper. Right: each published number of step 0; white is the paper's own, red is "
    "too large, blue too small."
)

ROW = 0.165  # inches: a line of the list
LIMIT = 1.5
"""Where the colours end: a factor of e^1.5, about 4.5."""

COLUMNS = {
    "model.head": ("head", 0.008),
    "model.head_norm": ("BN", 0.088),
    "data.scaling": ("input", 0.127),
    "data.gain": ("times", 0.23),
    "weights": ("weights", 0.277),
}
"""The heading of the words on a set-up, and where they begin, as a share of the sheet's width."""

WORDS = {
    "standardize": "unit variance",
    "per_image": "per image",
    "unit": "0 to 1",
    "bytes_centered": "0–255 − mean",
    "glorot_uniform": "Glorot",
    "he_normal": "He",
    "lecun_uniform": "1/fan_in",
    "he_normal_fan_out, lecun_uniform": "2/fan_out, 1/fan_in",
}
SYMBOLS = {
    "ics_l2": "ℓ₂",
    "ics_cosine": "cos",
    "loss_range": "loss",
    "gradient_predictiveness_range": "pred.",
    "effective_beta_smoothness": "β",
}
EDGES = {"value": "", "low": " low", "high": " high"}


def _find(runs: Runs) -> Iterator[tuple[str, tuple[pd.DataFrame, str]]]:
    """All set-ups that there are runs of, and what their data are called."""
    steps = fingerprint.first_steps(runs)
    if len(steps):
        yield "fingerprint", (steps, fingerprint.images(runs))


def _figure(found: tuple[pd.DataFrame, str]) -> Sheet:
    steps, data = found
    ranked = fingerprint.ranking(steps)
    noise = fingerprint.seed_noise(steps)
    seeds = f"Medians over {fingerprint.seeds_in_words(ranked)}, each with its own initial weights and batch"
    notes = f"{HOW_TO_READ} {fingerprint.FORMULA[0].upper()}{fingerprint.FORMULA[1:]}. {seeds}; lines: their range."
    title = f"Which set-up did the paper use? {len(ranked)} candidates by their first step, {data}"
    sheet = Sheet(title, [_legend(noise)], notes, body=ROW * len(ranked) + 0.1, above=0.75, below=0.3)
    grid = sheet.grid(1, 2, left=0.425, right=0.985, wspace=0.05, width_ratios=(1, 2.3))
    left, right = (sheet.add_subplot(grid[0, column]) for column in range(2))
    _distances(left, ranked, noise)
    _errors(right, steps, ranked)
    _words(left, ranked)
    return sheet


def _distances(axes: Axes, ranked: pd.DataFrame, noise: float) -> None:
    lines = np.arange(len(ranked))
    axes.set_xscale("log")
    axes.hlines(lines, ranked["low"], ranked["high"], color="#222222", linewidth=0.9)
    for arm in ("standard", "batch"):
        axes.plot(ranked[f"distance_{arm}"], lines, "o", color=style.COLOURS[arm], markersize=2.6)
    axes.plot(ranked["distance"], lines, "D", color="#222222", markersize=2.8)
    left, right = axes.get_xlim()
    axes.axvspan(left, noise, color="#DDDDDD", linewidth=0)
    axes.set_xlim(left, right)
    steps = [m * 10.0**k for k in range(-3, 4) for m in (1, 3)]
    plain_ticks(axes.xaxis, [step for step in steps if left <= step <= right])
    axes.set_title("distance", fontsize=7)
    axes.set_ylim(len(ranked) - 0.5, -0.5)
    axes.set_yticks(range(len(ranked)), labels=[])
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _errors(axes: Axes, steps: pd.DataFrame, ranked: pd.DataFrame) -> None:
    """A line per set-up, a column per published number, the standard network's first."""
    papers = fingerprint.papers_numbers()
    order = papers.assign(place=papers["arm"] == "batch").sort_values("place", kind="stable")
    columns = list(order[fingerprint.NUMBER].fillna(0).itertuples(index=False, name=None))
    errors = steps.assign(layer=steps["layer"].fillna(0)).pivot_table(
        "error", list(fingerprint.SETUP), fingerprint.NUMBER, "median"
    )
    setups = list(ranked[list(fingerprint.SETUP)].itertuples(index=False, name=None))
    table = errors.loc[setups, columns].to_numpy(dtype=float)
    limits = {"vmin": -LIMIT, "vmax": LIMIT}
    heat_map(pd.DataFrame(table), axes, cmap="RdBu_r", cbar=False, linewidths=0.3, rasterized=False, **limits)
    words = [f"{SYMBOLS[quantity]}{EDGES[edge]}{f' #{layer}' if layer else ''}" for _, quantity, layer, edge in columns]
    axes.xaxis.tick_top()
    axes.set_xticks(np.arange(len(columns)) + 0.5, labels=words, rotation=90, fontsize=6)
    axes.tick_params(length=0)
    axes.set_yticks([])
    half = len(columns) / 2
    axes.axvline(half, color="black", linewidth=0.8)
    for arm, x in (("standard", half / 2), ("batch", 1.5 * half)):
        axes.text(x, len(table) + 0.9, style.ARMS[arm].label, ha="center", va="center", fontsize=7)


def _words(axes: Axes, ranked: pd.DataFrame) -> None:
    """What each set-up is, to the left of the panels."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    place = axes.get_yaxis_transform()
    box = axes.get_position()
    for name, (heading, x) in COLUMNS.items():
        left = (x - box.x0) / box.width
        top = 1 + 4 / 72 / (box.height * figure.get_size_inches()[1])
        axes.text(left, top, heading, transform=axes.transAxes, va="bottom", fontsize=6.5, weight="bold")
        for line, value in enumerate(ranked[name]):
            word = "no" if name == "model.head_norm" and value == "none" else WORDS.get(value, value)
            colour = "#999999" if line and value == ranked[name].iloc[0] else "#000000"
            axes.text(left, line, word, transform=place, va="center", fontsize=6.5, color=colour)


def _legend(noise: float) -> list[Handle]:
    dots: list[Handle] = [handle("all numbers", color="#222222", marker="D", markersize=2.8, linewidth=0.9)]
    dots += [
        handle(f"{style.ARMS[arm].label} alone", color=style.COLOURS[arm], marker="o", markersize=2.6, linewidth=0)
        for arm in ("standard", "batch")
    ]
    if np.isfinite(noise):
        dots.append(Patch(color="#DDDDDD", label="as far apart as two seeds of one set-up"))
    return dots


FINGERPRINT = Figure("fingerprint", fingerprint.EXPERIMENT, _find, _figure)
