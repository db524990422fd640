"""Networks that are a chain of named modules."""

from collections import OrderedDict
from collections.abc import Iterable

from torch import nn

NamedModule = tuple[str, nn.Module | None]


def chain(modules: Iterable[NamedModule]) -> nn.Sequential:
    """The modules one after the other under their names; a None (the norm `none`) leaves no trace."""
    return nn.Sequential(OrderedDict((name, module) for name, module in modules if module is not None))
