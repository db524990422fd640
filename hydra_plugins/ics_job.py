"""One run of a sweep."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ics.errors import UserError
from ics.folder import Status
from ics.runs import parse
from ics.runs.folder import check_settings, read_status


@dataclass(frozen=True, eq=False)
class Job:
    """One run of a sweep.

    Attributes:
        overrides: what makes it this run.
        folder: where it goes.
        settings: its composed settings.
    """

    overrides: tuple[str, ...]
    folder: Path
    settings: Mapping[str, Any]

    def status(self) -> Status | None:
        """What its folder says."""
        return read_status(self.folder)

    def is_finished(self) -> bool:
        """Whether its folder holds this very run, finished."""
        status = self.status()
        if status is None or not status.finished:
            return False
        try:
            check_settings(self.folder, parse(dict(self.settings)).model_dump())
        except UserError:
            return False  # the run will say what is wrong
        return True
