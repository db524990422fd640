"""Makes what stands beside the committed tables anew: claims, readings, distances, ranking, report, pages.

python scripts/evidence.py                # as `make figures` does
"""

import sys
from pathlib import Path
from typing import Any

from ics.program import program

ROOT = Path(__file__).parents[1]
RUNS, OUT = ROOT / "results" / "reference", ROOT / "results" / "evidence"


@program
def main(arguments: list[str] | None) -> None:
    """Writes it all and prints the files' names."""
    from ics.analysis import fingerprint
    from ics.analysis.claims import report
    from ics.analysis.commands import claims_and_distances, load_and_tell, write_table
    from ics.analysis.distance_report import to_markdown
    from ics.analysis.specifications import specifications
    from ics.errors import UserError
    from ics.files import write_text
    from ics.report.page import build

    runs = load_and_tell(RUNS)
    if runs is None:
        raise UserError(f"there are no runs in {RUNS}")
    claims, distances = claims_and_distances(runs)
    readings = specifications(runs)
    steps = fingerprint.first_steps(runs)
    ranking_text = fingerprint.to_markdown(steps, runs)
    write_table(claims, report.to_markdown(claims), OUT / "claims")
    write_table(readings, None, OUT / "specifications")
    write_table(distances, to_markdown(distances), OUT / "paper_distance")
    write_table(fingerprint.ranking(steps), ranking_text, OUT / "fingerprint")
    html, missing = build(runs, claims, distances)
    for problem in missing:
        print(f"left out: {problem}", file=sys.stderr)
    for path, text in {OUT / "report.html": html, **pages(runs, claims, readings)}.items():
        write_text(path, text)
        print(path)


def pages(runs: Any, claims: Any, readings: Any) -> dict[Path, str]:
    """The Markdown pages as they should be."""
    from ics.report import summary
    from ics.report.origin import origins

    parts = {
        ROOT / "README.md": {
            "answer": f"{summary.answer_line(claims)}\n\n{summary.readings_line(readings)}",
            "first": summary.first_table(claims, readings),
        },
        ROOT / "results/README.md": {
            "answer": summary.answer_line(claims),
            "shift": summary.shift_table(claims),
            "readings": summary.readings_table(readings),
            "definitions": summary.definitions_table(runs),
            "power": summary.power_table(claims),
            "origins": summary.origins_found(claims),
            "beside": summary.beside_table(claims),
            "not-borne-out": summary.not_borne_out_table(claims),
            "figures": summary.figures_table(),
            "runs": summary.origins_table(origins(runs)),
        },
        ROOT / "docs/tables.md": {"tables": summary.schemas_tables(runs.schemas)},
    }
    return {path: summary.insert(path.read_text(encoding="utf-8"), part) for path, part in parts.items()}


if __name__ == "__main__":
    sys.exit(main())
