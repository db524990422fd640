"""A norm of one's own: every sample's activations, divided by their root mean square.

python scripts/train.py experiment=quick plugin=examples.own_norm norm=own norm.name=rms
"""

from torch import Tensor, nn

from ics.nets import NORMS, NormFactory


class RootMeanSquare(nn.Module):
    """y / √(mean y²) over the features (channels) of each sample, at each place of an image."""

    def forward(self, y: Tensor) -> Tensor:
        return y / (y.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()


@NORMS.register("rms")
def rms() -> NormFactory:
    """Makes one norm for each place in a network."""
    return lambda features, spatial_dims: RootMeanSquare()
