"""Figure 3: training, and the internal covariate shift of two layers, with and without BatchNorm.

(a) VGG: accuracy; (b) deep linear network: loss. One row per learning rate; for each layer ‖G − G′‖₂ above
the cosine.
"""

from collections.abc import Sequence

from matplotlib.axes import Axes

from ics.analysis.claims.covariate_shift import NETS
from ics.figures import style
from ics.figures.axes import step_axis
from ics.figures.panels import SEEDS, TRAINING, draw, layer_name, legend, paper_figure, training_axis
from ics.figures.runs import Arms, PaperRuns
from ics.figures.sheet import Sheet, handle, row_label

ARMS = Arms(("standard", "batch", "noisy_batch"), (("standard", "batch", "noisy_batch"),))
LETTERS = {"vgg": "a", "deep_linear": "b"}

HOW_TO_READ = (
    "How to read: G is the gradient of a layer's weights, G′ the same gradient once the earlier layers have "
    "been updated. Without internal covariate shift ‖G − G′‖₂ would be 0 and the cosine 1 (dotted). If "
    "BatchNorm reduced the shift, its curves would lie lower on the ℓ₂ axes and nearer to 1 on the cosine "
    "axes than the standard network's."
)


def _figure(runs: PaperRuns) -> Sheet:
    notes = f"{HOW_TO_READ} {SEEDS}"
    unnumbered = runs.paper.loc[~runs.paper["axis_labelled"], "layer"].unique()
    if runs.papers_arms:
        these = " and ".join(f"#{number}" for number in unnumbered)
        notes += f" The paper's ℓ₂ axis for layer {these} has no numbers, so its curve there is left out."
    title = f"Figure 3({LETTERS[runs.model]}). {runs.scale.title}"
    sheet = Sheet(
        title, legend(runs, handle("ideal", **style.IDEAL), shown=ARMS.shown), notes, body=2.6 * len(runs.rates)
    )
    layers = runs.layers(NETS[runs.model][0], runs.measured.curve("ics_l2"))
    grid = sheet.grid(
        len(runs.rates), 1 + len(layers), left=0.1, width_ratios=[1.05] + [1] * len(layers), wspace=0.36, hspace=0.13
    )
    names = runs.table("shift").drop_duplicates("layer_index").set_index("layer_index")["layer"]
    cosines: list[Axes] = []
    quantity, label = TRAINING[runs.model]
    for i, rate in enumerate(runs.rates):
        lowest = rate == runs.rates[-1]
        training = sheet.add_subplot(grid[i, 0])
        training_axis(training, quantity)
        # The paper's curve of an arm is there even if we have no run of it.
        draw(training, runs, quantity, rate, arms=ARMS.shown)
        step_axis(training, runs.last_step, labelled=lowest)
        row_label(training, label, x=0.046)
        sheet.beside(training.get_position().y0 + training.get_position().height / 2, rate)
        for j, numbers in enumerate(layers.items(), start=1):
            pair = grid[i, j].subgridspec(2, 1, hspace=0.12)
            l2, cosine = sheet.add_subplot(pair[0]), sheet.add_subplot(pair[1])
            l2.set_yscale("log")
            cosine.axhline(1, **style.IDEAL)
            for axes, measure, name in ((l2, "ics_l2", "‖G − G′‖₂"), (cosine, "ics_cosine", "cos∠(G, G′)")):
                draw(axes, runs, measure, rate, numbers, ARMS.shown)
                step_axis(axes, runs.last_step, labelled=lowest and axes is cosine)
                axes.set_ylabel(name)
                axes.yaxis.set_label_coords(-0.26, 0.5)
            cosines.append(cosine)
            if i == 0:
                l2.set_title(layer_name(*numbers, names[numbers[1]]))
    _one_range(cosines)
    return sheet


def _one_range(cosines: Sequence[Axes]) -> None:
    """For all cosines: all of -1 to 1, or without the lower part if nothing reaches into it."""
    upper_only = min(axes.dataLim.y0 for axes in cosines) > -0.5
    for axes in cosines:
        axes.set_ylim((-0.55, 1.08) if upper_only else (-1.1, 1.12))
        axes.set_yticks([-0.5, 0, 0.5, 1] if upper_only else [-1, 0, 1])


FIG3A = paper_figure("3a", "fig3_vgg", "vgg", ["shift"], ARMS, _figure, rates=None, stem="fig3_vgg")
FIG3B = paper_figure("3b", "fig3_dln", "deep_linear", ["shift"], ARMS, _figure, rates=None, stem="fig3_dln")
