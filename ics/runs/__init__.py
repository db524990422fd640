"""Runs: typed settings in, a folder of CSV files out; resumable, owned by one process, never half finished.

Names are loaded on first use, so that a command line is read without importing torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ics.folder import Status
    from ics.runs.config import RunConfig, parse
    from ics.runs.execute import run
    from ics.runs.folder import read_status
    from ics.runs.signals import Interrupted

_HOMES = {
    "Interrupted": "ics.runs.signals",
    "RunConfig": "ics.runs.config",
    "Status": "ics.folder",
    "parse": "ics.runs.config",
    "read_status": "ics.runs.folder",
    "run": "ics.runs.execute",
}

__all__ = ["Interrupted", "RunConfig", "Status", "parse", "read_status", "run"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ics.runs' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
