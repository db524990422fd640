"""Writing a run folder; `ics.folder` says what it holds, and reads it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from ics.errors import UserError
from ics.files import write_atomically, write_json
from ics.folder import CONFIG, STATUS, RunFolder, Status

LOCK, OWNER = "lock", "owner.json"
"""The file that the owner of a folder holds locked, and the one that says who it is."""


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat("T", "seconds")


def read_status(folder: Path) -> Status | None:
    """The status of a run; None where none was written, or it cannot be read."""
    try:
        return RunFolder(folder.name, folder).status
    except UserError:
        return None


def write_status(folder: Path, status: Status) -> None:
    """Write `status.json`, and `DONE` when the run is done; a run that is being lengthened is not."""
    write_json(folder / STATUS, asdict(status))
    if status.state == "done":
        write_atomically(folder / "DONE", b"")
    else:
        (folder / "DONE").unlink(missing_ok=True)


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write `config.yaml`."""
    text = yaml.safe_dump(json.loads(json.dumps(settings)), sort_keys=False, allow_unicode=True)
    write_atomically(folder / CONFIG, text.encode())
