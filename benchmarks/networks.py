"""The networks that are timed, with a batch of made-up data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from ics import nets
from ics.runs.losses import cross_entropy, squared_error

Loss = Callable[[Tensor, Tensor], Tensor]
CLASSES = 10


@dataclass(frozen=True)
class Subject:
    """A network and its batch.

    Attributes:
        name: for people.
        model: settings of the network.
        norm: name of its norm.
        sample: shape of one input.
        batch: number of samples.
        layers: the measured layers; None means all.
    """

    name: str
    model: Mapping[str, Any] = field(hash=False)
    norm: str
    sample: tuple[int, ...]
    batch: int
    layers: tuple[int, ...] | None = None

    def build(self, device: torch.device) -> tuple[nn.Module, Loss, Tensor, Tensor]:
        """(model, loss, x, y)."""
        x = torch.randn(self.batch, *self.sample).to(device)
        linear = self.model["name"] == "deep_linear"
        outputs = self.sample[0] if linear else CLASSES
        model = nets.build(self.model, {"name": self.norm}, self.sample, outputs, seed=0).to(device)
        if linear:
            return model, squared_error, x, torch.randn(self.batch, outputs).to(device)
        return model, cross_entropy, x, torch.randint(0, outputs, (self.batch,)).to(device)

    def of(self, **changes: Any) -> "Subject":
        """The same with other settings; `depth` is the network's."""
        depth = changes.pop("depth", None)
        model = {**self.model, "depth": depth} if depth else self.model
        return replace(self, model=model, **changes)


def vgg(depth: int, width: float = 0.25, batch: int = 128) -> Subject:
    """VGG with batch normalisation."""
    settings = {"name": "vgg", "depth": depth, "width": width}
    return Subject(f"VGG-{depth}-BN ×{width:g}", settings, "batch", (3, 32, 32), batch)


VGG16 = vgg(16)
# The paper's two layers.
TWO_LAYERS = replace(vgg(11), name="VGG-11-BN ×0.25, two layers", layers=(5, 10))
DEEP_LINEAR = Subject("deep linear", {"name": "deep_linear", "depth": 25}, "none", (10,), 1000)
DEEP_LINEAR_BN = replace(DEEP_LINEAR, name="deep linear with BN", norm="batch")
MLP = Subject("MLP 784-32-32-10", {"name": "mlp"}, "batch", (1, 28, 28), 32)
RESNET = Subject("ResNet-20", {"name": "resnet", "depth": 20}, "batch", (3, 32, 32), 128)

NETWORKS = (vgg(11), TWO_LAYERS, VGG16, vgg(16, width=1, batch=32), vgg(19), RESNET, MLP, DEEP_LINEAR, DEEP_LINEAR_BN)
BATCHES = tuple(VGG16.of(batch=batch) for batch in (32, 128, 512))
DEPTHS = tuple(net.of(depth=depth) for net in (DEEP_LINEAR, DEEP_LINEAR_BN) for depth in (5, 10, 25, 50, 100))
WIDTHS = tuple(
    Subject("deep linear", {"name": "deep_linear", "depth": 25, "width": width}, "none", (width,), 100)
    for width in (10, 30, 100, 300)
)
