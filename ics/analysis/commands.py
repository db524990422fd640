"""What the programs that read runs have in common."""

import argparse
import re
import shlex
import warnings
from functools import partial
from pathlib import Path

import pandas as pd

from ics.analysis.claims.catalogue import claims_table, names
from ics.analysis.load import NoRuns, Runs, load_runs
from ics.analysis.paper_distance import paper_distance
from ics.files import as_path, write_text
from ics.processes import begun

RUNS = Path("results/runs")
"""Where runs are looked for, and where `scripts/train.py` puts them."""


def load_and_tell(root: Path) -> Runs | None:
    """The runs; a warning says why there are none, or not all."""
    try:
        return load_runs(root, errors="warn")
    except NoRuns as reason:
        warnings.warn(str(reason), stacklevel=2)
        return None


def claims_and_distances(runs: Runs) -> tuple[pd.DataFrame, pd.DataFrame]:
    """`claims_table` of all claims, and `paper_distance`, worked out side by side."""
    distances = begun(partial(paper_distance, runs))
    return claims_table(runs, names()), distances()


def write_table(table: pd.DataFrame, text: str | None, stem: Path) -> None:
    """Writes a table as `<stem>.csv` and, if there is one for people, as `<stem>.md`, and prints the files' names."""
    texts = {".csv": table.to_csv(index=False, float_format="%.6g", lineterminator="\n"), ".md": text}
    for ending, content in texts.items():
        if content is not None:
            write_text(stem.with_suffix(ending), content)
            print(stem.with_suffix(ending))


def runs_option(root: Path) -> str:
    """What to add to a command so that it puts runs where they were looked for."""
    if root == RUNS:
        return ""
    plain = re.fullmatch(r"[\w./~@%+-]+", str(root))
    quoted = str(root) if plain else '"' + str(root).replace("\\", "\\\\").replace('"', '\\"') + '"'  # Hydra's quotes
    return " " + shlex.quote(f"runs={quoted}")  # and the shell's


def options(description: str, out: str, where: str = "where the files go") -> argparse.ArgumentParser:
    """A parser of command lines that knows `--runs` and `--out`: its default, and what it is."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--runs", type=as_path, default=RUNS, help="folder of the runs (%(default)s)")
    parser.add_argument("--out", type=as_path, default=as_path(out), help=f"{where} (%(default)s)")
    return parser
