"""What a run folder says about itself: its settings, its state, its tables' schemas."""

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ics.errors import UserError
from ics.states import FINISHED, STATES
from ics.tables import Table

NO_STATUS = "no status"

# libyaml's reader is ten times faster where it was built; both construct plain data only.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class RunFolder:
    """One run as its folder tells it.

    Attributes:
        name: the folder relative to the root, with forward slashes.
        path: the folder.
        state: one of `STATES`, or "no status" when there is no status.json.
    """

    name: str
    path: Path
    state: str

    @property
    def finished(self) -> bool:
        """Whether nothing more will be written: the run is done, or diverged."""
        return self.state in FINISHED

    def settings(self) -> dict[str, Any]:
        """config.yaml with dotted keys; lists become tuples.

        Raises:
            UserError: the file is no mapping in YAML.
        """
        path = self.path / "config.yaml"
        try:
            config = yaml.load(_read(path), Loader=_Loader)
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            place = f"{path}:{mark.line + 1}" if mark else str(path)
            raise UserError(f"{place}: not valid YAML ({getattr(error, 'problem', None) or error})") from None
        except ValueError as error:  # such as the 30th of February
            raise UserError(f"{path}: not valid YAML ({error})") from None
        if not isinstance(config, dict):
            raise UserError(f"{path}: holds no settings (a mapping of names to values)")
        try:
            return dict(_flat(config))
        except RecursionError:
            raise UserError(f"{path}: the settings contain themselves, or are nested too deeply") from None

    def data_label(self) -> str | None:
        """What provenance.json calls the data really used; None where it does not say."""
        label = self.provenance().get("data_label")
        return None if label is None else str(label)

    def provenance(self) -> dict[str, Any]:
        """What provenance.json says about where the run comes from; nothing where there is none."""
        path = self.path / "provenance.json"
        found: dict[str, Any] = _read_json(path, dict) if path.exists() else {}
        return found

    def seconds(self) -> float:
        """How long the run took, from status.json; nan where it does not say."""
        path = self.path / "status.json"
        seconds = _read_json(path, dict).get("seconds") if path.exists() else None
        return float(seconds) if isinstance(seconds, int | float) else math.nan

    def tables(self) -> dict[str, Table]:
        """The schemas in tables.json by name; none for an unfinished run that has not written them yet.

        Raises:
            UserError: the file is no list of schemas.
        """
        path = self.path / "tables.json"
        if not path.exists() and not self.finished:
            return {}
        try:
            tables = [Table.from_dict(entry) for entry in _read_json(path, list)]
            sound = all(_sensible(table) for table in tables)
        except (KeyError, TypeError, AttributeError):
            sound = False
        if not sound:
            raise UserError(f"{path}: not a list of table schemas (name, key, columns with name, kind, meaning, nan)")
        return {table.name: table for table in tables}


def find_run_folders(root: Path) -> Iterator[RunFolder]:
    """Every folder under `root` with a config.yaml, in the order of their names.

    Folders inside a run and hidden ones are not searched.
    """
    for folder, below, files in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if "config.yaml" in files:
            below.clear()
            path = Path(folder)
            yield RunFolder(path.relative_to(root).as_posix(), path, _state(path / "status.json"))


def _state(path: Path) -> str:
    if not path.exists():
        return NO_STATUS
    state = _read_json(path, dict).get("state")
    if state not in STATES:
        raise UserError(f"{path}: the state is {state!r}, not one of {', '.join(STATES)}")
    return str(state)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text") from None


def _read_json(path: Path, kind: type) -> Any:
    try:
        data = json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}:{error.lineno}: not valid JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(data, kind):
        raise UserError(f"{path}: holds a {type(data).__name__}, not a {kind.__name__}")
    return data


def _sensible(table: Table) -> bool:
    """What `Table.from_dict` takes on trust."""
    kinds = {column.name: column.kind for column in table.columns}
    plain = isinstance(table.name, str) and Path(table.name).name == table.name
    known = all(isinstance(name, str) and kind in ("int", "float", "str") for name, kind in kinds.items())
    keyed = bool(table.key) and all(kinds.get(name) for name in table.key) and kinds[table.key[0]] == "int"
    return plain and known and keyed and len(kinds) == len(table.columns)


def _flat(settings: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", _frozen(value)


def _frozen(value: Any) -> Any:
    if isinstance(value, list | set):
        return tuple(map(_frozen, value))
    return tuple((str(k), _frozen(v)) for k, v in value.items()) if isinstance(value, dict) else value
