"""Figures 6 and 9: activations over training; ℓp normalisations on VGG, and the deep linear network."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ics.analysis.load import Runs
from ics.figures import style
from ics.figures.catalogue import Figure
from ics.figures.figure_runs import FigureRuns, find
from ics.figures.histogram_panels import READ, draw_histograms
from ics.figures.sheet import Sheet


@dataclass(frozen=True)
class Which:
    """6 or 9.

    Attributes:
        number: of the figure.
        model: setting `model.name`.
        rate: learning rate.
        layers: the paper's.
        arms: columns, in order.
        needed: see `find`.
        body: height of the panels, in inches.
        how_to_read: see `Figure`.
    """

    number: str
    model: str
    rate: float
    layers: tuple[int, ...]
    arms: tuple[str, ...]
    needed: tuple[str, ...]
    body: float
    how_to_read: str


_LP = Which(
    "6",
    "vgg",
    0.1,
    (11,),
    ("standard", "batch", "l1", "l2", "linf"),
    ("standard", "batch", "l1|l2|linf"),
    1.9,
    "How to read: do other normalisations than BatchNorm's also keep a layer's distribution from moving? " + READ,
)
_DLN = Which(
    "9",
    "deep_linear",
    1e-6,
    (1, 11, 24),
    ("standard", "batch"),
    ("standard", "batch"),
    4.6,
    "How to read: the deep linear network has no non-linearity; its layers' outputs are looked at after the norm, if "
    "there is one. " + READ,
)


def draw(which: Which, runs: Runs, folder: Path) -> list[Path]:
    """One figure per scale of the runs there are."""
    files: list[Path] = []
    tables = ("training", "histogram")
    for found in find(runs, which.number, which.model, tables, which.arms, (which.rate,), which.needed):
        with style.style():
            files += style.save(_figure(which, found).figure, folder / f"fig{which.number}_{found.scale.slug}")
    return files


FIG6 = Figure("fig6", "fig5_vgg", _LP.how_to_read, partial(draw, _LP), "scale=cpu")
FIG9 = Figure("fig9", "fig10", _DLN.how_to_read, partial(draw, _DLN))


def _figure(which: Which, runs: FigureRuns) -> Sheet:
    title = f"Figure {which.number}. {runs.scale.title}, lr {style.number(which.rate)}"
    sheet = Sheet(title, runs.handles(overlaid=False), which.how_to_read, body=which.body)
    grid = sheet.grid(len(which.layers), len(runs.arms), left=0.115, wspace=0.08, hspace=0.28)
    draw_histograms(sheet.figure, grid, runs, which.layers, which.rate, label_x=0.03)
    return sheet
