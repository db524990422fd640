"""What networks are made of: a registry, each network registering in its own file, and chains of named modules."""

from collections import OrderedDict

from torch import nn

from ics.nets.init import INITS
from ics.registry import Registry

NETS = Registry[nn.Module]("network", init=INITS)
"""Builders with the context `norm: NormFactory, input_shape: tuple[int, ...], outputs: int`, then options."""

NamedModule = tuple[str, nn.Module | None]


def chain(*modules: NamedModule) -> nn.Sequential:
    """The modules one after the other under their names; a None (the norm `none`) leaves no trace."""
    return nn.Sequential(OrderedDict((name, module) for name, module in modules if module is not None))
