"""Packs finished runs into one folder with a gzipped CSV file per table, which reads as the run folders did.

python scripts/pack.py results/runs/vgg results/reference/vgg    # adds to the packed folder results/reference
"""

import argparse
import sys
from pathlib import Path

from ics.program import program


@program
def main(arguments: list[str] | None) -> None:
    """Writes the folder and prints its files."""
    from ics.analysis.pack import pack

    parser = argparse.ArgumentParser(description="Pack finished runs into one folder.")
    parser.add_argument("source", type=Path, help="folder of the runs")
    parser.add_argument("target", type=Path, help="the packed folder, or a place in it; made if need be")
    parser.add_argument("--overwrite", action="store_true", help="replace runs that have the same names")
    asked = parser.parse_args(arguments)
    print(*pack(asked.source, asked.target, asked.overwrite), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
