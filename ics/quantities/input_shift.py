"""Internal covariate shift in the older, distributional sense: how the update moves what a layer is given.

Ioffe & Szegedy 2015 mean by the term the change of the distribution of a layer's inputs by the training of the layers
before it; Huang & Yu 2020 (arXiv 2001.02814) measure it by the earth mover's distance, which for one unit is easy:

    W₁ = ∫ |F⁻¹(q) − F′⁻¹(q)| dq, over equally many samples the mean of |sorted − sorted′|
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from ics.quantities.base import LAYER, LAYER_INDEX, QUANTITIES, STEP, LossFunction, Row, Step
from ics.quantities.distribution import moments, rounded, thinned
from ics.quantities.passes import Keys, LayerQuantity
from ics.tables import Table, columns

Input = tuple[Tensor, Tensor]
"""What a layer is given: some samples of every unit (units, samples), and the (2, units) moments of all samples."""


@QUANTITIES.register("input_shift")
class InputShift(LayerQuantity):
    """Distance between the distributions of a layer's input before and after the update, on one batch and one noise.

    Per unit (an input channel or feature) over the batch, height and width, then averaged over units. That of the first
    layer, whose input is the batch, is 0. Costs two forward passes without gradients.

    Args:
        layers: 1-based indices or names, numbered as in the table `shift`; None means all.
        samples: at most so many values of a unit enter W₁, the same positions before and after; the moments take all.
    """

    table = Table(
        "input_shift",
        columns(
            STEP,
            LAYER_INDEX,
            LAYER,
            ("wasserstein", "float", "W₁, mean over units; six significant digits in this and all columns", True),
            ("relative_wasserstein", "float", "W₁ / σ before, each a mean over units; nan where σ is 0", True),
            ("mean_change", "float", "|Δμ|, mean over units", True),
            ("variance_change", "float", "|Δσ²|, mean over units", True),
        ),
        key=("step", "layer_index"),
    )

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFunction,
        layers: Keys | None = None,
        samples: PositiveInt = 4096,
    ) -> None:
        super().__init__(model, loss_fn, layers, "input")
        self._samples = samples

    @contextmanager
    def observe(self, step: Step) -> Iterator[list[Row]]:
        conditions = self.last
        before = self.look(step.x, conditions, self._input)
        rows: list[Row] = []
        yield rows
        after = self.look(step.x, conditions, self._input)
        for layer in (layer for layer in before if layer in after):
            values = _compare(before[layer], after[layer])
            rows.append(
                {"layer_index": layer.index, "layer": layer.name}
                | dict(zip(self.table.header[3:], map(rounded, values), strict=True))
            )

    def _input(self, values: Tensor) -> Input:
        return thinned(values, self._samples).clone(), moments(values)


def _compare(before: Input, after: Input) -> list[float]:
    """Return a row's values; nan where the model gave the layer another number of samples or units."""
    (samples, moments_before), (samples_after, moments_after) = before, after
    if samples.shape != samples_after.shape:
        return [torch.nan] * 4
    distance = samples.sort(dim=1).values.double() - samples_after.sort(dim=1).values.double()
    wasserstein = distance.abs().mean()
    mean_change, variance_change = (moments_before - moments_after).abs().mean(dim=1)
    relative = wasserstein / moments_before[1].sqrt().mean()
    return torch.stack([wasserstein, relative, mean_change, variance_change]).tolist()
