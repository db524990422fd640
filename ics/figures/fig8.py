"""Figure 8: how stable the distributions of activations are; (a) from step to step, (b) since the start."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ics.analysis.load import Runs
from ics.figures import style
from ics.figures.catalogue import Figure
from ics.figures.curves import step_axis
from ics.figures.figure_runs import SEEDS, FigureRuns, find
from ics.figures.landscape_panels import fit
from ics.figures.sheet import Sheet, row_label

ARMS = ("standard", "batch", "noisy_batch", "noise_only")
NEEDED = ("standard", "batch", "noisy_batch")
LAYERS = (2, 9, 13)
RATE = 0.1

_STEP = (
    "How to read: the change of a unit's mean μ and variance σ² (over the batch, height and width, before the "
    "non-linearity) from one training pass to the next, averaged over the layer's units: the lower, the more stable "
    "its distribution. Where the paper's curve is at 0, within the width of its line, it cannot be shown on a "
    "logarithmic axis."
)
_DRIFT = (
    "How to read: the distance of a unit's mean μ and variance σ² (over the batch, height and width, before the "
    "non-linearity) from those at the first step, averaged over units of the layer: the lower, the less its "
    "distribution has moved since the start of training. The paper's curves of this panel are not digitised."
)


@dataclass(frozen=True)
class Part:
    """(a) or (b).

    Attributes:
        letter: as in the paper.
        table: needed beside training.
        rows: quantity and label of the two rows of panels.
        how_to_read: see `Figure`.
    """

    letter: str
    table: str
    rows: tuple[tuple[str, str], ...]
    how_to_read: str


_A = Part(
    "a",
    "activations",
    (
        ("activation_mean_step_change", "|μ(t + 1) − μ(t)|"),
        ("activation_variance_step_change", "|σ²(t + 1) − σ²(t)|"),
    ),
    _STEP,
)
_B = Part(
    "b",
    "moments",
    (("activation_mean_drift", "|μ(t) − μ(0)|"), ("activation_variance_drift", "|σ²(t) − σ²(0)|")),
    _DRIFT,
)


def draw(part: Part, runs: Runs, folder: Path) -> list[Path]:
    """One figure per scale of the runs there are."""
    files: list[Path] = []
    for found in find(runs, f"8{part.letter}", "vgg", ("training", part.table), ARMS, (RATE,), NEEDED):
        with style.style():
            files += style.save(_figure(part, found).figure, folder / f"fig8{part.letter}_{found.scale.slug}")
    return files


FIG8A = Figure("fig8a", "fig2", _STEP, partial(draw, _A), "scale=cpu")
FIG8B = Figure("fig8b", "fig2", _DRIFT, partial(draw, _B), "scale=cpu")


def _figure(part: Part, runs: FigureRuns) -> Sheet:
    layers = runs.layers(LAYERS, runs.measured.curve(part.rows[0][0]))
    sheet = Sheet(
        f"Figure 8({part.letter}). {runs.scale.title}, lr {style.number(RATE)}",
        runs.handles(overlaid=len(runs.paper) > 0),
        f"{part.how_to_read} {SEEDS}",
        body=3.4,
    )
    grid = sheet.grid(2, len(layers), wspace=0.12, hspace=0.1)
    for row, (quantity, label) in enumerate(part.rows):
        panels = []
        for column, (papers, ours) in enumerate(layers.items()):
            axes = sheet.figure.add_subplot(grid[row, column])
            axes.set_yscale("log")
            for arm in runs.arms:
                runs.draw(axes, quantity, arm, RATE, (papers, ours))
            step_axis(axes, runs.last_step, labelled=row == 1, beside=True)
            axes.tick_params(labelleft=column == 0)
            if row == 0:
                axes.set_title(f"Layer #{ours}" + ("" if papers == ours else f" (paper: #{papers})"))
            panels.append(axes)
        row_label(panels[0], label, x=0.03)
        fit(panels)
    return sheet
