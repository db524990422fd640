"""Where the numbers come from: which runs, on what data, made by which commit on which device."""

import math
from typing import Any

import pandas as pd

from ics.analysis.load import Runs
from ics.figures.style import ARMS
from ics.folder import RunFolder, find_runs

_MADE_WITH = ["hardware", "versions", "commit"]


def origins(runs: Runs | None) -> list[dict[str, Any]]:
    """A record for every experiment, data set and network there are runs of.

    Returns:
        experiment, data (their label, which says if they are a copy), network (setting `model.name`), arms (in words),
        rates, runs (how many), diverged (of them), seeds (how many), steps (of a training, all there are), hardware,
        versions, commit (each a list), hours (all together; nan where it was not recorded).
    """
    if runs is None or not {"experiment", "model.name"} <= set(runs.settings):
        return []
    made = pd.DataFrame([_made_with(run) for run in find_runs(runs.root)])
    settings = runs.settings.assign(seed=runs.settings.get("seed", 0)).merge(made, on="run")
    groups = settings.groupby(["experiment", "data_label", "model.name"], observed=True, sort=True, dropna=False)
    return [_origin(rows) | dict(zip(("experiment", "data", "network"), key, strict=True)) for key, rows in groups]


def _origin(rows: pd.DataFrame) -> dict[str, Any]:
    arms = set(rows["arm"].dropna())
    rates, steps = (sorted(rows[name].unique()) if name in rows else [] for name in ("optimizer.lr", "steps"))
    return {
        "arms": [arm.label for name, arm in ARMS.items() if name in arms] + sorted(arms - set(ARMS)),
        "rates": rates[::-1],
        "runs": len(rows),
        "diverged": int((rows["status"] == "diverged").sum()),
        "seeds": rows["seed"].nunique(),
        "steps": steps,
        "hours": float(rows["seconds"].sum(skipna=False) / 3600),
    } | {name: sorted(filter(None, rows[name].unique())) for name in _MADE_WITH}


def _made_with(run: RunFolder) -> dict[str, Any]:
    """What a run's provenance.json and status.json say, as far as they do."""
    found = run.provenance()
    python, torch, threads = found.get("python"), found.get("packages.torch"), found.get("threads")
    number = f"{threads} thread{'s' if threads != 1 else ''}" if threads else None
    return {
        "run": run.name,
        "hardware": ", ".join(map(str, filter(None, (found.get("device"), number, found.get("platform"))))),
        "versions": ", ".join(filter(None, (python and f"Python {python}", torch and f"torch {torch}"))),
        "commit": str(found.get("commit") or "")[:10],
        "seconds": run.status.seconds if run.status else math.nan,
    }
