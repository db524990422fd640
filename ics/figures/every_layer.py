"""Every layer at every step: the cosine and ‖G − G′‖₂ of both networks as heat maps, and their difference."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Patch, PathPatch
from matplotlib.path import Path

from ics.analysis.claims.covariate_shift import NETS
from ics.analysis.load import Runs
from ics.analysis.measured import QUANTITIES
from ics.figures import style
from ics.figures.axes import cell_ticks, heat_map
from ics.figures.catalogue import Figure
from ics.figures.runs import PAIR, BesidePaper, PaperRuns
from ics.figures.sheet import Sheet

HOW_TO_READ = (
    "How to read: one row per layer, from the start of the training to its end; medians over the seeds. Left: both "
    "networks, darker where the gradient turns less or moves less far. Right: BatchNorm minus standard, over pairs of "
    "runs with the same seed; blue where the shift is smaller with BatchNorm, orange where it is larger, hatched where "
    "the seeds do not all agree on which. The first layer is left out: it has no shift."
)
HATCH: dict[str, Any] = {"hatch": "/////", "edgecolor": "#555555", "linewidth": 0}
COLUMNS = 50
"""At most so many along the steps; a cell is the median of its steps."""

LESS, MORE = style.COLOURS["batch"], style.COLOURS["standard"]
_COLOURS = ["#5E2600", MORE, "#F6B27F", "#FFFFFF", "#9DB4DA", LESS, "#0B1F45"]  # white in the middle: no difference
DIVERGING = LinearSegmentedColormap.from_list("more-less", _COLOURS)

MEASURES = {"ics_cosine": "cos∠(G, G′)", "ics_l2": "log₁₀ ‖G − G′‖₂"}
TITLES = ("standard", "BatchNorm", "BatchNorm − standard")


def _figure(runs: PaperRuns) -> Sheet:
    layers = int(runs.measured.curve("ics_l2")["layer"].nunique())
    hatched = Patch(facecolor="white", label="seeds disagree on the sign", **HATCH | {"linewidth": 0.5})
    rows = list(product(runs.rates, MEASURES.items()))
    body = (0.36 + 0.055 * max(layers, 9)) * len(rows)
    sheet = Sheet(f"Every layer: {runs.scale.title}", [[hatched]], HOW_TO_READ, body)
    ratios = [1, 1, 0.045, 0.24, 1, 0.045]  # two networks and their scale, a gap, the difference and its scale
    grid = sheet.grid(len(rows), 6, left=0.115, right=0.93, width_ratios=ratios, wspace=0.07, hspace=0.18)
    for row, (rate, (quantity, label)) in enumerate(rows):
        standard, batch, scale, difference, differences = (sheet.add_subplot(grid[row, at]) for at in (0, 1, 2, 4, 5))
        maps = (standard, batch, difference)
        log = QUANTITIES[quantity].log
        _row(maps, (scale, differences), binned(runs.ours(quantity, rate), runs.last_step, log), label, log)
        for axes, name in zip(maps, TITLES, strict=True):
            _steps(axes, runs.last_step, labelled=row == len(rows) - 1, beside=axes is standard)
            axes.set_title("" if row else name, fontsize=7.5)
        if not row % len(MEASURES):
            sheet.beside(standard.get_position().y0, rate)
    return sheet


def binned(rows: pd.DataFrame, last_step: int, log: bool) -> dict[str, pd.DataFrame]:
    """A quantity in cells of the steps: of both arms, and their difference over pairs of runs with the same seed.

    Args:
        rows: of both arms, as from `Measured`.
        last_step: of the training.
        log: whether its logarithm is taken.

    Returns:
        One row per seed and layer, a column per cell, named after its first step; without the first layer.
    """
    rows = rows[rows["layer"] > 1]
    width = max(1, -(-last_step // COLUMNS))
    values = rows["value"].astype(float)
    values = values.where(values > 0).transform(np.log10) if log else values
    keys = [rows["arm"], rows["seed"], rows["layer"], rows["step"] // width * width]
    cells = values.groupby(keys).median().unstack()
    arms = {arm: pd.DataFrame(cells.loc[arm]) for arm in PAIR.shown}
    return arms | {"difference": arms["batch"].sub(arms["standard"])}


def _row(
    maps: Sequence[Axes], scales: Sequence[Axes], cells: Mapping[str, pd.DataFrame], label: str, log: bool
) -> None:
    """One measure at one rate: both networks by one scale, their difference by its own."""
    medians = [panel.groupby("layer").median() for panel in cells.values()]
    low, high = (_quantile(pd.concat(medians[:2]), share) for share in (0.01, 0.99))
    far = _quantile(medians[2].abs(), 0.98)
    palette = sns.color_palette("mako" if log else "mako_r", as_cmap=True), DIVERGING.reversed() if log else DIVERGING
    for axes, median, which in zip(maps, medians, (0, 0, 1), strict=True):
        limits = {"vmin": -far if which else low, "vmax": far if which else high}
        heat_map(median, axes, cmap=palette[which], cbar_ax=scales[which], **limits)
    cell_ticks(maps[0].yaxis, medians[0].index, 5)
    maps[0].set_ylabel("layer")
    for scale in scales:
        scale.set_ylabel(label, fontsize=7)
        scale.tick_params(labelsize=6.5, length=2)
    signs = cells["difference"].transform(np.sign).groupby("layer")
    apart = np.argwhere(signs.min().to_numpy() < signs.max().to_numpy())
    cells_apart = Path.make_compound_path_from_polys(apart[:, None, ::-1] + np.array([(0, 0), (1, 0), (1, 1), (0, 1)]))
    maps[2].add_patch(PathPatch(cells_apart, facecolor="none", **HATCH))  # one patch: each is hatched on its own


def _quantile(values: pd.DataFrame, share: float) -> float:
    """Of all values; 0 where there are none, as where no layer shifts."""
    finite = values.to_numpy()[np.isfinite(values.to_numpy())]
    return float(np.quantile(finite, share)) if len(finite) else 0.0


def _steps(axes: Axes, last_step: int, labelled: bool, beside: bool) -> None:
    """The first, middle and last step; not the last where another panel's first is so close that they would touch."""
    shares = (0, 0.5) if beside else (0, 0.5, 1)
    labels = [f"{share * last_step:,.0f}" for share in shares] if labelled else []
    axes.set_xticks([axes.get_xlim()[1] * share for share in shares], labels=labels, rotation=0)
    axes.set_xlabel("training step" if labelled else "")


def _find(runs: Runs) -> Iterator[tuple[str, PaperRuns]]:
    for model, (_, rates, _) in NETS.items():
        for stem, found in BesidePaper("every_layer", (), model, ("shift",), PAIR, rates)(runs):
            rows = {rate: found.ours("ics_l2", rate).query("layer > 1") for rate in found.rates}
            # Only where a seed has both networks, in a layer that can shift, is there something to compare.
            pairs = tuple(rate for rate, own in rows.items() if (own.groupby("seed")["arm"].nunique() > 1).any())
            if pairs:
                yield stem, replace(found, rates=pairs)


EVERY_LAYER = Figure("every_layer", "fig3_vgg", _find, _figure, "scale=cpu")
