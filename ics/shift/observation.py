"""The records of a measurement: what goes into it, and what comes out of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from ics.shift.origins import Origin
from ics.shift.passes import Call
from ics.shift.state import Hold
from ics.shift.watcher import TrainingPass

Gradients = Mapping[nn.Parameter, Tensor]


@dataclass(frozen=True)
class LayerShift:
    """The internal covariate shift of one layer at one step.

    Attributes:
        layer_index: 1-based place in the order of execution.
        layer: qualified name of the module, or of the parameter where that is not the module's `weight`.
        l2: ‖G − G'‖₂, Definition 2.1.
        cosine: cos∠(G, G'); NaN where a gradient is zero.
        relative_l2: ‖G − G'‖₂ / ‖G‖₂.
        grad_norm: ‖G‖₂.
        shifted_grad_norm: ‖G'‖₂.
    """

    layer_index: int
    layer: str
    l2: float
    cosine: float
    relative_l2: float
    grad_norm: float
    shifted_grad_norm: float


class Observation:
    """What `ShiftProbe.observe` found; filled when its `with` block ends.

    Attributes:
        rows: one `LayerShift` per measured layer, in order of execution.
        gradients: with `keep_gradients=True`, layer name → (G, G'), in the weight's shape (with `params="all"`: one
            vector of all the module's parameters); otherwise empty.
        origins: with `origins=True`, what every cause did to every layer; otherwise empty.
    """

    def __init__(self) -> None:
        self.rows: list[LayerShift] = []
        self.origins: list[Origin] = []
        self.gradients: dict[str, tuple[Tensor, Tensor]] = {}


@dataclass(eq=False)
class Batch:
    """A forward pass of training."""

    call: Call
    y: Any  # its targets
    training_pass: TrainingPass  # how it began
    loss: Tensor | None = None  # where that is known


@dataclass(frozen=True)
class Start:
    """What is kept from before an update."""

    batches: list[Batch]
    gradients: Gradients  # what was in `.grad`
    before: Hold  # the state
    recomputed: dict[nn.Parameter, Tensor] = field(default_factory=dict)  # gradients computed anew, over all batches
