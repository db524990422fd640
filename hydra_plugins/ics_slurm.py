"""Hydra's Slurm launcher, which also outlives the end of a job."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig


class SlurmLauncher(Launcher):
    """Submits an array of jobs, one per run, and waits for all of them.

    Hydra's own stops waiting at the first job that was killed, and leaves the later ones alone in the queue. Here such
    a job counts as failed, and the sweep ends when its last job has ended; a sweep that is stopped cancels its jobs.

    Args:
        folder: for submitit's files and the jobs' logs.
        max_num_timeout: how often a run may use up its time and be requeued.
        parameters: of every job, as submitit calls them.
    """

    def __init__(self, folder: str, max_num_timeout: int, **parameters: Any) -> None:
        self.folder, self.max_num_timeout, self.parameters = folder, max_num_timeout, parameters

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Called by Hydra."""
        self.context = {"hydra_context": hydra_context, "task_function": task_function, "config": config}

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        """Run the jobs.

        Args:
            job_overrides: of each job.
            initial_job_idx: number of the first.

        Returns:
            What became of each.
        """
        import submitit  # an extra, and Hydra imports this module whatever the launcher
        from hydra_plugins.hydra_submitit_launcher import submitit_launcher

        work = submitit_launcher.SlurmLauncher()
        work.setup(**self.context)
        executor = submitit.SlurmExecutor(folder=Path(self.folder), max_num_timeout=self.max_num_timeout)
        executor.update_parameters(**self.parameters)
        count = len(job_overrides)
        numbers = range(initial_job_idx, initial_job_idx + count)
        state = Singleton.get_state()
        overrides = [list(words) for words in job_overrides]
        jobs = executor.map_array(
            work, overrides, ["hydra.sweep.dir"] * count, numbers, map(str, numbers), [state] * count
        )
        try:
            return [_result(job) for job in jobs]
        except BaseException:
            for job in jobs:
                job.cancel(check=False)
            raise


def _result(job: Any) -> JobReturn:
    from submitit.core.utils import UncompletedJobError

    try:
        result: JobReturn = job.result()
    except UncompletedJobError:
        result = JobReturn(status=JobStatus.FAILED)
        result.return_value = f"Slurm job {job.job_id} ended as {job.state}; its log: {job.paths.stderr}"
    return result
