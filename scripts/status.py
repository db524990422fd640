"""What has become of the runs under a folder: `python scripts/status.py results/runs`. Exits with 1 if one failed."""

import argparse
import sys
from pathlib import Path

from ics.analysis.status import run_states, summary
from ics.errors import UserError


def main() -> int:
    """Print a table and a count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=Path("results/runs"), help="folder of runs")
    try:
        states = run_states(parser.parse_args().root)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    shown = states.astype(object).where(states.notna(), "")
    print(shown.to_string(index=False, justify="left", max_colwidth=None))
    print(summary(states))
    return int((states["state"] == "failed").any())


if __name__ == "__main__":
    sys.exit(main())
