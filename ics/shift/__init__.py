"""Definition 2.1 and nothing else: needs only torch, imports nothing of the project, works in any training loop."""

from ics.shift.errors import ProbeError
from ics.shift.layers import Layer
from ics.shift.metrics import cosine, l2, relative_l2
from ics.shift.observation import LayerShift, Observation
from ics.shift.probe import ShiftProbe

__all__ = ["Layer", "LayerShift", "Observation", "ProbeError", "ShiftProbe", "cosine", "l2", "relative_l2"]
