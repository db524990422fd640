"""Makes what stands beside the committed tables anew: claims, distances, ranking, report, the numbers in the pages.

python scripts/evidence.py                # as `make figures` does
"""

import sys
from pathlib import Path

import pandas as pd

from ics.analysis import fingerprint
from ics.analysis.claims import catalogue
from ics.analysis.claims.report import to_markdown as claims_to_markdown
from ics.analysis.claims.table import claims_table
from ics.analysis.commands import load_and_tell, write_table
from ics.analysis.distance_report import to_markdown as distances_to_markdown
from ics.analysis.load import Runs
from ics.analysis.paper_distance import paper_distance
from ics.errors import UserError
from ics.figures.benchmark import short_table
from ics.report.origin import origins
from ics.report.page import build
from ics.report.summary import (
    beside_table,
    contradicted_table,
    figures_table,
    insert,
    origins_table,
    schemas_tables,
    shift_table,
)

ROOT = Path(__file__).parents[1]
RUNS, OUT = ROOT / "results" / "reference", ROOT / "results" / "evidence"


def main() -> int:
    """Writes it all, prints the files' names, and returns the exit status."""
    try:
        runs = load_and_tell(RUNS)
        if runs is None:
            raise UserError(f"there are no runs in {RUNS}")
        claims, distances = claims_table(runs, catalogue.names()), paper_distance(runs)
        steps = fingerprint.first_steps(runs)
        ranking_text = fingerprint.to_markdown(steps, fingerprint.images(runs))
        write_table(claims, claims_to_markdown(claims), OUT / "claims")
        write_table(distances, distances_to_markdown(distances), OUT / "paper_distance")
        write_table(fingerprint.ranking(steps), ranking_text, OUT / "fingerprint")
        html, missing = build(runs, claims, distances)
        for problem in missing:
            print(f"warning: {problem}", file=sys.stderr)
        for path, text in {OUT / "report.html": html, **pages(runs, claims)}.items():
            path.write_text(text, encoding="utf-8", newline="\n")
            print(path)
    except (UserError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


def pages(runs: Runs, claims: pd.DataFrame) -> dict[Path, str]:
    """The Markdown pages as they should be."""
    parts = {
        ROOT / "README.md": {
            "shift": shift_table(claims),
            "beside": beside_table(claims),
            "contradicted": contradicted_table(claims),
            "speed": short_table(ROOT / "results" / "benchmark" / "cpu.csv"),
        },
        ROOT / "results/README.md": {"figures": figures_table(), "runs": origins_table(origins(runs))},
        ROOT / "docs/tables.md": {"tables": schemas_tables(runs.schemas)},
    }
    return {path: insert(path.read_text(encoding="utf-8"), part) for path, part in parts.items()}


if __name__ == "__main__":
    sys.exit(main())
