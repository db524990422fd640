"""Internal covariate shift in the older, distributional sense: how the update moves what a layer is given.

Ioffe & Szegedy 2015 mean by the term the change of the distribution of a layer's inputs by the training of the layers
before it; Huang & Yu 2020 (arXiv 2001.02814) measure it by the earth mover's distance, which for one unit is easy:

    W₁ = ∫ |F⁻¹(q) − F′⁻¹(q)| dq, over equally many samples the mean of |sorted − sorted′|
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from pydantic import PositiveInt
from torch import Tensor, nn

from ics.quantities.base import QUANTITIES, LossFunction, Row, Step
from ics.quantities.distribution import moments, rounded, thinned
from ics.quantities.places import Keys, LayerPasses
from ics.tables import Table, columns


@dataclass
class Input:
    """What a layer is given: some samples of every unit (units, samples), and the (2, units) moments of all samples."""

    samples: Tensor
    moments: Tensor


@QUANTITIES.register("input_shift")
class InputShift:
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
            ("step", "int", "number of updates before this one"),
            ("layer_index", "int", "place of the layer in the order of execution, from 1"),
            ("layer", "str", "qualified name of the layer's module"),
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
        self._passes = LayerPasses(model, loss_fn, layers, "input")
        self._samples = samples

    @contextmanager
    def observe(self, step: Step) -> Iterator[list[Row]]:
        conditions = self._passes.last
        before = self._passes.run(step.x, conditions, self._input)
        rows: list[Row] = []
        yield rows
        after = self._passes.run(step.x, conditions, self._input)
        for layer in (layer for layer in before if layer in after):
            values = _compare(before[layer], after[layer])
            rows.append(
                {"layer_index": layer.index, "layer": layer.name}
                | dict(zip(self.table.header[3:], map(rounded, values), strict=True))
            )

    def close(self) -> None:
        self._passes.close()

    def _input(self, values: Tensor) -> Input:
        return Input(thinned(values, self._samples).clone(), moments(values))


def _compare(before: Input, after: Input) -> list[float]:
    """Return a row's values; nan where the model gave the layer another number of samples or units."""
    if before.samples.shape != after.samples.shape:
        return [torch.nan] * 4
    distance = before.samples.sort(dim=1).values.double() - after.samples.sort(dim=1).values.double()
    wasserstein = distance.abs().mean()
    mean_change, variance_change = (before.moments - after.moments).abs().mean(dim=1)
    relative = wasserstein / before.moments[1].sqrt().mean()
    return torch.stack([wasserstein, relative, mean_change, variance_change]).tolist()
