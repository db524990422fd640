"""Ranks the set-ups that the paper may have used by their first step, from the CSV files of finished runs.

python scripts/fingerprint.py --runs results/reference/fingerprint
"""

import sys

from ics.program import program


@program
def main(arguments: list[str] | None) -> None:
    """Writes the ranking as CSV and Markdown and prints the files."""
    from ics.analysis import fingerprint
    from ics.analysis.commands import load_and_tell, options, runs_option, write_table
    from ics.errors import UserError

    asked = options("Rank set-ups by how near their first step comes to the paper's.", "results/figures").parse_args(
        arguments
    )
    runs = load_and_tell(asked.runs)
    steps = fingerprint.first_steps(runs) if runs is not None else None
    if runs is None or steps is None or steps.empty:
        command = f"python scripts/train.py -m experiment={fingerprint.EXPERIMENT}{runs_option(asked.runs)}"
        raise UserError(f"no runs to rank; make some with: {command}")
    text = fingerprint.to_markdown(steps, runs)
    write_table(fingerprint.ranking(steps), text, asked.out / "fingerprint")


if __name__ == "__main__":
    sys.exit(main())
