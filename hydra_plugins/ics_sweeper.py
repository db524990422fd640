"""Hydra's grid sweeper, taught what a run folder says: it launches what is missing and reports what became of it."""

import importlib.util
import sys
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobStatus
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig

from hydra_plugins.ics_job import Job
from hydra_plugins.ics_plan import print_plan
from hydra_plugins.ics_request import read_request
from ics.folder import FINISHED

ENGINES = {  # launcher: the module behind it, and the extra that installs it
    "local": ("hydra_plugins.hydra_joblib_launcher", "sweep"),
    "slurm": ("hydra_plugins.hydra_submitit_launcher", "sweep"),
    "ray": ("hydra_plugins.hydra_ray_launcher", "ray"),
}
# The preset `ray` bears the name of the launcher that it configures, which Hydra takes for its schema.
warnings.filterwarnings("ignore", message=r"\s*'hydra/launcher/ray' is validated against ConfigStore schema")


@dataclass
class IcsSweeperConf:
    """`hydra/sweeper=ics`: the grid of an experiment file's `params`, which the command line may override."""

    _target_: str = "hydra_plugins.ics_sweeper.IcsSweeper"
    params: dict[str, Any] | None = field(default_factory=dict)


ConfigStore.instance().store(group="hydra/sweeper", name="ics", node=IcsSweeperConf, provider="ics")


class IcsSweeper(Sweeper):
    """Sweeps over a grid, skips finished runs, and ends with a summary; exits with 1 if a run is not finished."""

    def __init__(self, params: Mapping[str, Any] | None = None) -> None:
        self.params = dict(params or {})

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Called by Hydra."""
        self.config = config
        self.loader = hydra_context.config_loader
        _check_engine(config.hydra.runtime.choices["hydra/launcher"])
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        """Run the sweep.

        Args:
            arguments: the command line's overrides.
        """
        assert self.config is not None, "Hydra calls setup first"
        assert self.launcher is not None
        jobs = self._jobs(arguments)
        missing = [job for job in jobs if self.config.overwrite or not job.is_finished()]
        if self.config.plan:
            print_plan(jobs, missing, self.config)
            return
        print(f"{len(jobs)} runs, {len(jobs) - len(missing)} of them finished already", file=sys.stderr)
        problems: dict[Job, str] = {}
        if missing:
            try:
                results = self.launcher.launch([list(job.overrides) for job in missing], initial_job_idx=0)
            except Exception as error:  # an engine tells so of a job that was killed; the folders tell the rest
                first_line = next(iter(str(error).splitlines()), "")
                print(f"the launcher stopped with {type(error).__name__}: {first_line}", file=sys.stderr)
            else:
                for job, result in zip(missing, results, strict=True):
                    if result.status == JobStatus.FAILED:
                        problems[job] = str(result._return_value)
        if not _report(jobs, problems):
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
        request = read_request(config, config.hydra)
        return Job(overrides, request.folder, request.settings)


def _check_engine(launcher: str) -> None:
    """End with one line where what a launcher needs is not installed."""
    module, extra = ENGINES.get(launcher, (None, None))
    if module and importlib.util.find_spec(module) is None:
        print(
            f"error: hydra/launcher={launcher} needs more to be installed: pip install -e '.[{extra}]'", file=sys.stderr
        )
        sys.exit(2)


def _report(jobs: list[Job], problems: Mapping[Job, str]) -> bool:
    """Say what became of a sweep; True where every run is finished."""
    ends = {}
    for job in jobs:
        status = job.status()
        ends[job] = "failed" if job in problems else status.state if status else "not started"
    print("; ".join(f"{count} {end}" for end, count in sorted(Counter(ends.values()).items())), file=sys.stderr)
    unfinished = {job: end for job, end in ends.items() if end not in FINISHED}
    for job, end in unfinished.items():
        status = job.status()
        reason = problems.get(job) or (status.error if status else None) or "stopped before its end"
        print(f"{job.folder}: {end}: {reason}", file=sys.stderr)
    return not unfinished
