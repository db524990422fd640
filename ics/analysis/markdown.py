"""Tables for people, in Markdown."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars in the cells are escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def records_table(rows: Iterable[Any], columns: Mapping[str, Callable[[Any], Any]]) -> str:
    """The same of records: a column's heading → what it says of one."""
    return table(list(columns), [[str(cell(row)) for cell in columns.values()] for row in rows])


def number(value: float, digits: int = 3) -> str:
    """A number with so many significant digits; a dash where there is none.

    Example:
        >>> number(0.012345), number(12345.0), number(float("nan"))
        ('0.0123', '12,300', '–')
    """
    if math.isnan(value):
        return "–"
    if value == 0 or not math.isfinite(value):
        return f"{value:g}".replace("-", "−").replace("inf", "∞")
    if not 1e-4 <= abs(value) < 1e6:
        return f"{value:.{digits - 1}e}".replace("e-0", "e-").replace("e+0", "e").replace("-", "−")
    rounded = float(f"{value:.{digits}g}")
    places = max(0, digits - 1 - math.floor(math.log10(abs(rounded))))
    return f"{rounded:,.{places}f}".replace("-", "−")
