"""Writes the generated parts of the Markdown pages anew, from the files of the committed runs.

python scripts/summary.py                 # as `make figures` does
"""

import argparse
import sys
from pathlib import Path

from ics.analysis.claims import catalogue
from ics.analysis.claims.table import claims_table
from ics.analysis.commands import load_and_tell
from ics.errors import UserError
from ics.report.origin import origins
from ics.report.summary import beside_table, figures_table, insert, origins_table, schemas_tables, shift_table

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "results" / "reference"


def main(arguments: list[str] | None = None) -> int:
    """Rewrites the pages that have changed, prints their names, and returns the exit status."""
    parser = argparse.ArgumentParser(description="Write the generated parts of the Markdown pages anew.")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the runs (%(default)s)")
    asked = parser.parse_args(arguments)
    try:
        for path, text in pages(asked.runs).items():
            if path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8")
                print(path)
    except (UserError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


def pages(root: Path) -> dict[Path, str]:
    """The pages as they should be."""
    runs = load_and_tell(root)
    claims = claims_table(runs, catalogue.names())
    parts = {
        ROOT / "README.md": {"shift": shift_table(claims), "beside": beside_table(claims)},
        ROOT / "results/README.md": {"figures": figures_table(), "runs": origins_table(origins(runs))},
        ROOT / "docs/tables.md": {"tables": schemas_tables(runs.schemas)},
    }
    return {path: insert(path.read_text(encoding="utf-8"), part) for path, part in parts.items()}


if __name__ == "__main__":
    sys.exit(main())
