"""What a sweep would do, and how long it would take."""

import os
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from hydra_plugins.ics_job import Job
from ics.errors import UserError
from ics.runs import parse
from ics.runs.estimate import Pace, finished_paces, seconds_per_step


def print_plan(jobs: Sequence[Job], missing: Sequence[Job], config: DictConfig) -> None:
    """Print the state of every run, how many are to be run, and for how long.

    Args:
        jobs: all of a sweep.
        missing: those to be run.
        config: of the sweep.
    """
    for job in jobs:
        status = job.status()
        state = "to do" if status is None else f"{status.state}, step {status.step} of {status.steps}"
        print(f"{job.folder}  {state}")
    print(f"{len(jobs)} runs, {len(missing)} to do")
    if missing:
        paces = finished_paces(Path(config.runs))
        print(_estimate([_seconds_left(job, paces, config.overwrite) for job in missing], _processes(config.hydra)))


def _seconds_left(job: Job, paces: Sequence[Pace], overwrite: bool) -> float | None:
    """What a run still needs, at its own speed so far, or else at that of finished ones; None where there are none."""
    try:
        settings = parse(dict(job.settings))
    except UserError:
        return 0.0  # it will fail at once, and say why
    status = None if overwrite else job.status()
    if status is not None and status.step > 0:
        return status.seconds / status.step * (settings.steps - status.step)
    pace = seconds_per_step(settings.model_dump(mode="json"), paces)
    return None if pace is None else pace * settings.steps


def _processes(hydra: Any) -> int | None:
    """How many runs go on at a time; None where a cluster decides."""
    launcher = hydra.runtime.choices["hydra/launcher"]
    if launcher == "basic":
        return 1
    if launcher == "local":
        count = int(hydra.launcher.n_jobs)
        return count if count > 0 else max(1, (os.cpu_count() or 1) + 1 + count)
    return None


def _estimate(seconds: Sequence[float | None], processes: int | None) -> str:
    known = [each for each in seconds if each is not None]
    if not known:
        return "no finished run to estimate the time from"
    if processes is None:
        where, time = "of computing in all", sum(known)
    else:
        where, time = f"on {processes} process{'es' * (processes > 1)}", max(max(known), sum(known) / processes)
    unknown = len(seconds) - len(known)
    rest = f", and {unknown} runs without a finished one to estimate the time from" if unknown else ""
    return f"about {timedelta(seconds=round(time))} {where}{rest}"
