"""Makes one self-contained HTML page from the CSV files of finished runs: answer, verdicts, figures, explorer.

python scripts/report.py --runs results/reference --out results/report.html
"""

import argparse
import sys
from pathlib import Path

from ics.analysis.claims import catalogue
from ics.analysis.claims.table import claims_table
from ics.analysis.commands import RUNS, load_and_tell, runs_option
from ics.analysis.paper_distance import paper_distance
from ics.errors import UserError
from ics.report.page import build


def main(arguments: list[str] | None = None) -> int:
    """Writes the page, prints its name, and returns the exit status.

    Figures without runs are listed on stderr with the command that makes them, and in the page. Without any runs at all
    there is no page, and the status is 2.
    """
    parser = argparse.ArgumentParser(description="Make one HTML page from CSV files.")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the runs (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("results/report.html"), help="the page (%(default)s)")
    asked = parser.parse_args(arguments)
    try:
        runs = load_and_tell(asked.runs)
        if runs is None:
            raise UserError("there is nothing to report")
        html, missing = build(runs, claims_table(runs, catalogue.names()), paper_distance(runs))
        asked.out.parent.mkdir(parents=True, exist_ok=True)
        asked.out.write_text(html, encoding="utf-8", newline="\n")
    except (UserError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    for problem in missing:
        print(f"warning: {problem}{runs_option(asked.runs)}", file=sys.stderr)
    print(asked.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
