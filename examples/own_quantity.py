"""A quantity of one's own: how far an update moves the weights.

python scripts/train.py experiment=quick plugin=examples.own_quantity measure.update_size.every=10
"""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.utils import parameters_to_vector

from ics.quantities import QUANTITIES, Row, Step
from ics.quantities.base import LossFunction
from ics.tables import Table, columns


@QUANTITIES.register("update_size")
class UpdateSize:
    """‖ΔW‖₂ / ‖W‖₂ of all parameters together: one row of update_size.csv."""

    step = ("step", "int", "number of updates before this one")
    table = Table("update_size", columns(step, ("relative", "float", "‖ΔW‖₂ / ‖W‖₂, no unit")))

    def __init__(self, model: nn.Module, loss_fn: LossFunction) -> None:
        self.model = model

    @contextmanager
    def observe(self, step: Step) -> Iterator[list[Row]]:
        """Look before the update and after it."""
        before = parameters_to_vector(self.model.parameters()).detach()
        rows: list[Row] = []
        yield rows
        moved = parameters_to_vector(self.model.parameters()).detach() - before
        rows.append({"relative": float(moved.norm() / before.norm())})

    def close(self) -> None:
        """No hooks to remove."""
