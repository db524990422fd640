"""What has become of the runs under a folder: a table, and how many there are of each state."""

import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from ics.errors import UserError
from ics.folder import NO_STATUS, RunFolder, find_runs

SILENT = 60.0  # seconds without a sign of life (a run touches its lock every ten) after which its process is gone


def run_states(root: str | Path) -> pd.DataFrame:
    """One row per run under `root`, finished or not.

    Args:
        root: a folder of runs.

    Returns:
        run, state, step, steps, seconds (of training), updated (UTC), error; in order of names. A run that says it
        is running but shows no sign of life has the state "killed": started again, it goes on from its last checkpoint.

    Raises:
        UserError: there is no such folder, or no run in it.
    """
    rows = [{"run": run.name} | _status(run) for run in find_runs(Path(root))]
    if not rows:
        raise UserError(f"no runs in {root}; python scripts/train.py makes some")
    return pd.DataFrame(rows, columns=["run", "state", "step", "steps", "seconds", "updated", "error"])


def summary(states: pd.DataFrame) -> str:
    """How many runs there are of each state, as a phrase.

    Example:
        >>> summary(pd.DataFrame({"state": ["done", "failed", "done"]}))
        '3 runs: 2 done, 1 failed'
    """
    counts = Counter(states["state"])
    parts = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    return f"{len(states)} runs: {parts}"


def _status(run: RunFolder) -> dict[str, Any]:
    try:
        if run.status is None:
            return {"state": NO_STATUS}
    except UserError as error:
        return {"state": "unreadable", "error": str(error)}
    killed = run.state == "running" and not _shows_life(run.path / "lock")
    return asdict(run.status) | ({"state": "killed"} if killed else {})


def _shows_life(lock: Path) -> bool:
    try:
        return time.time() - lock.stat().st_mtime < SILENT
    except FileNotFoundError:
        return False
