"""Hydra's grid sweeper, taught what a run folder says: it launches what is missing and reports what became of it."""

import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf

from ics.runs.folder import Status, read_status
from ics.runs.naming import run_folder


@dataclass
class IcsSweeperConf:
    """`hydra/sweeper=ics`: the grid of an experiment file's `params`, which the command line may override."""

    _target_: str = "hydra_plugins.ics_sweeper.IcsSweeper"
    params: dict[str, Any] | None = field(default_factory=dict)


ConfigStore.instance().store(group="hydra/sweeper", name="ics", node=IcsSweeperConf, provider="ics")


@dataclass(frozen=True)
class Job:
    """One run of a sweep: its overrides and its folder."""

    overrides: tuple[str, ...]
    folder: Path
    steps: int

    def status(self) -> Status | None:
        """What its folder says."""
        return read_status(self.folder)


class IcsSweeper(Sweeper):
    """Sweeps over a grid, skips finished runs, and ends with a summary; exits with 1 if a run is not finished."""

    def __init__(self, params: Mapping[str, Any] | None = None) -> None:
        self.params = dict(params or {})

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Called by Hydra."""
        from hydra.core.plugins import Plugins

        self.config = config
        self.loader = hydra_context.config_loader
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the sweep.

        Args:
            arguments: the command line's overrides.
        """
        jobs = self._jobs(arguments)
        missing = [job for job in jobs if self.config.overwrite or not _finished(job)]
        if self.config.plan:
            _print_plan(jobs, missing)
            return
        print(f"{len(jobs)} runs, {len(jobs) - len(missing)} of them finished already", file=sys.stderr)
        error: Exception | None = None
        if missing:
            try:
                self.launcher.launch([list(job.overrides) for job in missing], initial_job_idx=0)
            except Exception as launch_error:  # an engine reports a killed job so; the folders tell the rest
                error = launch_error
        if not _report(jobs, missing, error):
            sys.exit(1)

    def _jobs(self, arguments: list[str]) -> list[Job]:
        """The grid: the experiment's own parameters, each unless the command line gives it, and the command line's."""
        parser = OverridesParser.create(config_loader=self.loader)
        given = {override.get_key_element().lstrip("+~") for override in parser.parse_overrides(arguments)}
        own = [f"{key}={value}" for key, value in self.params.items() if key not in given]
        grid = BasicSweeper.split_arguments(parser.parse_overrides(own + arguments), max_batch_size=None)[0]
        return [self._job(tuple(overrides)) for overrides in grid]

    def _job(self, overrides: tuple[str, ...]) -> Job:
        config = self.loader.load_sweep_config(self.config, list(overrides))
        settings = OmegaConf.to_container(
            OmegaConf.masked_copy(config, [k for k in config if k != "hydra"]), resolve=True
        )
        assert isinstance(settings, dict)
        folder = run_folder(config.hydra.runtime.choices, settings, config.hydra.overrides.task)
        return Job(overrides, Path(settings["runs"]) / folder, settings["steps"])


def _finished(job: Job) -> bool:
    status = job.status()
    return status is not None and status.finished


def _print_plan(jobs: list[Job], missing: list[Job]) -> None:
    for job in jobs:
        status = job.status()
        state = "to do" if status is None else f"{status.state}, step {status.step} of {status.steps}"
        print(f"{job.folder}  {state}")
    print(f"{len(jobs)} runs, {len(missing)} to do")


def _report(jobs: list[Job], launched: list[Job], error: Exception | None) -> bool:
    """Say what became of a sweep; True where every run is finished."""
    states = {job: (status.state if (status := job.status()) else "not started") for job in jobs}
    print("; ".join(f"{count} {state}" for state, count in sorted(Counter(states.values()).items())), file=sys.stderr)
    unfinished = [job for job in jobs if not _finished(job)]
    for job in unfinished:
        status = job.status()
        reason = status.error if status and status.error else "stopped before its end"
        print(f"{job.folder}: {states[job]}: {reason}", file=sys.stderr)
    if error is not None:
        print(f"the launcher stopped with {type(error).__name__}: {error}", file=sys.stderr)
    return not unfinished
