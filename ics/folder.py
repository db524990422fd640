"""What runs say of themselves: each in its own folder, or many packed into one. Writers and readers know this alone.

A run folder holds `config.yaml`, `provenance.json`, `status.json`, `tables.json` and a CSV file per table. A packed
folder holds the same of many runs: `runs.csv` with a row per run, `tables.json`, and a gzipped CSV file per table.
"""

import csv
import io
import json
import math
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from ics.errors import UserError
from ics.tables import SEMICOLONS, Table

State = Literal["running", "done", "diverged", "failed", "interrupted"]
STATES: tuple[State, ...] = get_args(State)
FINISHED: tuple[State, ...] = ("done", "diverged")
NO_STATUS = "no status"

CONFIG, PROVENANCE, STATUS, TABLES, PACKED = "config.yaml", "provenance.json", "status.json", "tables.json", "runs.csv"

_KINDS: dict[str, Any] = {"step": int, "steps": int, "seconds": (int, float), "started": str, "updated": str}

# libyaml's reader is ten times faster where it was built; both construct plain data only.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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
        rows: of a finished run, how many each table has; None where they were not counted.
    """

    state: State
    step: int = 0
    steps: int = 0
    seconds: float = math.nan
    started: str = ""
    updated: str = ""
    error: str | None = None
    rows: Mapping[str, int] | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return self.state in FINISHED

    def covers(self, steps: int) -> bool:
        """Whether nothing is left to do of so many steps."""
        return self.state == "diverged" or (self.finished and self.steps >= steps)


@dataclass(frozen=True)
class RunFolder:
    """One run as its folder tells it; its name is relative to where runs were looked for, with forward slashes."""

    name: str
    path: Path

    @cached_property
    def status(self) -> Status | None:
        """Its state; None where none was written."""
        told = self._contents(STATUS)
        if told is None:
            return None
        if told.get("state") not in STATES:
            raise UserError(f"{self.path / STATUS}: the state is {told.get('state')!r}, not one of {', '.join(STATES)}")
        for key, value in told.items():
            kind = int if key.startswith("rows.") else _KINDS.get(key, object)
            if not isinstance(value, kind):
                raise UserError(
                    f"{self.path / STATUS}: {key} is {value!r}, not {'text' if kind is str else 'a number'}"
                )
        rows = {key.removeprefix("rows."): count for key, count in told.items() if key.startswith("rows.")}
        known = {field.name: told[field.name] for field in fields(Status) if field.name in told}
        return Status(**known | {"rows": rows or None})

    @property
    def state(self) -> str:
        """One of `STATES`, or "no status"."""
        return self.status.state if self.status else NO_STATUS

    @property
    def finished(self) -> bool:
        """Whether nothing more will be written: the run is done, or diverged."""
        return self.state in FINISHED

    def settings(self) -> dict[str, Any]:
        """The settings with dotted keys; lists are tuples."""
        found = self._contents(CONFIG)
        if found is None:
            raise UserError(f"{self.path / CONFIG}: the run's settings are missing")
        return found

    def provenance(self) -> dict[str, Any]:
        """Where the run comes from, with dotted keys; nothing where it does not say."""
        return self._contents(PROVENANCE) or {}

    def tables(self) -> dict[str, Table]:
        """The schemas of its tables by name; none for an unfinished run that has not written them yet."""
        path = self.path / TABLES
        return read_schemas(path) if path.exists() or self.finished else {}

    def _contents(self, file: str) -> dict[str, Any] | None:
        """A file's mapping with dotted keys; None where there is no such file."""
        path = self.path / file
        if not path.exists():
            return None
        try:
            return flat(_parsed(path, dict))
        except RecursionError:
            raise UserError(f"{path}: the settings contain themselves, or are nested too deeply") from None


@dataclass(frozen=True)
class PackedRun(RunFolder):
    """One run among many in the packed folder `home`, below which its own folder was when it was packed.

    `row` is what its files held, by the stems of their names; `schemas` are those of all runs, and `listed` their keys.
    """

    home: Path
    row: Mapping[str, dict[str, Any]]
    schemas: Mapping[str, Table]
    listed: Container[str]

    @property
    def key(self) -> str:
        """What the tables call it."""
        return self.path.relative_to(self.home).as_posix()

    def tables(self) -> dict[str, Table]:
        own = self.status.rows if self.status and self.status.rows else {}
        return {name: table for name, table in self.schemas.items() if name in own}

    def _contents(self, file: str) -> dict[str, Any] | None:
        return self.row.get(Path(file).stem)


def find_runs(root: Path) -> list[RunFolder]:
    """Every run below a folder, or below the place in a packed folder that a run folder once had.

    Hidden folders are not searched. Links are followed, to each folder once. The runs come in the order of their names.

    Raises:
        UserError: a folder cannot be searched, or a packed folder cannot be read; a run is there in both forms.
    """
    home = packed_home(root)
    found: list[RunFolder] = list(_search(root, root, {root.resolve()})) if root.is_dir() else []
    if home is not None and home != root:
        found += _packed(home, root)
    found.sort(key=lambda run: run.name.split("/"))
    for one, two in pairwise(found):
        if one.name == two.name:
            raise UserError(f"{one.path}: the run is packed in {home or root}, and has a folder; delete one of them")
    return found


def is_run(folder: Path) -> bool:
    """Whether a folder is a run's, which may have lost some of its files."""
    if (folder / CONFIG).exists() or (folder / STATUS).exists():
        return True
    return (folder / TABLES).exists() and not (folder / PACKED).exists()


def packed_home(path: Path) -> Path | None:
    """The packed folder that a path is, or lies in; None if there is none."""
    return next((f for f in (path, *path.parents) if (f / PACKED).is_file() and (f / TABLES).is_file()), None)


def flat(settings: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings with dotted keys; lists become tuples.

    Example:
        >>> flat({"norm": {"name": "group", "groups": [2, 4]}})
        {'norm.name': 'group', 'norm.groups': (2, 4)}
    """
    found: dict[str, Any] = {}
    for name, value in settings.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": _frozen(value)}
    return found


def to_cell(value: Any) -> str:
    """A value as `runs.csv` holds it: JSON, but for the texts that JSON would not take for something else.

    Example:
        >>> [to_cell(value) for value in ("vgg", "0.1", 0.1, None, (512, 512), "")]
        ['vgg', '"0.1"', '0.1', 'null', '[512, 512]', '""']
    """
    if isinstance(value, str) and value and from_cell(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def from_cell(text: str) -> Any:
    """The inverse of `to_cell`."""
    try:
        return _frozen(json.loads(text))
    except (ValueError, RecursionError):
        return text


def read_schemas(path: Path) -> dict[str, Table]:
    """The schemas of `tables.json` by name."""
    entries = _parsed(path, list)
    try:
        return {table.name: table for table in map(Table.from_dict, entries)}
    except (LookupError, TypeError, ValueError):
        raise UserError(
            f"{path}: not a list of table schemas (name, key, columns with name, kind, meaning, nan)"
        ) from None


def _search(folder: Path, root: Path, seen: set[Path]) -> Iterator[RunFolder]:
    """The runs in a folder; `seen` are the folders that were searched already."""
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise UserError(f"{folder}: cannot be searched for runs ({error.strerror})") from None
    if is_run(folder):
        yield RunFolder(folder.relative_to(root).as_posix(), folder)
    if PACKED in names and TABLES in names:
        yield from _packed(folder, root)
    home = root.resolve()
    for below in (folder / name for name in names if not name.startswith(".")):
        if not below.is_dir():
            continue
        real = below.resolve()
        # What a link shows of the tree itself is found there, under its own name.
        again = below.is_symlink() and (real.is_relative_to(home) or home.is_relative_to(real))
        if not again and real not in seen:
            seen.add(real)
            yield from _search(below, root, seen)


def _packed(home: Path, root: Path) -> Iterator[PackedRun]:
    """The runs of a packed folder that lie below `root`, which may lie above the folder or inside it."""
    path = home / PACKED
    schemas = read_schemas(home / TABLES)
    lines = csv.reader(io.StringIO(_read(path), newline=""), strict=True)
    rows = filter(None, lines)  # a blank line is none
    listed: set[str] = set()
    try:
        header = [name.partition(".") for name in next(rows)]
        if (first := header[0][0]) != "run":
            other = f"the first column is {first!r}, not 'run'"
            raise UserError(f"{path}:1: {SEMICOLONS if first.startswith('run;') else other}")
        for run, *cells in rows:
            if len(cells) != len(header) - 1:
                raise UserError(f"{path}:{lines.line_num}: {len(cells) + 1} values instead of {len(header)}")
            if run in listed:
                raise UserError(f"{path}:{lines.line_num}: a second row for {run}; delete one of them")
            listed.add(run)
            row: dict[str, dict[str, Any]] = {}
            for (file, _, key), cell in zip(header[1:], cells, strict=True):
                if cell:
                    row.setdefault(file, {})[key] = from_cell(cell)
            place = home / run
            if place.is_relative_to(root):
                yield PackedRun(place.relative_to(root).as_posix(), place, home, row, schemas, listed)
    except (csv.Error, StopIteration) as error:
        raise UserError(f"{path}:{max(lines.line_num, 1)}: not a line of CSV ({error})") from None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # which some editors begin with a mark
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text") from None


def _parsed(path: Path, kind: type) -> Any:
    """What a YAML or JSON file holds, a thing of this kind."""
    text, form = _read(path), "YAML" if path.suffix == ".yaml" else "JSON"
    try:
        found = yaml.load(text, Loader=_Loader) if form == "YAML" else json.loads(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # such as the 30th of February
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else getattr(error, "lineno", None)
        problem = getattr(error, "problem", None) or getattr(error, "msg", None) or error
        raise UserError(f"{path}{f':{line}' if line else ''}: not valid {form} ({problem})") from None
    if not isinstance(found, kind):
        raise UserError(f"{path}: holds a {type(found).__name__}, not a {kind.__name__}")
    return found


def _frozen(value: Any) -> Any:
    if isinstance(value, list | set | tuple):
        return tuple(map(_frozen, value))
    return tuple((str(k), _frozen(v)) for k, v in value.items()) if isinstance(value, dict) else value
