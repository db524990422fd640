"""What a CSV table is: its name, its columns, what they mean. Both the writing and the reading side know only this."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from ics.errors import UserError

Kind = Literal["int", "float", "str"]
KINDS: dict[Kind, Any] = {"int": int, "float": (int, float), "str": str}
"""Kind of a column → the types of its values."""


SEMICOLONS = "values are separated by ';', as a spreadsheet with decimal commas writes them; save it with ',' and '.'"
"""What is wrong with a CSV file of this kind."""


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        name: the header.
        kind: "int", "float" or "str".
        meaning: one sentence, with the unit.
        nan: whether a float may be "nan" because the quantity is undefined there (the cosine of a zero vector);
            infinities are allowed wherever nan is.
    """

    name: str
    kind: Kind
    meaning: str
    nan: bool = False


@dataclass(frozen=True)
class Table:
    """The schema of one CSV file.

    Attributes:
        name: the file is `<name>.csv`.
        columns: in the order of the header.
        key: the columns that together identify a row; `step` comes first and never decreases down the file.
    """

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ("step",)

    @property
    def header(self) -> list[str]:
        """The column names in order."""
        return [column.name for column in self.columns]

    def format(self, row: Mapping[str, Any]) -> list[str]:
        """One row as text, floats in the shortest form that reads back to the same bits.

        Raises:
            UserError: the row's columns are not exactly the table's, or a value is of another kind.
        """
        if set(row) != set(self.header):
            raise UserError(f"table {self.name!r} has the columns {self.header}, the row has {sorted(row)}")
        cells = []
        for column in self.columns:
            value = row[column.name]
            if isinstance(value, bool) or not isinstance(value, KINDS[column.kind]):
                raise UserError(f"table {self.name!r}, column {column.name!r} holds {column.kind}s, not {value!r}")
            cells.append(repr(float(value)) if column.kind == "float" else str(value))
        return cells

    def union(self, other: "Table") -> "Table":
        """The schema that holds the rows of both: a column that one of them lacks is nan in its rows.

        Raises:
            ValueError: the key or a column's kind differs, or a column that one lacks may not be nan.
        """
        mine, theirs = ({column.name: column for column in table.columns} for table in (self, other))
        alike = all(mine[name].kind == theirs[name].kind for name in mine.keys() & theirs.keys())
        lacking = [(mine | theirs)[name] for name in mine.keys() ^ theirs.keys()]
        if not (alike and self.key == other.key and all(c.nan and c.kind == "float" for c in lacking)):
            raise ValueError(f"the columns {', '.join(mine)} and {', '.join(theirs)} do not go together")
        longer, rest = (self, other) if len(mine) >= len(theirs) else (other, self)
        more = tuple(column for column in rest.columns if column.name not in longer.header)
        return Table(self.name, longer.columns + more, self.key)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> "Table":
        """A table from its parts as plain data.

        Raises:
            LookupError, TypeError, ValueError: the data are no schema.
        """
        table = cls(data["name"], tuple(Column(**column) for column in data["columns"]), tuple(data["key"]))
        kinds = {column.name: column.kind for column in table.columns}
        known = len(kinds) == len(table.columns) and all(isinstance(n, str) and k in KINDS for n, k in kinds.items())
        keyed = set(table.key) <= set(kinds) and kinds[table.key[0]] == "int"
        if not (known and keyed and Path(table.name).name == table.name):
            raise ValueError(f"{table.name!r} is no table")
        return table


def to_json(tables: Sequence[Table]) -> str:
    """The contents of `tables.json`: a list of schemas, a line for each column; `nan` is said only where it may be."""
    parts = []
    for table in tables:
        said = [{name: value for name, value in asdict(c).items() if value is not False} for c in table.columns]
        lines = ",\n".join(json.dumps(column, ensure_ascii=False) for column in said)
        head = f'"name": {json.dumps(table.name)}, "key": {json.dumps(table.key)}'
        parts.append(f'{{{head}, "columns": [\n{lines}\n]}}')
    return "[\n" + ",\n".join(parts) + "\n]\n"


def columns(*rows: Sequence[Any]) -> tuple[Column, ...]:
    """Columns from (name, kind, meaning[, nan]) tuples: a table of a table."""
    return tuple(Column(*row) for row in rows)
