"""Writing a run folder; `ics.folder` says what it holds, and reads it."""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from ics.errors import UserError
from ics.files import write_atomically, write_json
from ics.folder import CONFIG, STATUS, RunFolder, Status, flat
from ics.tables import Table

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


def check_settings(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Make sure that a folder's stored settings are those asked for, with as many steps or more.

    How often a run saves itself may differ.

    Raises:
        UserError: they differ, or cannot be read; names the differing keys.
    """
    if not (folder / CONFIG).exists():
        return
    try:
        old, new = RunFolder(folder.name, folder).settings(), flat(json.loads(json.dumps(wanted)))
    except UserError as error:
        raise UserError(f"{error}; overwrite=true starts the run anew") from None
    lengthened = {"steps"} if isinstance(old.get("steps"), int) and old["steps"] < new["steps"] else set()
    differing = [
        f"{key} ({old.get(key, 'absent')} there, {new.get(key, 'absent')} asked for)"
        for key in sorted((old.keys() | new.keys()) - lengthened)
        if not key.startswith("checkpoint.") and old.get(key) != new.get(key)  # an absent option is one left at null
    ]
    if differing:
        raise UserError(
            f"{folder} holds a run with other settings: {'; '.join(differing)}; "
            "choose another folder (runs=…) or overwrite=true"
        )


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write `config.yaml`."""
    text = yaml.safe_dump(json.loads(json.dumps(settings)), sort_keys=False, allow_unicode=True)
    write_atomically(folder / CONFIG, text.encode())


def count_rows(folder: Path, tables: Iterable[Table]) -> dict[str, int]:
    """How many rows the CSV files of a run hold: a reader can tell that none was lost since."""
    return {table.name: (folder / f"{table.name}.csv").read_bytes().count(b"\n") - 1 for table in tables}


def clear(folder: Path) -> None:
    """Delete everything in a run folder but what its owner holds it by."""
    for path in folder.iterdir():
        if path.name not in (LOCK, OWNER):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
