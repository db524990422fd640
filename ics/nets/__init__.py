"""Networks and normalisations by name."""

from ics.nets import deep_linear, mlp, resnet, vgg  # noqa: F401 (each registers its network)
from ics.nets.build import build
from ics.nets.init import INITS
from ics.nets.lp_norm import LpNorm
from ics.nets.noise import ActivationNoise
from ics.nets.norms import NORMS, NormFactory
from ics.nets.registry import NETS

__all__ = ["INITS", "NETS", "NORMS", "ActivationNoise", "LpNorm", "NormFactory", "build"]
