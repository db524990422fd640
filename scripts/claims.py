"""Judges the paper's claims, and measures the distance to its curves, from the CSV files of finished runs.

python scripts/claims.py                          # both tables, as CSV and Markdown
python scripts/claims.py distance                 # only the distance to the paper's curves
python scripts/claims.py bn_trains_faster         # one claim, on the screen
"""

import sys
from functools import partial
from typing import Any

from ics.program import program

WHOLE = ("all", "claims", "distance")
FIGURE_3 = ("fig3_vgg scale=cpu", "fig3_dln")


@program
def main(arguments: list[str] | None) -> int:
    """Writes the tables that are asked for, prints each file, and returns the exit status.

    Claims without runs are listed on stderr with the command that makes them. That is an error (2), except where whole
    tables are asked for and some of it could be filled from runs.
    """
    from ics.analysis.claims import catalogue, report
    from ics.analysis.commands import load_and_tell, options, runs_option, write_table
    from ics.analysis.distance_report import to_markdown
    from ics.analysis.paper_distance import paper_distance
    from ics.errors import UserError
    from ics.processes import begun

    parser = options("Judge the paper's claims from CSV files.", "results/figures")
    known = sorted({*catalogue.names(), *WHOLE})
    parser.add_argument("what", nargs="*", default=["all"], help=f"{', '.join(known)} (%(default)s)", metavar="what")
    asked = parser.parse_args(arguments)
    if unknown := [what for what in asked.what if what not in known]:
        raise UserError(f"no claim {unknown[0]!r}; there are {', '.join(known)}")
    runs = load_and_tell(asked.runs)
    option = runs_option(asked.runs)
    status = 0
    if named := [what for what in asked.what if what not in WHOLE]:
        claims = catalogue.claims_table(runs, named)
        print(report.to_markdown(claims), end="")
        return _tell_missing(claims, option, excused=False)
    asks_distance = bool({"all", "distance"} & set(asked.what))
    beside = begun(partial(paper_distance, runs)) if asks_distance and runs is not None else None
    if {"all", "claims"} & set(asked.what):
        claims = catalogue.claims_table(runs, catalogue.names())
        write_table(claims, report.to_markdown(claims), asked.out / "claims")
        by_runs = (claims["scale"].notna() & ~claims["claim"].isin(catalogue.THEORY)).any()
        status = _tell_missing(claims, option, excused=bool(by_runs))
    if asks_distance:
        distances = beside() if beside else None
        if distances is None or distances.empty:
            lines = " and ".join(f"python scripts/train.py -m experiment={name}{option}" for name in FIGURE_3)
            raise UserError(f"no runs to compare with the paper's curves; make some with: {lines}")
        write_table(distances, to_markdown(distances), asked.out / "paper_distance")
    return status


def _tell_missing(claims: Any, option: str, excused: bool) -> int:
    missing = claims[(claims["n"] == 0) & claims["scale"].isna() & (claims["headline"] == 1)]
    for note, rows in missing.groupby("note", sort=False):
        names = ", ".join(dict.fromkeys(rows["claim"]))
        print(f"{'left out' if excused else 'error'}: {names}: {note}{option}", file=sys.stderr)
    return 2 if len(missing) and not excused else 0


if __name__ == "__main__":
    sys.exit(main())
