"""What measuring costs, in plain training steps of the same network, as a table (CSV and Markdown) and a figure.

python -m benchmarks                        # everything: minutes
python -m benchmarks networks --rounds 3    # a part of it, only on the screen

Everything that is compared is timed in turn, in one process. Only ratios of medians are told: absolute times mean
little on a shared machine.
"""

import argparse
import csv
import io
import sys
from pathlib import Path

from ics.program import program

PLACE = ("network", "width", "batch", "layers", "threads")


@program
def main(arguments: list[str] | None) -> None:
    """Times, prints every row as it comes, and writes the files."""
    from benchmarks.table import GROUPS, rows
    from ics.errors import UserError
    from ics.runs.device import choose_device, prepare
    from ics.runs.provenance import provenance

    parser = argparse.ArgumentParser(description="Time what measuring costs, in plain training steps.")
    parser.add_argument("group", nargs="*", help=f"{', '.join(GROUPS)} (all)", metavar="group")
    parser.add_argument("--rounds", type=int, default=7, help="how often everything is timed (%(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("results/benchmark"), help="for all groups (%(default)s)")
    asked = parser.parse_args(arguments)
    if unknown := [group for group in asked.group if group not in GROUPS]:
        raise UserError(f"no group {unknown[0]!r}; there are {', '.join(GROUPS)}")
    if asked.rounds < 1:
        raise UserError(f"--rounds must be at least 1, not {asked.rounds}")
    device = choose_device(asked.device)
    prepare(device, threads=1, deterministic=False)
    found: list[dict[str, object]] = []
    for group in asked.group or GROUPS:
        for row in rows(group, asked.rounds, device):
            found.append({"case": len(found), **row})
            print(f"{group}: {_told(found[-1])}", flush=True)
    if not asked.group:
        _write(found, asked.out / device.type, provenance(sys.argv, device, "made-up"))


def _told(row: dict[str, object]) -> str:
    place = ", ".join(str(row["network"] if key == "network" else f"{key} {row[key]}") for key in PLACE)
    return f"{place}: {row['way']} {row['ratio']:.3f} (limit {row['limit']:.2f}, {row['extra_mib']:+.0f} MiB)"


def _write(found: list[dict[str, object]], stem: Path, origin: dict[str, object]) -> None:
    from benchmarks.figure import draw, to_markdown
    from benchmarks.table import TABLE
    from ics.files import write_json, write_text

    table, words, page = (stem.with_suffix(f".{ending}") for ending in ("csv", "json", "md"))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([TABLE.header, *(TABLE.format(row) for row in found)])
    write_text(table, text.getvalue())
    write_json(words, origin)
    write_text(page, to_markdown(table))
    print(table, words, page, *draw(table, stem), sep="\n")


if __name__ == "__main__":
    sys.exit(main(None))
