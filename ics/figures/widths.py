"""Whether what BatchNorm does to the shift hangs on the width: the same set-up at several widths, and the paper's."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pandas as pd
import seaborn as sns

from ics.analysis.claims.covariate_shift import NETS
from ics.analysis.load import Runs
from ics.analysis.measured import QUANTITIES, Measured
from ics.analysis.paper import PAPERS_NAME, all_paper_points
from ics.analysis.scales import Scale, has_found_setup, split_by_scale
from ics.analysis.select import select
from ics.figures import style
from ics.figures.axes import fit, step_axis
from ics.figures.catalogue import Figure
from ics.figures.curves import draw_curves
from ics.figures.panels import RATES, SEEDS
from ics.figures.runs import PAIR
from ics.figures.sheet import Sheet, handle, row_label

WIDTH = "model.width"
MODEL = "vgg"
LABELS = {"ics_l2": "‖G − G′‖₂\nBatchNorm / standard", "ics_cosine": "cos∠(G, G′)\nBatchNorm − standard"}
HOW_TO_READ = (
    "How to read: above the dotted line of ‖G − G′‖₂, or below that of the cosine, BatchNorm makes the shift larger. "
    "Where the colours lie on one another, a narrow network tells what a wide one would. Over pairs of runs with the "
    "same seed."
)


@dataclass(frozen=True)
class Widths:
    """What the figure shows.

    Attributes:
        scale: runs that differ in their width, and in how long they went on.
        pairs: quantity -> `effects` of all pairs of runs.
        papers: quantity -> `effects` of the paper's curves.
    """

    scale: Scale
    pairs: dict[str, pd.DataFrame]
    papers: dict[str, pd.DataFrame]


def effects(rows: pd.DataFrame, quantity: str, by: list[str]) -> pd.DataFrame:
    """BatchNorm beside standard, as a ratio or a difference: `by`, layer, step, value; rows where both are."""
    arms = rows.pivot(index=[*by, "layer", "step"], columns="arm", values="value").reindex(columns=PAIR.shown)
    standard, batch = (arms[arm] for arm in PAIR.shown)
    value = batch / standard if QUANTITIES[quantity].log else batch - standard
    return value.dropna().rename("value").reset_index()


def _figure(found: Widths) -> Sheet:
    pairs = found.pairs["ics_l2"]
    seeds = pairs.groupby("width")["seed"].nunique()
    colours = dict(zip(seeds.index, sns.color_palette("flare", len(seeds)), strict=True))
    entries = [
        handle(f"width ×{width:g} ({n} seed{'s' if n > 1 else ''})", color=colours[width], linewidth=1.6)
        for width, n in seeds.items()
    ]
    lines = [handle("paper: digitised, one run", color=style.GREY, **style.PAPER), handle("no change", **style.IDEAL)]
    run = found.scale.runs.iloc[0]
    title = f"The shift by width: {found.scale.network} on {run['data_label']}, lr {RATES[MODEL][0]:g}"
    layers, last = NETS[MODEL][0], int(pairs["step"].max())
    unnumbered = " and ".join(f"#{layer}" for layer in sorted({*layers} - {*found.papers["ics_l2"]["layer"]}))
    notes = f"{HOW_TO_READ} {SEEDS} The paper's ℓ₂ axis for layer {unnumbered} has no numbers."
    sheet = Sheet(title, [entries, lines], notes, body=3.4)
    grid = sheet.grid(len(LABELS), len(layers), left=0.135, wspace=0.2, hspace=0.14)
    for row, (quantity, label) in enumerate(LABELS.items()):
        log = QUANTITIES[quantity].log
        panels = [sheet.add_subplot(grid[row, column]) for column in range(len(layers))]
        for axes, layer in zip(panels, layers, strict=True):
            axes.set_yscale("log" if log else "linear")
            draw_curves(axes, select(found.pairs[quantity], layer=layer), hue="width", palette=colours)
            papers = select(found.papers[quantity], layer=layer).query("step <= @last")
            axes.plot(papers["step"], papers["value"], color=style.GREY, **style.PAPER)
            axes.axhline(1 if log else 0, **style.IDEAL)
            step_axis(axes, last, labelled=row == len(LABELS) - 1)
            axes.set_title("" if row else f"Layer #{layer}")
        if log:
            fit(panels)
        else:
            lows, highs = zip(*(axes.get_ylim() for axes in panels), strict=True)
            for axes in panels:
                axes.set_ylim(min(lows), max(highs))
        row_label(panels[0], label, x=0.045)
    return sheet


def _find(runs: Runs) -> Iterator[tuple[str, Widths]]:
    settings = runs.settings
    if "shift" not in runs or WIDTH not in settings:
        return
    longer = settings[settings["steps"] > 1]
    mine = longer[pd.Series([has_found_setup(run) for _, run in longer.iterrows()], longer.index, dtype=bool)]
    mine = select(mine[mine["run"].isin(runs["shift"]["run"].unique())], lr=RATES[MODEL][0], arm=PAIR.shown)
    for scale in split_by_scale(mine, sweep=(WIDTH, "steps")) if len(mine) else ():
        # Of a run that was made twice the longer one.
        longest = scale.runs.sort_values("steps").drop_duplicates([WIDTH, "arm", "seed"], keep="last")
        kept = replace(scale, runs=longest)
        pairs = {name: _pairs(name, runs, kept) for name in LABELS}
        if pairs["ics_l2"]["width"].nunique() > 1:
            papers = {name: _papers(name) for name in LABELS}
            yield f"widths_{longest['data_label'].iloc[0]}", Widths(kept, pairs, papers)


def _pairs(quantity: str, runs: Runs, scale: Scale) -> pd.DataFrame:
    widths = scale.runs.set_index("run")[WIDTH].astype(float)
    rows = Measured(runs, scale).curve(quantity)
    found = effects(rows.assign(width=rows["run"].astype(str).map(widths)), quantity, ["width", "seed"])
    return found.assign(run=found["seed"], status="done")


def _papers(quantity: str) -> pd.DataFrame:
    points = select(all_paper_points(), figure="3a", model=PAPERS_NAME[MODEL], quantity=quantity)
    return effects(select(points, lr=RATES[MODEL][0], axis_labelled=True), quantity, [])


WIDTHS = Figure("widths", "fig3_vgg", _find, _figure, "scale=cpu,half")
