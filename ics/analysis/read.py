"""Reads one CSV file as carefully as it was written: the schema is checked, a fault is named by its line.

There are two readers. `_line_by_line` is the definition: slow, obvious, stops at the first fault. `_at_once`
is ten times faster and gives up (None) on anything out of the ordinary, so that only the slow one ever judges
a fault.
"""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ics.errors import UserError
from ics.tables import Column, Table

_DTYPES: dict[str, Any] = {"int": "int64", "float": "float64", "str": "str"}
# Since 3.1 pandas reads floats to the bit and warns when asked to.
_EXACT: dict[str, Any] = (
    {} if tuple(map(int, pd.__version__.split(".")[:2])) >= (3, 1) else {"float_precision": "round_trip"}
)


def read_table(path: Path, table: Table, *, diverged: bool = False, growing: bool = False) -> pd.DataFrame:
    """One CSV file as a frame, floats to the bit as they were written.

    Args:
        path: the file.
        table: its schema.
        diverged: the run ended because a value was no longer finite; the rows of the file's last step may
            then hold nan and inf in every float column.
        growing: the run is not finished; a half-written last line is left out and not an error.

    Raises:
        UserError: the file cannot be read or is not what the schema says; the message begins with
            `file:line`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if growing:
        data = data[: data.rfind(b"\n") + 1] or ",".join(table.header).encode() + b"\n"
    frame = _at_once(data, table)
    if frame is None or not _sound(frame, table, diverged):
        frame = _line_by_line(path, data, table, diverged)
    return frame


def _at_once(data: bytes, table: Table) -> pd.DataFrame | None:
    header = ",".join(table.header).encode() + b"\n"
    if not data.startswith(header) or not data.endswith(b"\n") or any(c in data for c in b'"\r\0'):
        return None
    characters = np.frombuffer(data, dtype=np.uint8)
    commas, ends = np.flatnonzero(characters == ord(",")), np.flatnonzero(characters == ord("\n"))
    commas_per_line = np.diff(np.searchsorted(commas, ends), prepend=0)
    if (commas_per_line != len(table.columns) - 1).any():
        return None
    try:
        # Told the types, pandas would take 1.0 for an int, True for a float: it guesses, and is checked.
        frame = pd.read_csv(
            io.BytesIO(data),
            dtype={c.name: "str" for c in table.columns if c.kind == "str"},
            na_values={c.name: ["nan"] for c in table.columns if c.kind == "float"},
            keep_default_na=False,
            skip_blank_lines=False,
            low_memory=False,
            **_EXACT,
        )
    except (ValueError, OverflowError, pd.errors.ParserError):
        return None
    guesses_hold = all(c.kind == "str" or frame[c.name].dtype == _DTYPES[c.kind] for c in table.columns)
    return frame if guesses_hold else None


def _sound(frame: pd.DataFrame, table: Table, diverged: bool) -> bool:
    steps = frame[table.key[0]].to_numpy()
    must_be_finite = [c.name for c in table.columns if c.kind == "float" and not c.nan]
    rows = steps != steps[-1] if diverged else slice(None)
    finite = all(np.isfinite(frame[name].to_numpy()[rows]).all() for name in must_be_finite)
    in_order = (steps[1:] >= steps[:-1]).all()
    return bool(finite and in_order and not frame.duplicated(list(table.key)).any())


def _line_by_line(path: Path, data: bytes, table: Table, diverged: bool) -> pd.DataFrame:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{path}:{_line_of(data, error.start)}: not UTF-8 text") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)

    def fault(problem: str) -> UserError:
        return UserError(f"{path}:{max(reader.line_num, 1)}: {problem}")

    cut_off = "the last line is cut off (it does not end with a newline)"
    last_line = _line_of(data, len(data) - 1)
    step_at = table.header.index(table.key[0])
    lines_of_keys: dict[tuple[Any, ...], int] = {}
    rows: list[list[Any]] = []
    suspect: UserError | None = None  # forgiven if no later step follows it and the run diverged
    try:
        header = next(reader, None)
        if header is None:
            raise fault(f"the file is empty; its first line should be {','.join(table.header)}")
        if reader.line_num >= last_line and not data.endswith(b"\n"):
            raise fault(cut_off)
        if problem := _header_problem(header, table.header):
            raise fault(problem)
        for texts in reader:
            if reader.line_num >= last_line and not data.endswith(b"\n"):
                raise fault(cut_off)
            if len(texts) != len(table.columns):
                raise fault(f"{len(texts)} values instead of {len(table.columns)}" if texts else "an empty line")
            row = [_value(column, text, fault) for column, text in zip(table.columns, texts, strict=True)]
            named = dict(zip(table.header, row, strict=True))
            key = tuple(named[name] for name in table.key)
            what = ", ".join(f"{name} {named[name]}" for name in table.key)
            if rows and row[step_at] < rows[-1][step_at]:
                raise fault(f"{table.key[0]} {row[step_at]} comes after {table.key[0]} {rows[-1][step_at]}")
            if key in lines_of_keys:
                raise fault(f"a second row for {what}; the first is in line {lines_of_keys[key]}")
            if suspect and row[step_at] != rows[-1][step_at]:
                raise suspect
            for column, value in zip(table.columns, row, strict=True):
                if column.kind == "float" and not column.nan and not np.isfinite(value):
                    suspect = suspect or fault(f"column {column.name!r} must be finite here, not {value}")
            if suspect and not diverged:
                raise suspect
            lines_of_keys[key] = reader.line_num
            rows.append(row)
    except csv.Error as error:
        raise fault(f"not a line of CSV ({error})") from None
    if not data.endswith(b"\n"):
        raise fault(cut_off)
    frame = pd.DataFrame(rows, columns=table.header)
    return frame.astype({column.name: _DTYPES[column.kind] for column in table.columns})


def _line_of(data: bytes, position: int) -> int:
    return data[: max(position, 0)].count(b"\n") + 1


def _header_problem(found: list[str], wanted: list[str]) -> str | None:
    """What is wrong with a file's first line, or None."""
    if missing := [name for name in wanted if name not in found]:
        return f"the column {missing[0]!r} is missing; tables.json has {', '.join(wanted)}"
    if foreign := [name for name in found if name not in wanted]:
        return f"the column {foreign[0]!r} is not in tables.json, which has {', '.join(wanted)}"
    if len(found) > len(wanted):
        return f"a column appears twice in {', '.join(found)}"
    if found != wanted:
        return f"the columns are in the order {', '.join(found)}, not {', '.join(wanted)}"
    return None


def _value(column: Column, text: str, fault: Callable[[str], UserError]) -> Any:
    """The text as the column's kind; Python's own 1_000 and non-ASCII digits are not numbers here."""
    if column.kind == "str":
        return text
    try:
        if "_" in text or not text.isascii():
            raise ValueError
        value = int(text) if column.kind == "int" else float(text)
    except ValueError:
        raise fault(f"column {column.name!r} holds {column.kind}s, not {text!r}") from None
    if column.kind == "int" and not -(2**63) <= value < 2**63:
        raise fault(f"column {column.name!r}: {text} is too large for an int")
    return value
