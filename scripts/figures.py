"""Draws the paper's figures from the CSV files of finished runs.

python scripts/figures.py fig3                   # both parts of Figure 3
python scripts/figures.py all --runs results/runs --out results/figures
"""

import sys

from ics.program import program


@program
def main(arguments: list[str] | None) -> int:
    """Draws what is asked for, prints each file written, and returns the exit status.

    Figures whose runs are missing are listed on stderr with the command that makes them. That is an error
    (2), except for `all`, as long as it draws something.
    """
    from ics.analysis.commands import load_and_tell, options, runs_option
    from ics.figures.catalogue import MissingRuns, select
    from ics.figures.many import draw_many
    from ics.figures.style import save

    parser = options("Draw the paper's figures from CSV files.", "results/figures")
    parser.add_argument("figure", nargs="+", help='"fig3", one of its parts ("fig3a"), or "all"')
    asked = parser.parse_args(arguments)
    figures = {figure.name: figure for name in asked.figure for figure in select(name)}
    runs = load_and_tell(asked.runs)
    drawn = 0
    missing: list[str] = []
    for result in draw_many(list(figures.values()), runs, lambda stem, figure: save(figure, asked.out / stem)):
        if isinstance(result, MissingRuns):
            missing.append(f"{result}{runs_option(asked.runs)}")
            continue
        drawn += len(result)
        for files in result:
            print(*files, sep="\n", flush=True)
    failed = bool(missing) and not (drawn and "all" in asked.figure)
    for line in missing:
        print(f"{'error' if failed else 'left out'}: {line}", file=sys.stderr)
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
