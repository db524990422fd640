"""Judges the paper's claims, and measures the distance to its curves, from the CSV files of finished runs.

python scripts/claims.py                          # both tables, as CSV and Markdown
python scripts/claims.py distance                 # only the distance to the paper's curves
python scripts/claims.py bn_trains_faster         # one claim, on the screen
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

from ics.analysis.claims import catalogue, report
from ics.analysis.claims.table import claims_table
from ics.analysis.commands import RUNS, load_and_tell, runs_option, write_table
from ics.analysis.distance_report import to_markdown as distances_to_markdown
from ics.analysis.load import Runs
from ics.analysis.paper_distance import paper_distance
from ics.errors import UserError

WHOLE = ("all", "claims", "distance")
FIGURE_3 = ("fig3_vgg scale=cpu", "fig3_dln")


def main(arguments: list[str] | None = None) -> int:
    """Writes the tables that are asked for, prints each file, and returns the exit status.

    Claims without runs are listed on stderr with the command that makes them. That is an error (2), except where whole
    tables are asked for and some of it could be filled from runs.
    """
    parser = argparse.ArgumentParser(description="Judge the paper's claims from CSV files.")
    known = sorted({*catalogue.names(), *WHOLE})
    parser.add_argument("what", nargs="*", default=["all"], help=f"{', '.join(known)} (%(default)s)", metavar="what")
    parser.add_argument("--runs", type=Path, default=RUNS, help="folder of the runs (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("results/figures"), help="where tables go (%(default)s)")
    asked = parser.parse_args(arguments)
    try:
        if unknown := [what for what in asked.what if what not in known]:
            raise UserError(f"no claim {unknown[0]!r}; there are {', '.join(known)}")
        runs = load_and_tell(asked.runs)
        named = [what for what in asked.what if what not in WHOLE]
        if named:
            claims = claims_table(runs, named)
            print(report.to_markdown(claims), end="")
            return _tell_missing(claims, asked.runs, whole=False)
        return _tables(runs, asked)
    except (UserError, OSError) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2


def _tables(runs: Runs | None, asked: argparse.Namespace) -> int:
    status = 0
    wanted = {"claims", "distance"} if "all" in asked.what else set(asked.what)
    if "claims" in wanted:
        claims = claims_table(runs, catalogue.names())
        write_table(claims, report.to_markdown(claims), asked.out / "claims")
        status = _tell_missing(claims, asked.runs, whole=True)
    if "distance" in wanted:
        distances = paper_distance(runs) if runs is not None else None
        if distances is None or distances.empty:
            lines = " and ".join(
                f"python scripts/train.py -m experiment={e}{runs_option(asked.runs)}" for e in FIGURE_3
            )
            print(f"error: no runs to compare with the paper's curves; make some with: {lines}", file=sys.stderr)
            return 2
        write_table(distances, distances_to_markdown(distances), asked.out / "paper_distance")
    return status


def _tell_missing(claims: pd.DataFrame, root: Path, whole: bool) -> int:
    missing = claims[(claims["n"] == 0) & claims["scale"].isna() & (claims["headline"] == 1)]
    for note, rows in missing.groupby("note", sort=False):
        names = ", ".join(dict.fromkeys(rows["claim"]))
        print(f"error: {names}: {note}{runs_option(root)}", file=sys.stderr)
    judged_by_runs = (claims["scale"].notna() & ~claims["claim"].isin(catalogue.THEORY)).any()
    return 2 if len(missing) and not (whole and judged_by_runs) else 0


if __name__ == "__main__":
    sys.exit(main())
