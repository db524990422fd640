"""Reads one CSV file as carefully as it was written: the schema is checked, a fault is named by its line.

pandas reads all values at once and guesses their types; where a guess differs from the schema, the column's texts are
read one by one, which says what is wrong with them.
"""

import codecs
import csv
import gzip
import io
import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ics.errors import UserError
from ics.tables import SEMICOLONS, Column, Table

Fault = Callable[[int, str], UserError]

_DTYPES: dict[str, Any] = {"int": "int64", "float": "float64", "str": "str"}
_OPTIONS: dict[str, Any] = {"keep_default_na": False, "skip_blank_lines": False, "low_memory": False}
# Since 3.1 pandas reads floats to the bit and warns when asked to.
if tuple(map(int, pd.__version__.split(".")[:2])) < (3, 1):
    _OPTIONS["float_precision"] = "round_trip"


def read_table(
    path: Path, table: Table, *, diverged: bool = False, growing: bool = False, rows: int | None = None
) -> pd.DataFrame:
    """One CSV file of a run as a frame, floats to the bit as they were written.

    Args:
        path: the file.
        table: its schema.
        diverged: the run ended because a value was no longer finite; the rows of the file's last step may
            then hold nan and inf in every float column.
        growing: the run is not finished; a half-written last line is left out and not an error.
        rows: how many the run counted at its end; None if it did not.

    Raises:
        UserError: the file cannot be read or is not what the schema says; the message begins with `file:line`.
    """

    def fault(line: int, problem: str) -> UserError:
        return UserError(f"{path}:{line}: {problem}")

    data = _bytes(path).removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")
    if growing:
        data = data[: data.rfind(b"\n") + 1] or ",".join(table.header).encode() + b"\n"
    _check_lines(data, table, fault)
    frame = _frame(data, table, fault)
    _check_rows(frame, table, diverged, fault)
    if rows is not None and rows != len(frame):
        raise fault(len(frame) + 1, f"ends after {len(frame):,} rows; the run counted {rows:,} at its end")
    return frame


def read_packed(path: Path, table: Table) -> pd.DataFrame:
    """A table of a packed folder: the runs' rows one after the other, with a first column `run` of categories.

    The rows were checked when they were packed, and gzip's checksum tells whether they are those.

    Raises:
        UserError: the file cannot be read, is damaged, or has other columns.
    """
    packed = _bytes(path)
    try:
        data = gzip.decompress(packed)
        types = {column.name: _DTYPES[column.kind] for column in table.columns}
        missing = {column.name: ["nan"] for column in table.columns if column.kind == "float"}
        types["run"] = "category"
        frame: pd.DataFrame = pd.read_csv(io.BytesIO(data), dtype=types, na_values=missing, **_OPTIONS)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UserError(f"{path}: damaged ({error})") from None
    if list(frame.columns) != ["run", *table.header]:
        raise UserError(f"{path}: has the columns {', '.join(frame.columns)}, not run, {', '.join(table.header)}")
    return frame


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def _check_lines(data: bytes, table: Table, fault: Fault) -> None:
    """Every line is whole and has as many values as the header, which is the schema's: pandas would fill up or cut."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise fault(data[: error.start].count(b"\n") + 1, "not UTF-8 text") from None
    if not data:
        raise fault(1, f"the file is empty; its first line should be {','.join(table.header)}")
    if not data.endswith(b"\n"):
        raise fault(data.count(b"\n") + 1, "the last line is cut off (it does not end with a newline)")
    for stray in re.finditer(rb"[\r\0]", data):
        raise fault(data[: stray.start()].count(b"\n") + 1, f"a stray character {stray.group().decode()!r}")
    if b'"' in data:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        try:
            header, *lines = reader
        except csv.Error as error:
            raise fault(reader.line_num, f"not a line of CSV ({error})") from None
        counts = np.array([len(header), *map(len, lines)])
    else:
        header = text[: text.index("\n")].split(",")
        characters = np.frombuffer(data, dtype=np.uint8)
        commas, ends = np.flatnonzero(characters == ord(",")), np.flatnonzero(characters == ord("\n"))
        counts = np.diff(np.searchsorted(commas, ends), prepend=0) + 1
    if header != table.header:
        problem = f"the columns are {', '.join(header)}; tables.json has {', '.join(table.header)}"
        if ",".join(header) == ";".join(table.header):
            problem = SEMICOLONS
        if header == ["", *table.header]:
            problem = "the first column is an index without a name; write the table with index=False"
        raise fault(1, problem)
    for line in np.flatnonzero(counts != len(header))[:1]:
        empty = not text.split("\n")[line]
        raise fault(int(line) + 1, "an empty line" if empty else f"{counts[line]} values instead of {len(header)}")


def _frame(data: bytes, table: Table, fault: Fault) -> pd.DataFrame:
    texts = {column.name: "str" for column in table.columns if column.kind == "str"}
    missing = {column.name: ["nan"] for column in table.columns if column.kind == "float"}
    try:
        # Told the types, pandas would take 1.0 for an int, True for a float: it guesses, and is checked.
        frame: pd.DataFrame = pd.read_csv(io.BytesIO(data), dtype=texts, na_values=missing, **_OPTIONS)
        unlike = [c for c in table.columns if c.kind != "str" and frame[c.name].dtype != _DTYPES[c.kind]]
        found = pd.read_csv(io.BytesIO(data), dtype="str", **_OPTIONS) if unlike else frame
    except (ValueError, OverflowError) as error:
        raise fault(1, f"pandas cannot read the file ({error})") from None
    for column in unlike:
        values = [_value(column, text, line, fault) for line, text in enumerate(found[column.name], start=2)]
        frame[column.name] = pd.Series(values, dtype=_DTYPES[column.kind])
    return frame


def _value(column: Column, text: str, line: int, fault: Fault) -> float:
    """The text as a number; Python's own 1_000 and non-ASCII digits are none here."""
    try:
        if "_" in text or not text.isascii():
            raise ValueError
        value = int(text) if column.kind == "int" else float(text)
    except ValueError:
        ways = {"int": " (write it without the comma)", "float": " (a decimal comma; write a point)"}
        way = ways[column.kind] if re.fullmatch(r"\s*[+-]?[\d,]*,\d+(e[+-]?\d+)?", text) else ""
        raise fault(line, f"column {column.name!r} holds {column.kind}s, not {text!r}{way}") from None
    if column.kind == "int" and not -(2**63) <= value < 2**63:
        raise fault(line, f"column {column.name!r}: {text} is too large for an int")
    return value


def _check_rows(frame: pd.DataFrame, table: Table, diverged: bool, fault: Fault) -> None:
    steps = frame[table.key[0]].to_numpy()
    for row in np.flatnonzero(steps[1:] < steps[:-1])[:1] + 1:
        raise fault(int(row) + 2, f"{table.key[0]} {steps[row]} comes after {table.key[0]} {steps[row - 1]}")
    key = list(table.key)
    for row in np.flatnonzero(frame.duplicated(key))[:1]:
        first = int(np.flatnonzero((frame[key] == frame[key].iloc[row]).all(axis=1))[0])
        what = ", ".join(f"{name} {frame[name].iloc[row]}" for name in key)
        raise fault(int(row) + 2, f"a second row for {what}; the first is in line {first + 2}")
    forgiven = steps == steps[-1] if diverged and len(steps) else False
    for name in (column.name for column in table.columns if column.kind == "float" and not column.nan):
        values = frame[name].to_numpy()
        for row in np.flatnonzero(~(np.isfinite(values) | forgiven))[:1]:
            raise fault(int(row) + 2, f"column {name!r} must be finite here, not {values[row]}")
