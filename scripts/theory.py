"""The residuals of the paper's theorems as numeric identities, which the claims read.

python scripts/theory.py                  # rewrites ics/analysis/claims/theory.csv
"""

import sys
from pathlib import Path

from ics.program import program

OUT = Path(__file__).parents[1] / "ics" / "analysis" / "claims" / "theory.csv"


@program
def main(arguments: list[str] | None) -> None:
    """Writes the file and prints its name."""
    from ics.laboratory.theory import residuals

    residuals().to_csv(OUT, index=False, float_format="%.6g", lineterminator="\n")
    print(OUT)


if __name__ == "__main__":
    sys.exit(main(None))
