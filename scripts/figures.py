"""Draws the paper's figures from the CSV files of finished runs.

python scripts/figures.py fig3                   # both parts of Figure 3
python scripts/figures.py all --runs results/runs --out results/figures
"""

import argparse
import sys
from pathlib import Path

from ics.analysis.commands import RUNS, load_and_tell, runs_option
from ics.errors import UserError
from ics.figures.catalogue import MissingRuns, select
from ics.figures.many import draw_many


def main(arguments: list[str] | None = None) -> int:
    """Draws what is asked for, prints each file written, and returns the exit status.

    Figures whose runs are missing are listed on stderr with the command that makes them. That is an error
    (2), except for `all`, as long as it draws something.
    """
    parser = argparse.ArgumentParser(description="Draw the paper's figures from CSV files.")
    parser.add_argument("figure", nargs="+", help='"fig3", one of its parts ("fig3a"), or "all"')
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the runs (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("results/figures"), help="where figures go (%(default)s)")
    asked = parser.parse_args(arguments)
    drawn = 0
    missing: list[str] = []
    try:
        figures = {figure.name: figure for name in asked.figure for figure in select(name)}
        runs = load_and_tell(asked.runs)
        for result in draw_many(list(figures.values()), runs, asked.out):
            if isinstance(result, MissingRuns):
                missing.append(f"{result}{runs_option(asked.runs)}")
                continue
            drawn += len(result)
            print(*result, sep="\n")
    except (UserError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    for line in missing:
        print(f"error: {line}", file=sys.stderr)
    return 2 if missing and not (drawn and "all" in asked.figure) else 0


if __name__ == "__main__":
    sys.exit(main())
