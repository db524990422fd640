"""What the programs that read runs have in common."""

import sys
import warnings
from pathlib import Path

from ics.analysis.load import NoRuns, Runs, load_runs

RUNS = Path("results/runs")
"""Where runs are looked for, and where `scripts/train.py` puts them."""


def load_and_tell(root: Path) -> Runs | None:
    """The runs; warnings go to stderr as plain lines, and so does the reason why there are none."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            runs = load_runs(root)
        except NoRuns as reason:
            runs = None
            warnings.warn(str(reason), stacklevel=1)
    for warning in told:
        print(f"warning: {warning.message}", file=sys.stderr)
    return runs


def runs_option(root: Path) -> str:
    """What to add to a command so that it puts runs where they were looked for."""
    return "" if root == RUNS else f" runs={root}"
