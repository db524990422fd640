"""Ranks the set-ups that the paper may have used by their first step, from the CSV files of finished runs.

python scripts/fingerprint.py --runs results/reference/fingerprint
"""

import argparse
import sys
from pathlib import Path

from ics.analysis import fingerprint
from ics.analysis.commands import RUNS, load_and_tell, runs_option, write_table
from ics.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Writes the ranking as CSV and Markdown, prints the files, and returns the exit status: 2 without runs."""
    parser = argparse.ArgumentParser(description="Rank set-ups by how near their first step comes to the paper's.")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the runs (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("results/figures"), help="where the table goes (%(default)s)")
    asked = parser.parse_args(arguments)
    try:
        runs = load_and_tell(asked.runs)
        steps = fingerprint.first_steps(runs) if runs is not None else None
        if runs is None or steps is None or steps.empty:
            command = f"python scripts/train.py -m experiment={fingerprint.EXPERIMENT}{runs_option(asked.runs)}"
            raise UserError(f"no runs to rank; make some with: {command}")
        text = fingerprint.to_markdown(steps, fingerprint.images(runs))
        write_table(fingerprint.ranking(steps), text, asked.out / "fingerprint")
    except (UserError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
