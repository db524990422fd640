"""A small sweep through the command line, and its results."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ics.runs.folder import read_status

ROOT = Path(__file__).parents[1]
SWEEP = [
    "model=mlp", "model.hidden=[16]", "data=digits", "data.limit=200", "batch_size=32", "device=cpu",
    "measure.shift.every=20", "record_every=10", "evaluation.every=100", "norm=noisy_batch", "optimizer.lr=0.01",
]  # fmt: skip


def start(runs: Path, *words: str, **options: Any) -> "subprocess.Popen[str]":
    """Start the small sweep in a process of its own, with options of `Popen`."""
    command = [sys.executable, "scripts/train.py", "-m", *SWEEP, f"runs={runs}", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, **options)


def sweep(runs: Path, *words: str, code: int = 0) -> tuple[str, str]:
    """Run the small sweep to its end; what it printed and what it said on stderr."""
    return finish(start(runs, *words), code)


def finish(process: "subprocess.Popen[str]", code: int = 0) -> tuple[str, str]:
    """Wait for the end of a sweep; what it printed and what it said on stderr."""
    stdout, stderr = process.communicate(timeout=900)
    assert process.returncode == code, stdout + stderr
    return stdout, stderr


def csv_files(runs: Path) -> dict[str, bytes]:
    """Every CSV file below a folder of runs."""
    return {path.relative_to(runs).as_posix(): path.read_bytes() for path in sorted(runs.rglob("*.csv"))}


Serial = Callable[..., dict[str, bytes]]
"""The CSV files of the small sweep, made by one process that nothing disturbed."""


def hold(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    """A file; while it is there, runs with `plugin=slow_steps` last for many minutes."""
    file = folder / "hold"
    monkeypatch.setenv("ICS_TEST_HOLD", str(file))
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    return file


class Run:
    """A run of a sweep seen from outside, to meet an accident on its way.

    Args:
        runs: where the sweep's runs go.
        seed: of the run, the only one with it.
    """

    def __init__(self, runs: Path, seed: int) -> None:
        self._runs, self._seed = runs, seed

    @property
    def start(self) -> int:
        """When its present process began to heed signals, in nanoseconds; 0 before the first."""
        path = self._folder / "tables.json" if self._folder else None
        return path.stat().st_mtime_ns if path and path.exists() else 0

    @property
    def step(self) -> int:
        """Steps saved so far."""
        status = read_status(self._folder) if self._folder else None
        return status.step if status else 0

    @property
    def process(self) -> int:
        """The id of its process, once there is a start."""
        assert self._folder is not None
        return int(json.loads((self._folder / "owner.json").read_text())["process"])

    @property
    def _folder(self) -> Path | None:
        return next(self._runs.glob(f"*/*/seed{self._seed}"), None)
