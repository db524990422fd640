"""Where the shift comes from: which block moved which layer, from how far away, and whether along a straight line."""

from collections.abc import Iterator
from dataclasses import replace

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes

from ics.analysis.claims.words import rate as written
from ics.analysis.load import Runs
from ics.analysis.measured import ALL_CAUSES
from ics.analysis.seeds import BAND
from ics.analysis.select import select
from ics.figures import style
from ics.figures.axes import cell_ticks, heat_map, plain_ticks, step_axis
from ics.figures.catalogue import Figure
from ics.figures.curves import draw_curves
from ics.figures.runs import Arms, BesidePaper, PaperRuns
from ics.figures.sheet import WIDTH, Handle, Sheet, handle

HOW_TO_READ = (
    "How to read: block j is what the forward pass uses from layer j on, before layer j + 1. Its share is how much of "
    "layer i's shift comes from updating block j alone: red adds to it, blue works against it. A column adds up "
    "to 1 where the blocks do not interact. Top: medians over seeds and steps, at the start (the first tenth of the "
    "training) and in its second half. Bottom left: the same by distance, second half. Middle: the first-order part "
    "against the measured one, a dot per pair. Right: how far the blocks' effects do not add up, and how far the shift "
    "is not linear in the update; medians over the layers."
)
ARMS = ("standard", "batch", "noisy_batch")
PHASES = {False: "start", True: "second half"}
"""Parts of the training, by whether they are late, see `part`."""

LIMIT = 0.5
"""Shares beyond are drawn like this one."""

CURVES, GAP = 1.9, 0.55
"""Inches: the height of the lower panels, and between them and the maps."""


def part(found: PaperRuns, late: bool) -> pd.DataFrame:
    """The single causes' rows of the start, or of the second half."""
    rows = found.table("origins")
    inside = rows["step"] >= found.last_step / 2 if late else rows["step"] < found.last_step / 10
    return rows[inside & (rows["cause_index"] != ALL_CAUSES)]


def _find(runs: Runs) -> Iterator[tuple[str, PaperRuns]]:
    """By scale and learning rate."""
    for model in ("vgg", "deep_linear"):
        for stem, found in BesidePaper("origins", (), model, ("origins",), Arms(ARMS, ()), None)(runs):
            for rate in sorted(found.rates):
                scale = replace(found.scale, runs=select(found.scale.runs, lr=rate))
                arms = tuple(arm for arm in ARMS if (scale.runs["arm"] == arm).any())
                yield f"{stem}_lr{rate:g}", replace(found, rates=(rate,), arms=arms, scale=scale)


def _figure(found: PaperRuns) -> Sheet:
    title = f"Origins of the shift: {found.scale.title}, learning rate {written(found.rates[0])}"
    side = 0.84 * WIDTH / (2 * len(found.arms))  # of a map, which is square
    notes = f"{HOW_TO_READ} {BAND[0].upper()}{BAND[1:]}."
    sheet = Sheet(title, [_legend(found)], notes, body=side + CURVES + GAP, above=0.4)
    outer = sheet.grid(2, 1, left=0.075, right=0.935, hspace=2 * GAP / (side + CURVES), height_ratios=(side, CURVES))
    maps = outer[0].subgridspec(1, 2 * len(found.arms) + 1, width_ratios=[*[1] * 2 * len(found.arms), 0.06], wspace=0.1)
    bar = sheet.add_subplot(maps[-1])
    for column in range(2 * len(found.arms)):
        arm, late = found.arms[column // 2], bool(column % 2)
        axes = sheet.add_subplot(maps[column])
        _map(axes, part(found, late), arm, bar)
        axes.set_title(f"{style.ARMS[arm].label}\n{PHASES[late]}", fontsize=7.5)
        axes.set_xlabel("layer i")
        axes.set_ylabel("block j" if column == 0 else "")
        if column:
            axes.set_yticks([])
    below = outer[1].subgridspec(1, 3, wspace=0.34)
    profile, line, course = (sheet.add_subplot(below[column]) for column in range(3))
    _profile(profile, found)
    _linear(line, found)
    _course(course, found)
    return sheet


def _map(axes: Axes, rows: pd.DataFrame, arm: str, bar: Axes) -> None:
    """The median share of every pair: blocks downwards, layers to the right."""
    table = rows[rows["arm"] == arm].pivot_table("share", "cause_index", "layer_index", "median")
    heat_map(table, axes, cmap="RdBu_r", vmin=-LIMIT, vmax=LIMIT, cbar_ax=bar, square=True)
    cell_ticks(axes.xaxis, table.columns, 4)
    cell_ticks(axes.yaxis, table.index, 4)
    axes.tick_params(length=2, labelsize=6.5)
    axes.grid(visible=False)
    bar.set_ylabel("share of the layer's shift", fontsize=7)
    bar.tick_params(labelsize=6.5, length=2)


def _profile(axes: Axes, found: PaperRuns) -> None:
    rows = part(found, late=True)
    rows = rows.assign(distance=rows["layer_index"] - rows["cause_index"])
    medians = rows.groupby(["arm", "run", "distance"], observed=True)["share"].median().reset_index()
    far = medians.rename(columns={"distance": "step"}).assign(status="done")
    axes.axhline(0, **style.IDEAL)
    draw_curves(axes, far, "share")
    axes.set(xlabel="distance i − j", ylabel="median share")


def _linear(axes: Axes, found: PaperRuns) -> None:
    rows = part(found, late=True)
    pair = ["arm", "cause_index", "layer_index"]
    medians = rows.groupby(pair)[["l2", "linear_l2"]].median().reset_index()
    medians = medians[(medians["l2"] > 0) & (medians["linear_l2"] > 0)]
    axes.set(xscale="log", yscale="log", xlabel="measured ‖S‖₂", ylabel="linear ‖H ΔW‖₂")
    if medians.empty:
        return
    sns.scatterplot(medians, x="l2", y="linear_l2", hue="arm", palette=style.COLOURS, s=5, linewidth=0, legend=False,
                    ax=axes, alpha=0.6)  # fmt: skip
    ends = [medians[["l2", "linear_l2"]].min().min(), medians[["l2", "linear_l2"]].max().max()]
    axes.plot(ends, ends, **style.IDEAL)
    decades = [m * 10.0**k for k in range(-12, 12) for m in ((1, 3) if ends[1] < 100 * ends[0] else (1,))]
    plain_ticks(axes.xaxis, [tick for tick in decades if ends[0] <= tick <= ends[1]])
    axes.set(xlabel="measured ‖S‖₂", ylabel="linear ‖H ΔW‖₂")


def _course(axes: Axes, found: PaperRuns) -> None:
    together = select(found.table("origins"), cause_index=ALL_CAUSES)
    keys = ["arm", "run", "status", "step"]
    medians = together.groupby(keys, observed=True)[["interaction", "linear_error"]].median().reset_index()
    axes.set_yscale("log")
    for column, dashes in (("interaction", "-"), ("linear_error", (0, (3, 1.5)))):
        draw_curves(axes, medians, column, linestyle=dashes)
    axes.set_ylabel("beyond the sum, beyond the line")
    step_axis(axes, found.last_step, labelled=True)


def _legend(found: PaperRuns) -> list[Handle]:
    return [
        *(handle(found.label(arm), color=style.COLOURS[arm]) for arm in found.arms),
        handle("interaction", linestyle="-"),
        handle("linear error", linestyle=(0, (3, 1.5))),
        handle("0, or equal", **style.IDEAL),
    ]


ORIGINS = Figure("origins", "origins", _find, _figure, "scale=cpu")
