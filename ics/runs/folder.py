"""A run folder: what it holds, who may write it, and what state its run is in."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from ics.errors import UserError
from ics.files import write_atomically, write_json
from ics.states import FINISHED, State

LOCK, OWNER = "lock", "owner.json"
"""The file that the owner of a folder holds locked, and the one that says who it is."""


@dataclass(frozen=True)
class Status:
    """The contents of `status.json`.

    Attributes:
        state: "done" at its last step, "diverged" (the loss was not finite any more), "failed" with an error,
            "interrupted" on request, or "running" (or killed while it was).
        step: updates done when this was written.
        steps: updates asked for.
        seconds: training time so far, over all sessions.
        started: time at which the run was first started, UTC.
        updated: time of writing, UTC.
        error: why it failed.
    """

    state: State
    step: int
    steps: int
    seconds: float
    started: str
    updated: str
    error: str | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.state in FINISHED

    def covers(self, steps: int) -> bool:
        """Whether nothing is left to do of so many steps."""
        return self.state == "diverged" or (self.finished and self.steps >= steps)


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat("T", "seconds")


def read_status(folder: Path) -> Status | None:
    """The status of a run; None where none was written, or it cannot be read."""
    try:
        return Status(**json.loads((folder / "status.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def write_status(folder: Path, status: Status) -> None:
    """Write `status.json`, and `DONE` when the run is done; a run that is being lengthened is not."""
    write_json(folder / "status.json", asdict(status))
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
    try:
        stored = read_settings(folder)
    except (FileNotFoundError, NotADirectoryError):
        return
    old, new = flat(stored), flat(json.loads(json.dumps(wanted)))
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


def read_settings(folder: Path) -> Any:
    """The contents of `config.yaml`.

    Raises:
        FileNotFoundError, NotADirectoryError: there is none; UserError: it cannot be read.
    """
    path = folder / "config.yaml"
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read ({type(error).__name__}); overwrite=true starts the run anew") from None


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write `config.yaml`."""
    text = yaml.safe_dump(json.loads(json.dumps(settings)), sort_keys=False, allow_unicode=True)
    write_atomically(folder / "config.yaml", text.encode())


def clear(folder: Path) -> None:
    """Delete everything in a run folder but what its owner holds it by."""
    for path in folder.iterdir():
        if path.name not in (LOCK, OWNER):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted keys."""
    if not isinstance(tree, Mapping) or not tree:
        return {prefix.rstrip("."): tree}
    return {key: value for name, below in tree.items() for key, value in flat(below, f"{prefix}{name}.").items()}
