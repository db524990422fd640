"""The networks by name; each is registered in its own file."""

from torch import nn

from ics.registry import Registry

NETS = Registry[nn.Module]("network")
"""Builders with the context `norm: NormFactory, input_shape: tuple[int, ...], outputs: int`, then options."""
