"""Run folders into tidy frames: one per table over all runs, every row with the settings of its run."""

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ics.analysis.read import read_table
from ics.analysis.run_folder import find_run_folders
from ics.errors import UserError
from ics.tables import Table

_OWN = ("run", "status", "data_label")


class NoRuns(UserError):
    """There is nothing to load: no such folder, no run in it, or none that is finished."""


class Runs(Mapping[str, pd.DataFrame]):
    """All runs below a folder: table name -> tidy frame.

    Every frame has `run` (the folder relative to the root), the table's own columns, `status`, `data_label`,
    and the settings with dotted names (`norm.name`, `optimizer.lr`, `seed`). A setting that has the name of
    one of the table's columns is called `config.<name>`. Settings that are numbers throughout are numbers,
    the others categories; lists are tuples.

    Attributes:
        root: where the runs lie.
        settings: one row per run, in the order of their names.
        skipped: run -> state of those that were left out because they are not finished.
        schemas: table name -> what its columns mean.
    """

    def __init__(
        self,
        root: Path,
        settings: pd.DataFrame,
        skipped: Mapping[str, str],
        rows: Mapping[str, Mapping[int, pd.DataFrame]],
        schemas: Mapping[str, Table],
    ) -> None:
        """For `load_runs`: `rows` holds, by table, the frame of each run by its row number in `settings`."""
        self.root = root
        self.settings = settings
        self.skipped = dict(skipped)
        self.schemas = dict(schemas)
        self._rows = rows
        self._joined: dict[str, pd.DataFrame] = {}

    def __getitem__(self, table: str) -> pd.DataFrame:
        if table not in self._joined:  # joined when first asked for: the settings can take more room than the rows
            self._joined[table] = self._join(self._rows[table])
        return self._joined[table]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        left_out = f", {len(self.skipped)} left out" if self.skipped else ""
        return f"<Runs in {self.root}: {len(self.settings)}{left_out}; tables {', '.join(self)}>"

    def _join(self, frames: Mapping[int, pd.DataFrame]) -> pd.DataFrame:
        rows = pd.concat(frames.values(), ignore_index=True)
        run = np.repeat(list(frames), [len(frame) for frame in frames.values()])
        columns: dict[str, Any] = {
            "run": self.settings["run"].take(run).array,
            **{str(name): rows[name] for name in rows},
        }
        for name, values in self.settings.items():
            free = str(name) if name not in rows else f"config.{name}"
            columns.setdefault(free, values.take(run).array)
        return pd.DataFrame(columns, copy=False)


def load_runs(root: str | Path, tables: Sequence[str] | None = None, include_unfinished: bool = False) -> Runs:
    """Reads every run below a folder; a run is a folder with a config.yaml.

    Each CSV file is checked against the schema its run stored beside it.

    Args:
        root: the folder, such as `results/runs`; or one run's own.
        tables: the names of the tables to read; all of them by default.
        include_unfinished: take runs that are neither done nor diverged as well. Without it they are left out
            with a warning. Of such runs a half-written last line is left out.

    Returns:
        A mapping from table name to frame.

    Raises:
        NoRuns: there is nothing to read.
        UserError: a file is damaged; the message names it, and the line.

    Example:
        >>> runs = load_runs("results/runs")                              # doctest: +SKIP
        >>> runs["shift"].groupby(["norm.name", "layer_index"])["l2"].median()  # doctest: +SKIP
    """
    root = Path(root)
    if not root.is_dir():
        raise NoRuns(f"there is no folder {root}; python scripts/train.py -m experiment=quick makes runs")
    folders = list(find_run_folders(root))
    taken = [folder for folder in folders if folder.finished or include_unfinished]
    skipped = {} if include_unfinished else {f.name: f.state for f in folders if not f.finished}
    if not taken:
        which = f"no finished run in {root} ({_count(skipped)})" if skipped else f"no runs in {root}"
        raise NoRuns(f"{which}; python scripts/train.py -m experiment=quick makes some")
    if skipped:
        warnings.warn(f"{len(skipped)} of {len(folders)} runs left out: {_count(skipped)}", stacklevel=2)

    records: list[dict[str, Any]] = []
    rows: dict[str, dict[int, pd.DataFrame]] = {}
    schemas: dict[str, Table] = {}
    sources: dict[str, Path] = {}
    for number, folder in enumerate(taken):
        own = {"run": folder.name, "status": folder.state, "data_label": folder.data_label()}
        renamed = {f"config.{k}" if k in _OWN else k: v for k, v in folder.settings().items()}
        records.append(own | renamed)
        for name, table in folder.tables().items():
            if tables is not None and name not in tables:
                continue
            path = folder.path / f"{name}.csv"
            if not folder.finished and not path.exists():
                continue
            _refuse_other_columns(table, path, schemas.setdefault(name, table), sources.setdefault(name, path))
            frame = read_table(path, table, diverged=folder.state == "diverged", growing=not folder.finished)
            rows.setdefault(name, {})[number] = frame
    if unknown := [name for name in tables or () if name not in rows]:
        raise UserError(f"no run in {root} has a table {unknown[0]!r}; there are {', '.join(rows) or 'none'}")
    return Runs(root, _settings_frame(records), skipped, rows, schemas)


def _count(states: Mapping[str, str]) -> str:
    return ", ".join(f"{n} {state}" for state, n in Counter(states.values()).most_common())


def _refuse_other_columns(table: Table, path: Path, first: Table, source: Path) -> None:
    if [(c.name, c.kind) for c in table.columns] != [(c.name, c.kind) for c in first.columns]:
        raise UserError(
            f"{path}: has the columns {', '.join(table.header)}, but {source} has {', '.join(first.header)}; "
            "runs of different versions cannot be read together"
        )


def _settings_frame(records: list[dict[str, Any]]) -> pd.DataFrame:
    names = dict.fromkeys(name for record in records for name in record)
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
