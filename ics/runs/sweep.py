"""The runs of a sweep: what is asked for, what is left to do, what would fail, and what became of it."""

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ics.errors import UserError
from ics.folder import FINISHED, Status
from ics.runs.config import RunConfig
from ics.runs.folder import read_status
from ics.runs.progress import Outlook, finished_paces, watched


@dataclass(frozen=True)
class Request:
    """A run that was asked for, in `root/name`; `command` makes this one run, whatever started it."""

    config: RunConfig
    root: Path
    name: str
    command: list[str]
    overwrite: bool
    plan: bool

    @property
    def folder(self) -> Path:
        """Where the run goes."""
        return self.root / self.name


@dataclass(frozen=True, eq=False)
class Job:
    """One run of a sweep: the overrides that make it, and what they ask for, or why that makes no sense."""

    words: tuple[str, ...]
    request: Request | None
    problem: str | None = None

    @property
    def status(self) -> Status | None:
        """What its folder says."""
        return read_status(self.request.folder) if self.request else None

    @property
    def to_do(self) -> bool:
        """Whether it is not finished, or to be done anew."""
        if self.request is None or self.request.overwrite:
            return True
        status = self.status
        return status is None or not status.covers(self.request.config.steps)

    def __str__(self) -> str:
        return str(self.request.folder) if self.request else " ".join(self.words)


def own_words(job: Job, jobs: Sequence[Job]) -> str:
    """The overrides that a job has and not every other one; its last where it has none."""
    own = [word for word in job.words if not all(word in other.words for other in jobs)]
    return " ".join(own or job.words[-1:]) or "the run"


def twins(jobs: Sequence[Job]) -> None:
    """Refuse two jobs that are one run."""
    found: dict[str, Job] = {}
    for job in jobs:
        twin = found.setdefault(str(job), job)
        if twin is not job:
            both = " and ".join(own_words(one, jobs) for one in (twin, job))
            raise UserError(f"nothing was started: {both} are one run, {job}; leave one of them out")


def carry_out(
    jobs: Sequence[Job], launch: Callable[[list[Job]], dict[Job, str]], processes: int | None, plan: bool
) -> int:
    """Run what is missing of a sweep, or only say what that would be; the exit status.

    Args:
        jobs: of the sweep.
        launch: runs jobs and gives what their launcher has to say against them.
        processes: how many runs go on at a time; None where a cluster decides.
        plan: only say.

    Raises:
        UserError: a run would fail at its start; nothing was started.
    """
    missing = [job for job in jobs if job.to_do]
    problems = problems_of(jobs, elsewhere=processes is None)
    sound = [job.request for job in missing if job.request and job not in problems]
    outlook = Outlook({one.folder: one.config for one in sound}, processes, anew=any(one.overwrite for one in sound))
    if plan:
        for job in jobs:
            state = f"{at.state}, step {at.step} of {at.steps}" if (at := job.status) else "to do"
            print(f"{job}  {f'would fail: {problems[job]}' if job in problems else state}")
        print(f"{len(jobs)} runs, {len(missing)} to do{f', {len(problems)} would fail' if problems else ''}")
        if sound:
            outlook.paces = finished_paces(sound[0].root)
            print(outlook)
        return int(bool(problems))
    if problems:
        job, problem = next(iter(problems.items()))
        more = f"; {len(problems) - 1} more would fail: plan=true lists them" if len(problems) > 1 else ""
        raise UserError(f"nothing was started: {own_words(job, jobs)} would fail: {problem}{more}")
    print(f"{len(jobs)} runs, {len(jobs) - len(missing)} of them finished already", file=sys.stderr)
    if missing:
        with watched(outlook, len(jobs)):
            problems = launch(missing)
    return 0 if report(jobs, problems) else 1


def problems_of(jobs: Sequence[Job], elsewhere: bool) -> dict[Job, str]:
    """Why runs would fail as soon as they start; of every combination of settings, one is built.

    Elsewhere they run on machines that may have a device that this one has not.
    """
    from ics.runs.execute import check_folder, try_out  # imports torch

    found: dict[Job, str] = {}
    told: dict[str, str | None] = {}
    for job in jobs:
        problem = job.problem
        if job.request is not None:
            arm = job.request.config.model_copy(update={"seed": 0} | ({"device": "cpu"} if elsewhere else {}))
            key = arm.model_dump_json()
            if job.to_do and key not in told:
                told[key] = _why_not(try_out, arm)
            problem = told.get(key)
            if not (problem or job.request.overwrite):
                problem = _why_not(check_folder, job.request.folder, job.request.config)
        if problem:
            found[job] = problem
    return found


def _why_not(attempt: Callable[..., object], *arguments: object) -> str | None:
    try:
        attempt(*arguments)
    except UserError as error:
        return str(error)
    return None


def report(jobs: Sequence[Job], problems: Mapping[Job, str]) -> bool:
    """Say what became of a sweep; True where every run is finished."""
    ends = {job: "failed" if job in problems else at.state if (at := job.status) else "not started" for job in jobs}
    print("; ".join(f"{count} {end}" for end, count in sorted(Counter(ends.values()).items())), file=sys.stderr)
    unfinished = {job: end for job, end in ends.items() if end not in FINISHED}
    for job, end in unfinished.items():
        reason = problems.get(job) or ((at := job.status) and at.error) or "stopped before its end"
        print(f"{job}: {end}: {reason}", file=sys.stderr)
    return not unfinished
