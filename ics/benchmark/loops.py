"""The training loop beside a bare one, and two runs at a time beside one."""

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from ics.benchmark.timing import wait_for
from ics.runs.config import RunConfig, parse
from ics.runs.signals import Requests
from ics.runs.train import Training

_COMMON = {
    "experiment": "benchmark",
    "scale": None,
    "seed": 0,
    "augment": False,
    "measure": {},
    "record_every": 100,
    "evaluation": {"every": None, "batch_size": 500, "train": False},
    "checkpoint": {"every_steps": None, "every_minutes": 2, "keep": False},
    "threads": 1,
    "deterministic": None,
}
LOOPS: Mapping[str, Mapping[str, Any]] = {
    "deep linear": {
        "model": {"name": "deep_linear"},
        "norm": {"name": "none"},
        "data": {"name": "gaussian"},
        "optimizer": {"name": "sgd", "lr": 1e-7},
        "batch_size": None,
        "steps": 500,
    },
    "VGG-16-BN ×0.25": {
        "model": {"name": "vgg", "depth": 16, "width": 0.25},
        "norm": {"name": "batch"},
        "data": {"name": "digits", "size": 32},
        "optimizer": {"name": "sgd", "lr": 1e-3},
        "batch_size": 128,
        "steps": 10,
    },
}


def settings(loop: str, device: torch.device) -> RunConfig:
    """A run that measures nothing."""
    return parse({**_COMMON, **LOOPS[loop], "device": device.type})


def beyond_bare(config: RunConfig, rounds: int) -> float:
    """Time of a run's training loop, in times of PyTorch's bare one on the same network and batches; medians."""
    found = [(run_seconds(config), bare_seconds(config)) for _ in range(rounds + 1)][1:]
    return statistics.median(ours for ours, _ in found) / statistics.median(bare for _, bare in found)


def throughput(config: RunConfig, rounds: int) -> float:
    """Runs per time of two processes, in those of one; medians."""
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(run_seconds, [config] * 2))  # starts them
        alone: list[float] = []
        together: list[float] = []
        for _ in range(rounds):
            alone.append(pool.submit(run_seconds, config).result())
            together += pool.map(run_seconds, [config] * 2)
    return 2 * statistics.median(alone) / statistics.median(together)


def run_seconds(config: RunConfig) -> float:
    """Seconds of a run's training loop and its files, without the building of the network."""
    training = Training(config)
    with tempfile.TemporaryDirectory() as folder, Requests() as requests:
        start = time.monotonic()
        training.run(Path(folder), "benchmark", requests, on_save=lambda: None)
        wait_for(training.device)
        seconds = time.monotonic() - start
    training.close()
    return seconds


def bare_seconds(config: RunConfig) -> float:
    """Seconds of the same updates in the loop of PyTorch's tutorials."""
    training = Training(config)
    model, loss_fn, optimizer, batches = training.model, training.loss_fn, training.optimizer, training.batches
    start = time.monotonic()
    for step in range(config.steps):
        x, y = batches[step]
        optimizer.zero_grad()
        loss_fn(model(x), y).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    wait_for(training.device)
    return time.monotonic() - start
