"""Hydra's grid sweeper, taught what a run folder says: it launches what is missing and reports what became of it."""

import importlib.util
import os
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import JobStatus

from hydra_plugins.ics_request import grid_of, read_request, reading
from hydra_plugins.ics_words import hydra_word, plain
from ics.errors import UserError
from ics.runs.sweep import Job, carry_out, twins

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
    max_batch_size: int | None = None


ConfigStore.instance().store(group="hydra/sweeper", name="ics", node=IcsSweeperConf, provider="ics")


class IcsSweeper(BasicSweeper):
    """Sweeps over a grid, skips finished runs, and ends with a summary; exits with 1 if a run is not finished."""

    config: Any
    hydra_context: Any
    launcher: Any

    def setup(self, *, hydra_context: Any, task_function: Any, config: Any) -> None:
        """Called by Hydra."""
        self.preset = config.hydra.runtime.choices["hydra/launcher"]
        module, extra = ENGINES.get(self.preset, (None, None))
        if module and importlib.util.find_spec(module) is None:
            raise UserError(f"hydra/launcher={self.preset} needs more to be installed: pip install -e '.[{extra}]'")
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> None:
        """Called by Hydra with the command line's overrides."""
        processes = None  # a cluster decides
        if self.preset in ("basic", "local"):
            count = int(self.config.hydra.launcher.get("n_jobs", 1))
            processes = count if count > 0 else max(1, (os.cpu_count() or 1) + 1 + count)
        if status := carry_out(self._jobs(arguments), self._launch, processes, self.config.plan):
            sys.exit(status)

    def _jobs(self, arguments: list[str]) -> list[Job]:
        """The grids of the experiments, each unless the command line gives a key, and the command line's."""
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given = {override.key_or_group: override for override in parser.parse_overrides(arguments)}
        jobs: dict[str, Job] = {}
        for experiment, params in self._grids(given.get("experiment")):
            own = [
                hydra_word(f"{key}={_swept(key, value)}") for key, value in params.items() if plain(key) not in given
            ]
            words = parser.parse_overrides([*own, *arguments, *experiment])  # of those with one key the last counts
            for word in words:
                if word.is_interval_sweep():
                    raise UserError(f"{plain(str(word.input_line))}: write the values out, or range(…)")
                with reading(plain(str(word.input_line))):
                    self.split_arguments([word], max_batch_size=None)
            grid = [self._job(job) for job in self.split_arguments(words, max_batch_size=None)[0]]
            twins(grid)
            for job in grid:
                jobs.setdefault(str(job), job)  # experiments may share runs
        if not jobs:
            swept = [plain(str(override.input_line)) for override in given.values() if override.is_sweep_override()]
            raise UserError(f"{' '.join(swept)}: a sweep over nothing; give it a value")
        return list(jobs.values())

    def _grids(self, experiment: Override | None) -> Iterator[tuple[list[str], dict[str, Any]]]:
        """The override that chooses an experiment, if several are asked for, and what it sweeps over."""
        if experiment is None or not experiment.is_sweep_override():
            yield [], grid_of(self.config.hydra)
            return
        for name in experiment.sweep_string_iterator():
            word = [f"experiment={name}"]
            yield word, grid_of(self.hydra_context.config_loader.load_sweep_config(self.config, word).hydra)

    def _job(self, words: list[str]) -> Job:
        plain_words = tuple(map(plain, words))
        try:
            with reading():
                config = self.hydra_context.config_loader.load_sweep_config(self.config, words)
                return Job(plain_words, read_request(config, config.hydra))
        except UserError as error:
            return Job(plain_words, None, str(error))

    def _launch(self, jobs: list[Job]) -> dict[Job, str]:
        """Run jobs; what their launcher has to say against them."""
        try:
            results = self.launcher.launch([[*map(hydra_word, job.words)] for job in jobs], initial_job_idx=0)
        except Exception as error:  # an engine tells so of a job that was killed; the folders tell the rest
            first_line = next(iter(str(error).splitlines()), "")
            print(f"the launcher stopped with {type(error).__name__}: {first_line}", file=sys.stderr)
            return {}
        failed = [(job, end) for job, end in zip(jobs, results, strict=True) if end.status == JobStatus.FAILED]
        return {job: str(end._return_value) for job, end in failed}


def _swept(key: str, value: Any) -> str:
    """A parameter of a grid as the command line writes it: text as it is, a list as a sweep over its elements."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise UserError(f"hydra.sweeper.params: {key} is an empty list; give it a value")
    return value if isinstance(value, str) else ",".join(map(Override._get_value_element_as_str, values))
