"""Makes one self-contained HTML page from the CSV files of finished runs: answer, verdicts, figures, explorer.

python scripts/report.py --runs results/reference --out results/report.html
"""

import sys

from ics.program import program


@program
def main(arguments: list[str] | None) -> None:
    """Writes the page and prints its name.

    Figures without runs are listed on stderr with the command that makes them, and in the page. Without any runs at all
    there is no page, which is an error.
    """
    from ics.analysis.commands import claims_and_distances, load_and_tell, options, runs_option
    from ics.errors import UserError
    from ics.files import write_text
    from ics.report.page import build

    asked = options("Make one HTML page from CSV files.", "results/report.html", "the page").parse_args(arguments)
    runs = load_and_tell(asked.runs)
    if runs is None:
        raise UserError("there is nothing to report")
    html, missing = build(runs, *claims_and_distances(runs))
    write_text(asked.out, html)
    for problem in missing:
        print(f"left out: {problem}{runs_option(asked.runs)}", file=sys.stderr)
    print(asked.out)


if __name__ == "__main__":
    sys.exit(main())
