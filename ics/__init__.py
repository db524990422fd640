"""Does batch normalisation reduce internal covariate shift? The probe, the experiments and their analysis.

Names are loaded on first use, so that reading results does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ics.analysis.load import load_runs
    from ics.errors import UserError
    from ics.laboratory.running_stats import running_stats_vector
    from ics.shift import LayerShift, Observation, ProbeError, ShiftProbe

_HOMES = {
    "LayerShift": "ics.shift",
    "Observation": "ics.shift",
    "ProbeError": "ics.shift",
    "ShiftProbe": "ics.shift",
    "UserError": "ics.errors",
    "load_runs": "ics.analysis.load",
    "running_stats_vector": "ics.laboratory.running_stats",
}

__all__ = ["LayerShift", "Observation", "ProbeError", "ShiftProbe", "UserError", "load_runs", "running_stats_vector"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ics' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
