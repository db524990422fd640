"""Everything that is measured during training: a class for each quantity, with its table."""

from ics.quantities import (  # noqa: F401 (each registers itself)
    activations,
    histogram,
    input_shift,
    landscape,
    sharpness,
    shift,
)
from ics.quantities.base import QUANTITIES, Quantity, Row, Step

__all__ = ["QUANTITIES", "Quantity", "Row", "Step"]
