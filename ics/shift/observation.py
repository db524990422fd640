"""What comes out of a measurement."""

from dataclasses import dataclass, field

from torch import Tensor

from ics.shift.origins import Origin


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


@dataclass(eq=False)
class Observation:
    """What `ShiftProbe.observe` found; filled when its `with` block ends.

    Attributes:
        rows: one `LayerShift` per measured layer, in order of execution.
        gradients: with `keep_gradients=True`, layer name → (G, G'), in the weight's shape (with `params="all"`: one
            vector of all the module's parameters); otherwise empty.
        origins: with `origins=True`, what every cause did to every layer; otherwise empty.
    """

    rows: list[LayerShift] = field(default_factory=list)
    gradients: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    origins: list[Origin] = field(default_factory=list)
