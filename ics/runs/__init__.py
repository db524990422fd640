"""Runs: typed settings in, a folder of CSV files out; resumable, owned by one process, never half finished."""

from ics.folder import Status
from ics.runs.config import RunConfig, parse
from ics.runs.folder import read_status
from ics.runs.run import run
from ics.runs.signals import Interrupted

__all__ = ["Interrupted", "RunConfig", "Status", "parse", "read_status", "run"]
