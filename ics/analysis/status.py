"""What has become of the runs under a folder: a table, how people read it, and how many there are of each state."""

import fcntl
import math
import textwrap
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from ics.errors import UserError
from ics.folder import NO_STATUS, RunFolder, find_runs

COLUMNS = ["run", "state", "step", "steps", "seconds", "updated", "error"]


def run_states(root: str | Path) -> pd.DataFrame:
    """One row per run under `root`, finished or not.

    Args:
        root: a folder of runs.

    Returns:
        run, state, step, steps, seconds (of training), updated (UTC), error; in order of names. A run that says it
        is running but that no process holds has the state "killed": started again, it goes on from its last checkpoint.
        A folder of settings without a status has the state "no status".

    Raises:
        UserError: there is no such folder, or no run in it.
    """
    rows = [{"run": run.name} | _status(run) for run in find_runs(Path(root))]
    if not rows:
        which = f"no runs in {root}" if Path(root).is_dir() else f"there is no folder {root}"
        raise UserError(f"{which}; python scripts/train.py makes runs")
    return pd.DataFrame(rows, columns=COLUMNS)


def summary(states: pd.DataFrame) -> str:
    """How many runs there are of each state, as a phrase.

    Example:
        >>> summary(pd.DataFrame({"state": ["done", "failed", "done"]}))
        '3 runs: 2 done, 1 failed'
    """
    counts = Counter(states["state"])
    parts = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    return f"{len(states)} runs: {parts}"


def listed(states: pd.DataFrame, width: int) -> str:
    """The table as text, one experiment after another.

    Args:
        states: from `run_states`.
        width: of the terminal; long names lose their middle, errors are wrapped on lines of their own.
    """
    parts = states["run"].str.rsplit("/", n=2).str
    rows = states.assign(
        experiment=parts[:-2].str.join("/"),
        label=parts[-2:-1].str.join("/"),
        name=parts[-1],
        progress=[f"{step:.0f} of {steps:.0f}" for step, steps in zip(states["step"], states["steps"], strict=True)],
        took=states["seconds"].map(human),
        ago=states["updated"].map(_ago),
    )
    rows.loc[states["step"].isna(), "progress"] = ""
    header = {"name": "run", "state": "state", "progress": "step", "took": "took", "ago": "updated"}
    wide = {column: max(len(words), int(rows[column].str.len().max())) for column, words in header.items()}

    def line(row: Any) -> str:
        return _cut("    " + "  ".join(f"{row[column]:{wide[column]}}" for column in header).rstrip(), width)

    lines = [line(header)]
    for experiment, members in rows.groupby("experiment", sort=False):
        lines += [_cut(str(experiment), width)] * bool(experiment)
        for label, runs in members.groupby("label", sort=False):
            lines += [_cut(f"  {label}", width)] * bool(label)
            for row in runs.to_dict("records"):
                lines.append(line(row))
                if isinstance(row["error"], str):
                    indent = " " * 8
                    lines += textwrap.wrap(
                        row["error"], max(20, width), initial_indent=indent, subsequent_indent=indent
                    )
    return "\n".join(lines)


def human(seconds: float) -> str:
    """A time as people say it.

    Example:
        >>> [human(seconds) for seconds in (8.4, 400, 9000, 2e5, float("nan"))]
        ['8 s', '7 min', '2 h 30 min', '2 d 8 h', '']
    """
    if math.isnan(seconds):
        return ""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    hours, days = divmod(minutes, 60)[0], minutes // 1440
    return f"{days} d {hours % 24} h" if days > 1 else f"{hours} h {minutes % 60} min"


def _ago(updated: Any) -> str:
    try:
        return f"{human(max(0.0, (datetime.now(UTC) - datetime.fromisoformat(updated)).total_seconds()))} ago"
    except (TypeError, ValueError):  # none, or not one of ours
        return ""


def _cut(text: str, width: int) -> str:
    """Without its middle where it is too long."""
    head = width // 2
    return text if len(text) <= width else f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


def _status(run: RunFolder) -> dict[str, Any]:
    try:
        if run.status is None:
            return {"state": NO_STATUS}
    except UserError as error:
        return {"state": "unreadable", "error": str(error)}
    killed = run.state == "running" and not _is_held(run.path / "lock")
    return asdict(run.status) | ({"state": "killed"} if killed else {})


def _is_held(lock: Path) -> bool:
    """Whether a process holds a run folder."""
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
