"""Figure 1 of Ioffe & Szegedy 2015, test accuracy and the input to one sigmoid, with the covariate shift below it."""

from ics.analysis.seeds import BAND
from ics.figures import style
from ics.figures.axes import step_axis
from ics.figures.catalogue import Figure
from ics.figures.curves import draw_curves
from ics.figures.panels import arm_handles
from ics.figures.runs import OfExperiment, ScaleRuns
from ics.figures.sheet import Sheet

UNIT = 0
HOW_TO_READ = (
    "How to read: above, as in the paper of 2015: test accuracy, and the 15th, 50th and 85th percentile over the batch "
    f"of the input to one sigmoid of the last hidden layer (unit {UNIT}, first seed); there, covariate shift is how "
    "this distribution moves over the steps. Below, the covariate shift of 2018 of the same layer: how far the "
    "gradient of its weights moves when the earlier layers are updated, in length, relative to its length, and in "
    "direction."
)
PERCENTILES = {"p15": 0.6, "p50": 1.2, "p85": 0.6}
"""Column -> width of its line."""

SHIFT = {"l2": "‖G − G′‖₂", "relative_l2": "‖G − G′‖₂ / ‖G‖₂", "turn": "1 − cos∠(G, G′)"}


def _figure(runs: ScaleRuns) -> Sheet:
    evaluation, activations, shift = (runs.table(name) for name in ("evaluation", "activations", "shift"))
    evaluation = evaluation[evaluation["split"] == "test"]
    layer = activations["layer"].iloc[-1]
    shift = shift[shift["layer"] == layer].assign(turn=lambda rows: 1 - rows["cosine"])
    unit = activations[(activations["layer"] == layer) & (activations["unit"] == UNIT)]
    sheet = Sheet(
        f"Ioffe & Szegedy's Figure 1, and the covariate shift under it. {runs.scale.title}",
        [arm_handles(runs)],
        f"{HOW_TO_READ} (a), (d) to (f): median over seeds; {BAND}.",
        body=3.2,
    )
    grid = sheet.grid(2, 3, wspace=0.33, hspace=0.32, left=0.075, right=0.985)
    accuracy = sheet.add_subplot(grid[0, 0], title="(a) test accuracy (%)", ylim=(70, 100))
    draw_curves(accuracy, evaluation.assign(accuracy=100 * evaluation["accuracy"]), "accuracy", linewidth=1.2)
    for i, arm in enumerate(runs.arms[:2]):
        axes = sheet.add_subplot(grid[0, 1 + i], sharey=sheet.axes[1] if i else None)
        axes.set_title(f"({'bc'[i]}) a sigmoid's input, {style.ARMS[arm].label}")
        own = unit[unit["arm"] == arm].sort_values(["seed", "step"])
        first = own[own["seed"] == own["seed"].min()]
        for percentile, width in PERCENTILES.items():  # every recorded step
            axes.plot(first["step"], first[percentile], color=style.COLOURS[arm], linewidth=width)
    for i, (column, label) in enumerate(SHIFT.items()):
        axes = sheet.add_subplot(grid[1, i], yscale="log", title=f"({'def'[i]}) {label}, {layer}")
        draw_curves(axes, shift, column)
    for number, axes in enumerate(sheet.axes):
        step_axis(axes, runs.last_step, labelled=True, ticks=3)
        axes.set(xlabel="training step" if number >= 3 else "", ylabel="")
    return sheet


IOFFE_SZEGEDY = Figure(
    "ioffe_szegedy",
    "ioffe_szegedy",
    OfExperiment("ioffe_szegedy", ("evaluation", "activations", "shift"), arms=("standard", "batch", "batch_by_hand")),
    _figure,
)
