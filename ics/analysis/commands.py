"""What the programs that read runs have in common."""

import sys
import warnings
from pathlib import Path

import pandas as pd

from ics.analysis.load import NoRuns, Runs, load_runs

RUNS = Path("results/runs")
"""Where runs are looked for, and where `scripts/train.py` puts them."""


def load_and_tell(root: Path) -> Runs | None:
    """The runs; warnings go to stderr as plain lines, and so does the reason why there are none."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            runs = load_runs(root, errors="warn")
        except NoRuns as reason:
            runs = None
            warnings.warn(str(reason), stacklevel=1)
    for warning in told:
        print(f"warning: {warning.message}", file=sys.stderr)
    return runs


def write_table(table: pd.DataFrame, text: str, stem: Path) -> None:
    """Writes a table as `<stem>.csv` and, for people, as `<stem>.md`, and prints the two files' names."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    table.to_csv(stem.with_suffix(".csv"), index=False, float_format="%.6g", lineterminator="\n")
    stem.with_suffix(".md").write_text(text, encoding="utf-8")
    print(stem.with_suffix(".csv"), stem.with_suffix(".md"), sep="\n")


def runs_option(root: Path) -> str:
    """What to add to a command so that it puts runs where they were looked for."""
    return "" if root == RUNS else f" runs={root}"
