"""See `ics.analysis.scales`."""

from ics.analysis.scales import Scale, split_by_scale

__all__ = ["Scale", "split_by_scale"]
