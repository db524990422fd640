"""Where the numbers come from: which runs, on what data, made by which commit on which device."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ics.analysis.claims.words import rate
from ics.analysis.load import Runs
from ics.figures.style import ARMS
from ics.folder import find_runs


@dataclass(frozen=True)
class Origin:
    """The runs of one experiment on one data set.

    Attributes:
        experiment: that made them.
        data: their label, which says if the data are a copy.
        network: setting `model.name`.
        arms: kinds of normalisation.
        rates: learning rates.
        runs: how many; diverged ones among them.
        seeds: how many different ones.
        steps: of a training.
        hardware: devices and threads.
        versions: of Python and torch.
        commits: of the project.
        hours: all together; nan where it was not recorded.
    """

    experiment: str
    data: str
    network: str
    arms: str
    rates: str
    runs: int
    diverged: int
    seeds: int
    steps: str
    hardware: str
    versions: str
    commits: str
    hours: float


def origins(runs: Runs | None) -> list[Origin]:
    """A row for every experiment and data set there are runs of."""
    if runs is None or not {"experiment", "model.name"} <= set(runs.settings):
        return []
    told = _told(runs)
    settings = runs.settings.merge(told, on="run")
    groups = settings.groupby(["experiment", "data_label", "model.name"], observed=True, sort=True, dropna=False)
    return [_origin(tuple(map(str, key)), rows) for key, rows in groups]


def _told(runs: Runs) -> pd.DataFrame:
    """What provenance.json and status.json of every run say, as far as they do."""
    wanted = set(runs.settings["run"])
    records = []
    for run in find_runs(runs.root):
        if run.name not in wanted:
            continue
        found = run.provenance()
        threads = found.get("threads")
        where = [str(found["device"])] if found.get("device") else []
        where += [f"{threads} thread{'s' if threads != 1 else ''}"] if threads else []
        where += [str(found["platform"])] if found.get("platform") else []
        torch = found.get("packages.torch")
        versions = [f"Python {found['python']}"] if found.get("python") else []
        versions += [f"torch {torch}"] if torch else []
        records.append(
            {
                "run": run.name,
                "hardware": ", ".join(where),
                "versions": ", ".join(versions),
                "commit": str(found.get("commit") or "")[:10],
                "seconds": run.status.seconds if run.status else math.nan,
            }
        )
    return pd.DataFrame(records)


def _origin(key: Sequence[str], rows: pd.DataFrame) -> Origin:
    experiment, data, network = key
    arms = set(rows["arm"].dropna())
    known = [arm.label for name, arm in ARMS.items() if name in arms]
    rates = sorted(rows["optimizer.lr"].unique(), reverse=True) if "optimizer.lr" in rows else []
    return Origin(
        experiment,
        data,
        network,
        ", ".join([*known, *sorted(arms - set(ARMS))]),
        ", ".join(map(rate, rates)),
        len(rows),
        int((rows["status"] == "diverged").sum()),
        rows["seed"].nunique() if "seed" in rows else 1,
        ", ".join(f"{steps:,}" for steps in sorted(rows["steps"].unique())) if "steps" in rows else "",
        _distinct(rows["hardware"]),
        _distinct(rows["versions"]),
        _distinct(rows["commit"]),
        float(rows["seconds"].sum(skipna=False) / 3600),
    )


def _distinct(values: pd.Series) -> str:
    return "; ".join(sorted(value for value in values.unique() if value))
