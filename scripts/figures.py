"""Draws the paper's figures from the CSV files of finished runs.

python scripts/figures.py fig3                   # both parts of Figure 3
python scripts/figures.py all --runs results/runs --out results/figures
"""

import argparse
import sys
import warnings
from pathlib import Path

from ics.analysis.load import NoRuns, Runs, load_runs
from ics.errors import UserError
from ics.figures.catalogue import MissingRuns, draw, select


def main(arguments: list[str] | None = None) -> int:
    """Draws what is asked for, prints each file written, and returns the exit status.

    Figures whose runs are missing are listed on stderr with the command that makes them. That is an error
    (2), except for `all`, as long as it draws something.
    """
    parser = argparse.ArgumentParser(description="Draw the paper's figures from CSV files.")
    parser.add_argument("figure", nargs="+", help='"fig3", one of its parts ("fig3a"), or "all"')
    parser.add_argument("--runs", type=Path, default="results/runs", help="folder of the runs (%(default)s)")
    parser.add_argument("--out", type=Path, default="results/figures", help="where figures go (%(default)s)")
    asked = parser.parse_args(arguments)
    drawn = 0
    missing: list[str] = []
    try:
        figures = {figure.name: figure for name in asked.figure for figure in select(name)}
        runs = _load(asked.runs)
        for figure in figures.values():
            try:
                for file in draw(figure, runs, asked.out):
                    drawn += 1
                    print(file)
            except MissingRuns as problem:
                missing.append(str(problem))
    except (UserError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    for line in missing:
        print(f"error: {line}", file=sys.stderr)
    return 2 if missing and not (drawn and "all" in asked.figure) else 0


def _load(root: Path) -> Runs | None:
    """The runs; warnings go to stderr as plain lines, and so does the reason why there are none."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            runs = load_runs(root)
        except NoRuns as reason:
            runs = None
            warnings.warn(str(reason), stacklevel=1)
    for warning in told:
        print(f"warning: {warning.message}", file=sys.stderr)
    return runs


if __name__ == "__main__":
    sys.exit(main())
