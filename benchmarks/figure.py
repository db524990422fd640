"""The benchmark's table for people, and its figure; from `results/benchmark/<device>.csv` alone."""

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from ics.analysis.markdown import number, table
from ics.figures import style
from ics.figures.axes import plain_ticks
from ics.figures.sheet import Sheet, handle

WAYS = {
    "definition": ("definition", "#7A4A2E", "o"),
    "pruned": ("definition, pruned", "#D55E00", "s"),
    "replay": ("replay", "#1F4E9E", "D"),
}
STEPS = (1, 2, 5, 10, 20, 50, 100)
"""Numbers of plain steps on the axes."""

NOTES = (
    "How to read: the time to compute every measured layer's gradient G′, in training steps of the same network "
    "without measuring; lower is better; VGG's channels as a share of the original's; (c) 1,000 samples, (d) 25 "
    "layers, 100 samples. Definition: a full forward and backward pass for every layer; pruned: its backward passes "
    "go no deeper than the layer; replay: its forward passes skip what lies before the layer as well. The limit is "
    "what replay would take if nothing but counted multiplications took time. Medians of rounds in turn, on one thread."
)


def to_markdown(path: Path) -> str:
    """The table, one line per case and a column for each way."""
    rows = pd.read_csv(path)
    keys = ["group", "network", "batch", "layers", "width", "threads"]
    text = "# What measuring costs, in plain training steps of the same network\n\n"
    text += f"Widths are the deep linear networks'. Command, commit, versions and machine: `{path.stem}.json`.\n\n"
    measured = rows[rows["way"].isin([*WAYS, "probe"]) & (rows["group"] != "not due")]
    lines = []
    for key, group in measured.groupby(keys, sort=False):
        of = group.set_index("way")
        ratios = of["ratio"].to_dict()
        limit, extra = of["limit"].iloc[-1], of["extra_mib"].iloc[-1]
        cells = [number(ratios[way]) if way in ratios else "–" for way in (*WAYS, "probe")]
        share = number(ratios["definition"] / ratios["probe"])
        lines.append([*(str(part or "–") for part in key), *cells, number(limit), f"{share}×", number(extra, 2)])
    header = [*keys, *WAYS, "probe", "limit", "definition / probe", "probe's extra MiB"]
    text += table(header, lines)
    origins = rows[rows["way"] == "origins"]
    if len(origins):
        shown = [[name, *map(number, those)] for name, *those in _columns(origins, "ratio", "limit", "extra_mib")]
        text += "\n`origins=True`, which says as well which block moved which layer, in all:\n\n"
        text += table(["network", "origins", "limit", "extra MiB"], shown)
    due = rows[rows["group"] == "not due"]
    text += "\nA step at which nothing is due, beside one without a probe: "
    text += "; ".join(f"{name} {100 * (ratio - 1):+.2f} %" for name, ratio in _columns(due, "ratio")) + ".\n"
    return text


def _columns(rows: pd.DataFrame, *names: str) -> list[tuple[Any, ...]]:
    """By row: the network and these numbers."""
    return list(zip(rows["network"], *(rows[name].astype(float) for name in names), strict=True))


def draw(path: Path, stem: Path) -> list[Path]:
    """The figure, as `<stem>.png` and `<stem>.pdf`."""
    with style.style():
        return style.save(_figure(pd.read_csv(path)), stem)


def _figure(rows: pd.DataFrame) -> Sheet:
    ways = [
        handle(label, color=colour, marker=marker, markersize=4, linewidth=0.8)
        for label, colour, marker in WAYS.values()
    ]
    sheet = Sheet(
        "What measuring every layer costs", [[*ways, handle("counted limit", **style.IDEAL)]], NOTES, body=2.4
    )
    # The second column is room for an axis.
    grid = sheet.grid(1, 5, wspace=0.16, left=0.22, width_ratios=[1.6, 0.25, 1, 1, 1])
    networks, *curves = [sheet.add_subplot(grid[0, i]) for i in (0, 2, 3, 4)]
    networks.set_title("(a) networks", loc="left")
    _networks(networks, rows[rows["group"] == "networks"])
    for axes, title, chosen, x, label in (
        (curves[0], "(b) VGG-16-BN", rows["group"] == "batch", "batch", "samples per batch"),
        (
            curves[1],
            "(c) deep linear",
            (rows["group"] == "depth") & (rows["network"] == "deep linear"),
            "layers",
            "layers",
        ),
        (curves[2], "(d) deep linear", rows["group"] == "width", "width", "width"),
    ):
        axes.set_title(title, loc="left")
        _curve(axes, rows[chosen], x, label)
        axes.tick_params(labelleft=axes is curves[0])
    curves[0].set_ylabel("plain training steps")
    return sheet


def _networks(axes: Axes, rows: pd.DataFrame) -> None:
    names = list(dict.fromkeys(rows["network"]))
    heights = {name: -i for i, name in enumerate(names)}
    axes.set_xscale("log")
    for way, (_, colour, marker) in WAYS.items():
        mine = rows[rows["way"] == way]
        places = [heights[name] for name in mine["network"]]
        axes.plot(mine["ratio"], places, linestyle="none", marker=marker, markersize=4, color=colour)
    for name, limit in rows.groupby("network", sort=False)["limit"].first().items():
        axes.plot([limit, limit], [heights[str(name)] - 0.35, heights[str(name)] + 0.35], **style.IDEAL)
    axes.set_yticks([heights[name] for name in names], names)
    plain_ticks(axes.xaxis, STEPS)
    axes.set_xlabel("plain training steps")


def _curve(axes: Axes, rows: pd.DataFrame, x: str, label: str) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    for way, (_, colour, marker) in WAYS.items():
        mine = rows[rows["way"] == way].sort_values(x)
        axes.plot(mine[x], mine["ratio"], marker=marker, markersize=3, color=colour)
    axes.set_ylim(2, 120)
    limits = rows.groupby(x)["limit"].first()
    axes.plot(limits.index, limits, **style.IDEAL)
    plain_ticks(axes.yaxis, STEPS)
    plain_ticks(axes.xaxis, sorted(rows[x].unique()))
    axes.set_xlabel(label)
