"""MNIST with and without BatchNorm: loss and accuracy in evaluation mode, and the shift of every layer beside them."""

from ics.figures.axes import step_axis
from ics.figures.catalogue import Figure
from ics.figures.curves import draw_curves
from ics.figures.panels import SEEDS, arm_handles
from ics.figures.runs import OfExperiment, ScaleRuns
from ics.figures.sheet import Sheet, handle

HOW_TO_READ = (
    "How to read: left, loss and accuracy over the whole training set (dashed) and test set (solid) in evaluation "
    "mode, once an epoch. Right, the covariate shift of the layers under the same updates: the gradient of a layer's "
    "weights and the same gradient once the earlier layers have been updated: the lower, the less shift, in length "
    "and in direction. The first layer has nothing before it, hence none."
)
DASHES: dict[str, tuple[float, ...]] = {"train": (3, 1.2), "test": ()}


def _figure(runs: ScaleRuns) -> Sheet:
    evaluation, shift = runs.table("evaluation"), runs.table("shift")
    evaluation = evaluation.assign(accuracy=100 * evaluation["accuracy"], split=evaluation["split"].astype(str))
    shift = shift.assign(turn=1 - shift["cosine"])
    layers = shift[shift["layer_index"] > 1].drop_duplicates("layer_index").sort_values("layer_index")
    splits = [handle(f"{split} set", linestyle=(0, dashes) if dashes else "-") for split, dashes in DASHES.items()]
    sheet = Sheet(
        f"With and without BatchNorm, from the same initial weights. {runs.scale.title}",
        [[*arm_handles(runs), *splits]],
        f"{HOW_TO_READ} {SEEDS} The untrained networks' accuracy is left out.",
        body=2.8,
    )
    grid = sheet.grid(2, 1 + len(layers), wspace=0.36, hspace=0.12, left=0.075, right=0.985)
    trained = evaluation[evaluation["step"] > 0]  # the untrained network's accuracy would squeeze all others
    columns = [("loss and accuracy", (evaluation, "loss", "cross-entropy"), (trained, "accuracy", "accuracy (%)"))]
    for layer in layers.itertuples():
        own = shift[shift["layer_index"] == layer.layer_index]
        title = f"Layer #{layer.layer_index}, {layer.layer}"
        columns.append((title, (own, "l2", "‖G − G′‖₂"), (own, "turn", "1 − cos∠(G, G′)")))
    for j, (title, *panels) in enumerate(columns):
        for i, (rows, column, label) in enumerate(panels):
            axes = sheet.add_subplot(grid[i, j], ylabel=label, title="" if i else title)
            axes.set_yscale("linear" if rows is trained else "log")
            draw_curves(axes, rows, column, dash_by=None if j else "split", dashes=DASHES)
            step_axis(axes, runs.last_step, labelled=i == 1)
    return sheet


MNIST_MLP = Figure("mnist_mlp", "mnist_mlp", OfExperiment("mnist_mlp", ("evaluation", "shift")), _figure)
