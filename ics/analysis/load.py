"""Runs into tidy frames: one per table over all runs, every row with the settings of its run."""

import warnings
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ics.analysis.read import read_packed, read_table
from ics.errors import UserError
from ics.files import as_path
from ics.folder import PACKED, STATUS, TABLES, PackedRun, RunFolder, find_runs, packed_home
from ics.tables import Table

_OWN = ("run", "status", "data_label", "arm")

# Some of a table's rows, and for each the place of its run in `Runs.settings`.
_Rows = tuple[pd.DataFrame, NDArray[np.intp]]


class NoRuns(UserError):
    """There is nothing to load: no such folder, no run in it, or none that is finished."""


class Runs(Mapping[str, pd.DataFrame]):
    """All runs below a folder: table name -> tidy frame.

    Every frame has `run` (the folder relative to the root), the table's own columns, `status`, `data_label`, `arm`
    (the kind of normalisation as the paper names it), and the settings with dotted names (`norm.name`, `optimizer.lr`,
    `seed`). A setting that has the name of one of the table's columns is called `config.<name>`. Settings that are
    numbers throughout are numbers, the others categories; lists are tuples.

    A table is made when it is first asked for. Only then is a packed one read, and found damaged if it is.

    Attributes:
        root: where the runs lie.
        settings: one row per run, in the order of their names.
        skipped: run -> state of those that were left out because they are not finished, or "unreadable".
        schemas: table name -> what its columns mean.
    """

    def __init__(
        self,
        root: Path,
        settings: pd.DataFrame,
        skipped: Mapping[str, str],
        parts: Mapping[str, Sequence[Callable[[], _Rows]]],
        schemas: Mapping[str, Table],
    ) -> None:
        """For `load_runs`: `parts` make up each table."""
        self.root = root
        self.settings = settings
        self.skipped = dict(skipped)
        self.schemas = dict(schemas)
        self._parts = parts
        self._joined: dict[str, pd.DataFrame] = {}

    def __getitem__(self, table: str) -> pd.DataFrame:
        if table not in self._parts:
            raise KeyError(f"no table {table!r}; there are {', '.join(self._parts)}")
        if table not in self._joined:  # the settings can take more room than the rows
            frames, places = zip(*(part() for part in self._parts[table]), strict=True)
            self._joined[table] = self._join(frames, places, self.schemas[table].header)
        return self._joined[table]

    def __contains__(self, table: object) -> bool:  # Mapping's own would read the table
        return table in self._parts

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    __eq__, __hash__ = object.__eq__, object.__hash__  # so that what is worked out from them can be kept

    def __repr__(self) -> str:
        left_out = f", {len(self.skipped)} left out" if self.skipped else ""
        return f"<Runs in {self.root}: {len(self.settings)}{left_out}; tables {', '.join(self)}>"

    def instead(self, table: str, other: str) -> "Runs":
        """The same runs, in which one table has the rows of another, such as the shift by another definition.

        Args:
            table: the name that the rows get.
            other: the table that holds them.
        """
        parts, schemas = dict(self._parts), dict(self.schemas)
        parts[table], schemas[table] = parts[other], schemas[other]
        return Runs(self.root, self.settings, self.skipped, parts, schemas)

    def _join(
        self, frames: Sequence[pd.DataFrame], places: Sequence[NDArray[np.intp]], header: list[str]
    ) -> pd.DataFrame:
        rows, run = pd.concat(frames, ignore_index=True)[header], np.concatenate(places)
        if (run[1:] < run[:-1]).any():  # runs in folders among packed ones
            order = run.argsort(kind="stable")
            rows, run = rows.take(order).reset_index(drop=True), run[order]
        columns: dict[str, Any] = {
            "run": self.settings["run"].take(run).array,
            **{str(name): rows[name] for name in rows},
        }
        for name, values in self.settings.items():
            free = str(name) if name not in rows else f"config.{name}"
            columns.setdefault(free, values.take(run).array)
        return pd.DataFrame(columns, copy=False)


def load_runs(
    root: str | Path,
    tables: str | Iterable[str] | None = None,
    include_unfinished: bool = False,
    errors: Literal["raise", "warn"] = "raise",
) -> Runs:
    """Reads every run below a folder: run folders and packed ones give the same frames.

    Each CSV file is checked against the schema its run stored beside it.

    Args:
        root: the folder, such as `results/runs`; or one run's own; or what was that before the runs were packed, such
            as `results/reference/mnist`.
        tables: the name of the table to read, or several; all of them by default.
        include_unfinished: take runs that are neither done nor diverged as well. Without it they are left out
            with a warning. Of such runs a half-written last line is left out.
        errors: what a damaged run does: "raise", or "warn" and be left out.

    Returns:
        A mapping from table name to frame.

    Raises:
        NoRuns: there is nothing to read.
        UserError: a file is damaged; the message names it, and the line.

    Example:
        >>> runs = load_runs("results/runs")                              # doctest: +SKIP
        >>> runs["shift"].groupby(["norm.name", "layer_index"])["l2"].median()  # doctest: +SKIP
    """
    if errors not in ("raise", "warn"):
        raise UserError(f'errors must be "raise" or "warn", not {errors!r}')
    root = as_path(root)
    tables = (tables,) if isinstance(tables, str) else None if tables is None else tuple(tables)
    found = find_runs(root)
    if not found and not root.is_dir() and packed_home(root) is None:
        there = f"{root} is a file, not a folder" if root.is_file() else f"there is no folder {root}"
        raise NoRuns(f"{there}; python scripts/train.py -m experiment=quick makes runs")
    taken: list[tuple[RunFolder, dict[str, Any], dict[str, _Piece]]] = []
    schemas: dict[str, Table] = {}
    skipped: dict[str, str] = {}
    for run in found:
        try:
            if run.finished or include_unfinished:
                pieces = _pieces(run, tables)
                schemas |= {name: _union(piece, schemas.get(name)) for name, piece in pieces.items()}
                taken.append((run, _record(run), pieces))
            else:
                skipped[run.name] = run.state
        except UserError as error:
            if errors == "raise":
                others = f'; errors="warn" reads the other {len(found) - 1} runs' if len(found) > 1 else ""
                raise UserError(f"{error}{others}") from None
            warnings.warn(f"{error}; run {run.name} is left out, until overwrite=true makes it anew", stacklevel=2)
            skipped[run.name] = "unreadable"
    if not taken:
        which = f"no finished run in {root} ({_count(skipped)})" if skipped else f"no runs in {root}"
        raise NoRuns(f"{which}; python scripts/train.py -m experiment=quick makes some")
    if skipped:
        warnings.warn(f"{len(skipped)} of {len(found)} runs left out: {_count(skipped)}", stacklevel=2)
    parts = _parts([(run, pieces) for run, _, pieces in taken])
    if unknown := [name for name in tables or () if name not in parts]:
        known = dict.fromkeys(name for run, _, _ in taken for name in run.tables())
        raise UserError(f"no run in {root} has a table {unknown[0]!r}; there are {', '.join(known) or 'none'}")
    return Runs(root, _settings_frame([record for _, record, _ in taken]), skipped, parts, schemas)


def _record(run: RunFolder) -> dict[str, Any]:
    """A run's row of `Runs.settings`."""
    settings = {f"config.{name}" if name in _OWN else name: value for name, value in run.settings().items()}
    label = run.provenance().get("data_label")
    norm = str(settings["norm.name"]) if "norm.name" in settings else None
    own = (run.name, run.state, None if label is None else str(label), "standard" if norm == "none" else norm)
    return dict(zip(_OWN, own, strict=True)) | settings


class _Piece(NamedTuple):
    """A run's rows of one table, in a file; no frame yet where they are packed with those of other runs."""

    table: Table
    path: Path
    frame: pd.DataFrame | None


def _pieces(run: RunFolder, wanted: Sequence[str] | None) -> dict[str, _Piece]:
    """A run's tables by name; files are read, but for packed ones."""
    found, tables = {}, run.tables()
    if lost := (run.status.rows or {}).keys() - tables if run.status else set():
        raise UserError(f"{run.path}: {STATUS} counts rows of {min(lost)!r}, a table that {TABLES} does not list")
    for name, table in tables.items():
        if wanted is not None and name not in wanted:
            continue
        if isinstance(run, PackedRun):
            found[name] = _Piece(table, run.home / f"{name}.csv.gz", None)
            continue
        path = run.path / f"{name}.csv"
        if run.finished or path.exists():
            counted = run.status.rows.get(name) if run.status and run.status.rows else None
            diverged, growing = run.state == "diverged", not run.finished
            frame = read_table(path, table, diverged=diverged, growing=growing, rows=counted)
            found[name] = _Piece(table, path, frame)
    return found


def _parts(taken: Sequence[tuple[RunFolder, Mapping[str, _Piece]]]) -> dict[str, list[Callable[[], _Rows]]]:
    """By table, what gives its rows: once for each run folder, and once for all runs of a packed folder."""
    parts: dict[str, list[Callable[[], _Rows]]] = {}
    packed: dict[Path, dict[str, tuple[int, int]]] = {}
    for place, (run, pieces) in enumerate(taken):
        for name, piece in pieces.items():
            mine = parts.setdefault(name, [])
            if piece.frame is not None:
                mine.append(partial(_of_run, piece.frame, place))
            elif isinstance(run, PackedRun) and run.status and run.status.rows:
                if piece.path not in packed:
                    packed[piece.path] = {}
                    mine.append(partial(_of_packed, piece, packed[piece.path], run.listed))
                packed[piece.path][run.key] = place, run.status.rows[name]
    return parts


def _of_run(frame: pd.DataFrame, place: int) -> _Rows:
    return frame, np.full(len(frame), place)


def _of_packed(piece: _Piece, runs: Mapping[str, tuple[int, int]], listed: Container[str]) -> _Rows:
    """The rows of some runs of a packed folder: name there -> place in `Runs.settings`, number of rows."""
    frame = read_packed(piece.path, piece.table)
    run = frame.pop("run").array
    for name in (name for name in run.categories if name not in listed):
        raise UserError(f"{piece.path}: has rows of {name}, a run that {PACKED} does not list; pack the runs anew")
    place_of = np.array([runs[name][0] if name in runs else -1 for name in run.categories], dtype=np.intp)
    places = place_of[run.codes]
    counts = dict(zip(*np.unique(places, return_counts=True), strict=True))
    for name, (place, rows) in runs.items():
        if counts.get(place, 0) != rows:
            raise UserError(f"{piece.path}: run {name} has {counts.get(place, 0):,} rows; {rows:,} were packed")
    return frame[places >= 0], places[places >= 0]


def _count(states: Mapping[str, str]) -> str:
    return ", ".join(f"{n} {state}" for state, n in Counter(states.values()).most_common())


def _union(piece: _Piece, others: Table | None) -> Table:
    try:
        return others.union(piece.table) if others else piece.table
    except ValueError as error:
        raise UserError(f"{piece.path}: {error}; runs of different versions cannot be read together") from None


def _settings_frame(records: list[dict[str, Any]]) -> pd.DataFrame:
    names = [*_OWN, *sorted({name for record in records for name in record} - set(_OWN))]
    return pd.DataFrame({name: _column([record.get(name) for record in records]) for name in names})


def _column(values: list[Any]) -> pd.Series:
    """Bools and numbers as such (a missing number is nan), everything else as categories."""
    kinds = {type(value) for value in values}
    if kinds <= {bool}:
        return pd.Series(values, dtype="bool")
    if kinds <= {int} and all(abs(value) < 2**63 for value in values):
        return pd.Series(values, dtype="int64")
    if kinds <= {int, float, type(None)} and kinds != {type(None)}:
        return pd.Series(values, dtype="float64")
    categories = pd.Index(list(dict.fromkeys(v for v in values if v is not None)), dtype=object, tupleize_cols=False)
    codes = {category: code for code, category in enumerate(categories)}
    return pd.Series(pd.Categorical.from_codes([codes.get(value, -1) for value in values], categories))
