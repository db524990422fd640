"""A run's CSV files, which grow row by row and can be cut back to where a checkpoint was taken."""

import csv
import io
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from zlib import crc32

from ics.errors import UserError
from ics.tables import Table, columns

TRAINING = Table(
    "training",
    columns(
        ("step", "int", "number of updates before this one"),
        ("epoch", "int", "epoch of the batch, from 0"),
        (
            "loss",
            "float",
            "loss of the batch before the update, without the penalty: mean per sample, or summed "
            "squared error for a regression; not finite in the last row of a diverged run",
            True,
        ),
        ("accuracy", "float", "share of the batch classified rightly, 0 to 1; nan for a regression", True),
        ("lr", "float", "learning rate of the update"),
    ),
)

EVALUATION = Table(
    "evaluation",
    columns(
        ("step", "int", "number of updates done"),
        ("split", "str", "test, or train where that is evaluated too"),
        ("loss", "float", "loss over the split in eval mode: mean per sample, or summed squared error", True),
        ("accuracy", "float", "share of the split classified rightly, 0 to 1; nan for a regression", True),
    ),
    key=("step", "split"),
)
"""These two are written whatever a run measures."""


class Recorder:
    """The CSV files of one run.

    Rows are on their way to the disk when `write` returns; a failed write is cut off again, so that the file ends in a
    whole row. Files are opened anew or, when resuming, cut back to the given offsets (in bytes, by table).

    Raises:
        OSError: a file cannot be written; ValueError: a file is shorter than its offset.
    """

    def __init__(self, folder: Path, tables: Iterable[Table], offsets: Mapping[str, int] | None = None) -> None:
        self._tables = {table.name: table for table in tables}
        self._files: dict[str, io.FileIO] = {}
        self._not_finite = ""  # where a value was not, though its column says so
        self._ends = {name: 0 if offsets is None else offsets[name] for name in self._tables}
        self._sums = {name: checksum(folder / f"{name}.csv", end) if end else 0 for name, end in self._ends.items()}
        try:
            for name, table in self._tables.items():
                path = folder / f"{name}.csv"
                self._files[name] = open(path, "w+b" if offsets is None else "r+b", buffering=0)  # noqa: SIM115
                self._cut(name)
                if offsets is None:
                    self._append(name, [table.header])
        except BaseException:
            self.close()
            raise

    def write(self, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append the rows of a step.

        Raises:
            UserError: their columns or kinds are not the table's, or two rows have one key.
        """
        schema, given = self._tables[table], list(rows)
        lines = [schema.format(row) for row in given]
        keys = [tuple(row[name] for name in schema.key) for row in given]
        if len({*keys}) < len(keys):
            twice = ", ".join(map(str, Counter(keys).most_common(1)[0][0]))
            raise UserError(f"table {table!r} got two rows for {', '.join(schema.key)} {twice}")
        self._append(table, lines)
        for name in (column.name for column in schema.columns if column.kind == "float" and not column.nan):
            for row in given:
                if not math.isfinite(row[name]):
                    self._not_finite = f"table {table!r}, column {name!r}, step {row['step']}: {row[name]}"

    def confirm(self) -> None:
        """Refuse what was written so far where it is not finite, as only the last step of a diverged run may be.

        Raises:
            UserError: a value that must be finite is not.
        """
        if self._not_finite:
            raise UserError(f"{self._not_finite} is not finite; nan=True in the column says that it may be")

    def sync(self) -> dict[str, dict[str, int]]:
        """Make all rows durable and return, for a checkpoint, the files' lengths in bytes and what they sum up to."""
        for file in self._files.values():
            os.fsync(file.fileno())
        return {"offsets": dict(self._ends), "checksums": dict(self._sums)}

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def _append(self, name: str, lines: list[list[str]]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(lines)
        data = memoryview(text.getvalue().encode())
        file = self._files[name]
        written = 0
        try:
            while written < len(data):
                written += file.write(data[written:]) or 0
        except OSError:
            self._cut(name)
            raise
        self._ends[name] += len(data)
        self._sums[name] = crc32(data, self._sums[name])

    def _cut(self, name: str) -> None:
        self._files[name].truncate(self._ends[name])
        self._files[name].seek(self._ends[name])


def checksum(path: Path, length: int) -> int:
    """Of a file's first bytes.

    Raises:
        OSError: it cannot be read; ValueError: it is shorter.
    """
    data = path.read_bytes()[:length]
    if len(data) < length:
        raise ValueError(f"{path} is shorter than when its checkpoint was taken")
    return crc32(data)
