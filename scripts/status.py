"""What has become of the runs under a folder: `python scripts/status.py results/runs`. Exits with 1 if one failed."""

import argparse
import shutil
import sys

from ics.program import program


@program
def main(arguments: list[str] | None) -> int:
    """Prints a table and a count."""
    from ics.analysis.commands import RUNS
    from ics.analysis.status import listed, run_states, summary
    from ics.files import as_path

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", type=as_path, default=RUNS, help="folder of runs (%(default)s)")
    states = run_states(parser.parse_args(arguments).root)
    print(listed(states, shutil.get_terminal_size().columns))
    print(summary(states))
    return int((states["state"] == "failed").any())


if __name__ == "__main__":
    sys.exit(main())
