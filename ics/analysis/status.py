"""What has become of the runs under a folder: a table, and how many there are of each state."""

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from ics.errors import UserError

SILENT = 60.0  # seconds without a sign of life (a run touches its lock every ten) after which its process is gone


def run_states(root: str | Path) -> pd.DataFrame:
    """One row per run folder under `root`, finished or not.

    Args:
        root: a folder of runs.

    Returns:
        run, state, step, steps, seconds (of training), updated (UTC), error; in order of names. A run that says it
        is running but shows no sign of life has the state "killed": started again, it goes on from its last checkpoint.

    Raises:
        UserError: there is no such folder, or no run in it.
    """
    rows = []
    for folder, below, files in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if "status.json" in files:
            below.clear()
            rows.append({"run": Path(folder).relative_to(root).as_posix()} | _status(Path(folder)))
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


def _status(folder: Path) -> dict[str, Any]:
    try:
        status: Any = json.loads((folder / "status.json").read_text(encoding="utf-8"))
        assert isinstance(status, dict)
    except (OSError, ValueError, AssertionError):
        return {"state": "unreadable", "error": "status.json cannot be read"}
    if status.get("state") == "running" and not _shows_life(folder / "lock"):
        status["state"] = "killed"
    return status


def _shows_life(lock: Path) -> bool:
    try:
        return time.time() - lock.stat().st_mtime < SILENT
    except FileNotFoundError:
        return False
