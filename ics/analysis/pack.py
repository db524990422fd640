"""Packs runs: of many folders with a few small files each, one with a row per run and a gzipped CSV file per table."""

import gzip
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from ics.analysis.load import load_runs
from ics.errors import UserError
from ics.files import write_together
from ics.folder import PACKED, TABLES, find_runs, flat, is_run, packed_home, to_cell
from ics.tables import Table, to_json

_Row = Mapping[str, str]  # column of runs.csv -> cell


class _Runs(NamedTuple):
    """Runs as a packed folder holds them: each run's row; each table's rows, with the column `run`, and its schema."""

    rows: Mapping[str, _Row]
    tables: Mapping[str, pd.DataFrame]
    schemas: Mapping[str, Table]

    def differs(self, run: str, other: "_Runs") -> bool:
        """Whether two packed folders have different runs of one name."""
        return self.rows[run] != other.rows[run] or any(
            not _of(self.tables[name], run).equals(_of(other.tables[name], run))
            for name in self.tables.keys() & other.tables.keys()
        )


def pack(source: Path, target: Path, overwrite: bool = False) -> list[Path]:
    """Adds the finished runs below a folder to a packed one; the same runs make the same bytes.

    The commands that made them lose their `runs=`, a path of one machine.

    Args:
        source: run folders, or packed ones.
        target: the packed folder, made if need be; or a place inside one, below which the runs are put.
        overwrite: a run replaces one that has its name and other contents.

    Returns:
        The files written.

    Raises:
        UserError: there is nothing to pack, a run is damaged, or something else that is there would be replaced.
    """
    home = packed_home(target) or target
    inner, outer = sorted((source.resolve(), home.resolve()), reverse=True)
    is_anew = source.resolve() == target.resolve() and packed_home(source) is not None
    if inner.is_relative_to(outer) and not is_anew:
        raise UserError(f"{source} and {home} lie in each other, which would hold runs twice; pack into another folder")
    new = _gathered(source, target.relative_to(home))
    old = _gathered(home, Path()) if packed_home(home) else _Runs({}, {}, {})
    other = [run for run in new.rows.keys() & old.rows.keys() if new.differs(run, old)]
    if other and not overwrite:
        raise UserError(
            f"{home} holds other runs under the names of {len(other)} of these, such as {min(other)}; "
            "--overwrite takes the new ones"
        )
    rows, schemas = {**old.rows, **new.rows}, {**old.schemas, **new.schemas}
    for name in new.schemas.keys() & old.schemas.keys():
        try:
            schemas[name] = old.schemas[name].union(new.schemas[name])
        except ValueError as error:
            raise UserError(f"{home / name}.csv.gz and {source}: {error}; pack into another folder") from None
    names = sorted(rows, key=lambda run: run.split("/"))
    _refuse_to_replace(home, new.rows, [PACKED, TABLES, *(f"{table}.csv.gz" for table in schemas)])
    home.mkdir(parents=True, exist_ok=True)
    told = pd.DataFrame([rows[name] for name in names], pd.Index(names, name="run"), dtype=object).sort_index(axis=1)
    contents = {PACKED: told.to_csv(lineterminator="\n").encode(), TABLES: to_json([*schemas.values()]).encode()}
    for table, schema in schemas.items():
        kept = [old.tables[table][~old.tables[table]["run"].isin(new.rows)]] if table in old.tables else []
        frame = pd.concat([*kept, *([new.tables[table]] if table in new.tables else [])])
        frame = (
            frame[["run", *schema.header]]
            .assign(run=pd.Categorical(frame["run"], names))
            .sort_values("run", kind="stable")
        )
        text = frame.to_csv(index=False, na_rep="nan", lineterminator="\n")
        contents[f"{table}.csv.gz"] = gzip.compress(text.encode(), mtime=0)
    files = {home / name: data for name, data in contents.items()}
    write_together(files)
    return [*files]


def _refuse_to_replace(home: Path, runs: Iterable[str], files: Iterable[str]) -> None:
    """Raise an error if what is to be written would hide or replace what is no packed folder's."""
    own = next((path for path in (home, *home.parents) if is_run(path)), None)
    taken = own or next((home / run for run in runs if (home / run).exists()), None)
    if taken is None and not packed_home(home):
        taken = next((home / name for name in files if (home / name).exists()), None)
    if taken is not None:
        raise UserError(f"{taken} is there already, and does not belong to a packed folder; pack into another folder")


def _gathered(root: Path, place: Path) -> _Runs:
    """The finished runs below a folder, under the names they get at a place in the packed folder."""
    runs = load_runs(root)
    tables = {name: runs[name][["run", *table.header]].astype({"run": "str"}) for name, table in runs.schemas.items()}
    counts = {name: rows["run"].value_counts() for name, rows in tables.items()}
    names, rows = {}, {}
    for run in find_runs(root):
        if run.name in runs.skipped or run.status is None:
            continue
        names[run.name] = (place / run.name).as_posix()
        counted = {table: int(counts[table].get(run.name, 0)) for table in run.tables()}
        status = asdict(replace(run.status, rows=counted))
        row = flat({"config": run.settings(), "provenance": _elsewhere(**run.provenance()), "status": status})
        rows[names[run.name]] = {column: to_cell(value) for column, value in row.items()}
    tables = {name: table.assign(run=table["run"].map(names)) for name, table in tables.items()}
    return _Runs(rows, tables, runs.schemas)


def _elsewhere(command: str | None = None, **others: Any) -> dict[str, Any]:
    """Where a run comes from, for other machines: without the folder that it was put into on its own."""
    if command is None:
        return others
    return {"command": shlex.join(word for word in shlex.split(command) if not word.startswith("runs="))} | others


def _of(rows: pd.DataFrame, run: str) -> pd.DataFrame:
    return rows[rows["run"] == run].reset_index(drop=True)
