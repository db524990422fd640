"""A sweep on a real Slurm of one node: jobs are killed, preempted and run out of time, and no byte shows it."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_runs import PATIENCE, wait_for
from sweeps import ROOT, Run, Serial, csv_files, finish, hold, start, sweep

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        not all(map(shutil.which, ("slurmctld", "munged"))), reason="Slurm is missing; make test-cluster installs it"
    ),
]
SLURM = ["hydra/launcher=slurm", "hydra.launcher.mem=1GB"]


@pytest.fixture(scope="module", autouse=True)
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cluster that the tests' commands talk to."""
    script, folder = ROOT / "tests" / "slurm_local.sh", tmp_path_factory.mktemp("slurm")
    up = subprocess.run([script, "up", folder], capture_output=True, text=True, check=False)
    assert up.returncode == 0, up.stderr
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        patch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")
        yield
        subprocess.run([script, "down", folder], check=True)


def slurm_says(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def state(job: str) -> str:
    return slurm_says("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T")


def test_slurm_gives_the_bytes_of_a_serial_sweep(serial: Serial, tmp_path: Path) -> None:
    words = ["steps=200", "norm=none,noisy_batch", "seed=0,1"]
    sweep(tmp_path / "slurm", *words, *SLURM)
    assert csv_files(tmp_path / "slurm") == serial(*words) != {}


def test_killed_preempted_and_out_of_time(serial: Serial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = hold(monkeypatch, tmp_path)
    words = ["steps=600", "seed=0,1,2,3", "plugin=slow_steps"]
    limits = ["hydra.launcher.time=10", "hydra.launcher.signal_delay_s=90", "hydra.launcher.array_parallelism=2"]
    runs = tmp_path / "slurm"
    undisturbed = serial(*words)

    # While they are held, no run ends by itself, and none saves itself unless it is told to.
    held.touch()
    process = start(runs, *words, *SLURM, *limits)
    cancelled, killed, preempted, slow = (Run(runs, seed) for seed in range(4))
    wait_for(lambda: min(cancelled.start, killed.start) > 0, PATIENCE)
    array = slurm_says("squeue", "--noheader", "--array", "--format=%F").split()[0]
    os.kill(killed.process, signal.SIGKILL)
    slurm_says("scancel", f"{array}_0")
    wait_for(lambda: cancelled.step > 0 and state(f"{array}_0") == "CANCELLED", PATIENCE)

    wait_for(lambda: min(preempted.start, slow.start) > 0, PATIENCE)
    first = slow.start
    slurm_says("sbatch", "--partition=urgent", "--exclusive", "--wrap=true", f"--output={tmp_path / 'urgent'}")
    wait_for(lambda: [state(f"{array}_{task}") for task in (2, 3)] == ["PENDING"] * 2, PATIENCE)
    assert min(preempted.step, slow.step) > 0
    for task in (2, 3):
        slurm_says("scontrol", "update", f"JobId={array}_{task}", "StartTime=now")  # Slurm would wait for two minutes

    wait_for(lambda: slow.start > first, PATIENCE)
    slurm_says("scontrol", "update", f"JobId={array}_3", "TimeLimit=2")  # Slurm sends SIGUSR2 at its next look
    wait_for(lambda: state(f"{array}_3") == "PENDING", PATIENCE)
    assert slow.step > 0
    slurm_says("scontrol", "update", f"JobId={array}_3", "StartTime=now", "TimeLimit=10")

    held.unlink()
    _, stderr = finish(process, code=1)
    assert "2 done; 2 failed" in stderr
    assert f"Slurm job {array}_0 ended as CANCELLED" in stderr
    assert f"Slurm job {array}_1 ended as FAILED" in stderr

    _, stderr = sweep(runs, *words, *SLURM)
    assert "4 runs, 2 of them finished already" in stderr
    assert csv_files(runs) == undisturbed != {}
