"""The end of `make reproduce`: figures, claims and page of the quick runs, and what they say on one screen.

python scripts/reproduce.py --runs results/runs --out results/figures
"""

import sys

from ics.program import program


@program
def main(arguments: list[str] | None) -> None:
    """Writes it all and prints the screen."""
    from ics.analysis.claims import report
    from ics.analysis.commands import claims_and_distances, load_and_tell, options, write_table
    from ics.analysis.distance_report import to_markdown
    from ics.errors import UserError
    from ics.figures.catalogue import select
    from ics.figures.many import draw_many
    from ics.figures.style import save
    from ics.files import write_text
    from ics.report.closing import closing
    from ics.report.page import build

    asked = options("Sum up the quick runs.", "results/figures").parse_args(arguments)
    runs = load_and_tell(asked.runs)
    if runs is None:
        raise UserError("there is nothing to sum up")
    for _ in draw_many(select("all"), runs, lambda stem, figure: save(figure, asked.out / stem)):
        pass  # what these runs are not for stays undrawn
    claims, distances = claims_and_distances(runs)
    write_table(claims, report.to_markdown(claims), asked.out / "claims")
    write_table(distances, to_markdown(distances), asked.out / "paper_distance")
    page = asked.out.parent / "report.html"
    write_text(page, build(runs, claims, distances)[0])
    print(closing(runs, claims, page, asked.out))


if __name__ == "__main__":
    sys.exit(main())
