"""Small real runs, in this process or in one of their own that can be killed."""

import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch

from ics.runs.config import RunConfig, parse
from ics.runs.execute import run
from ics.runs.recorder import Recorder
from ics.runs.signals import Interrupted
from ics.runs.train import Training

PATIENCE = 300.0  # seconds after which something must be wrong
SETTINGS: dict[str, Any] = {
    "experiment": "test",
    "scale": None,
    "seed": 3,
    "steps": 60,
    "batch_size": 32,
    "augment": False,
    "model": {"name": "mlp", "hidden": [16, 16]},
    "norm": {"name": "noisy_batch"},
    "data": {"name": "digits", "limit": 200},
    "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3},
    "measure": {"shift": {"every": 4}},
    "record_every": 3,
    "evaluation": {"every": 20, "batch_size": 100, "train": True},
    "checkpoint": {"every_steps": 7, "every_minutes": None, "keep": True},
    "device": "cpu",
    "threads": 1,
    "deterministic": None,
}


def config(**changes: Any) -> RunConfig:
    """The small run's settings with some of them changed; `optimizer__lr=1` reaches inside."""
    settings: dict[str, Any] = {
        key: dict(value) if isinstance(value, dict) else value for key, value in SETTINGS.items()
    }
    for key, value in changes.items():
        outer, _, inner = key.partition("__")
        if inner:
            settings[outer][inner] = value
        else:
            settings[outer] = value
    return parse(settings)


def results(folder: Path) -> dict[str, bytes]:
    """What must be the same to the bit: every CSV file and the final weights."""
    files = {path.name: path.read_bytes() for path in sorted(folder.glob("*.csv"))}
    state = torch.load(folder / "checkpoint.pt", weights_only=True)
    weights = {f"model.{key}": value.cpu().numpy().tobytes() for key, value in state["model"].items()}
    return files | weights | {"random": state["random"][0].numpy().tobytes()}


@cache
def import_all() -> None:
    """What a run imports only when it needs it takes many seconds."""
    Training(config()).close()


def start_child(settings: RunConfig, folder: Path, before: Callable[[], None] = lambda: None) -> Any:
    """A process of its own that trains; it forks from this one, so that it need not import everything again."""
    import_all()

    def work() -> None:
        with contextlib.redirect_stderr(open(os.devnull, "w")):
            torch.set_num_threads(1)
            before()
            try:
                run(settings, folder)
            except Interrupted as stop:
                os._exit(stop.exit_code)
            except Exception:
                os._exit(1)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    return process


def finish(settings: RunConfig, folder: Path) -> int:
    """Run in a child to the end; its exit status."""
    process = start_child(settings, folder)
    process.join()
    return int(process.exitcode)


def at_shift_row(step: int, act: Callable[[], None]) -> None:
    """Do something in this process as soon as the shift of a step is written."""
    write = Recorder.write

    def acting(self: Recorder, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
        found = list(rows)
        write(self, table, found)
        if table == "shift" and found[0]["step"] == step:
            act()

    Recorder.write = acting  # type: ignore[method-assign]


def signal_at(signum: int, step: int) -> None:
    """Send this process a signal when the shift of a step is written."""
    at_shift_row(step, lambda: os.kill(os.getpid(), signum))


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    """Wait until a condition holds; fail if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"waited {seconds} s in vain")
        time.sleep(seconds / 1000)
