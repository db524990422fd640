"""A sweep on a real Ray cluster of two nodes, one of which is killed on the way."""

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_runs import PATIENCE, wait_for
from sweeps import Run, Serial, csv_files, finish, hold, start, sweep

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(
        importlib.util.find_spec("hydra_plugins.hydra_ray_launcher") is None,
        reason="Ray is missing: pip install -e '.[ray]'",
    ),
]


@pytest.fixture(autouse=True)
def held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The file that holds runs; Ray's daemons must know its name when they start."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_agent_register_timeout_ms", "120000")  # Ray's own patience is short on a busy machine
    return hold(monkeypatch, tmp_path)


def test_ray_gives_the_bytes_of_a_serial_sweep(serial: Serial, tmp_path: Path) -> None:
    words = ["steps=200", "norm=none,noisy_batch", "seed=0,1"]
    sweep(tmp_path / "ray", *words, "hydra/launcher=ray")
    assert csv_files(tmp_path / "ray") == serial(*words) != {}


class Node:
    """A node of a Ray cluster, with one CPU, in processes of its own.

    Args:
        name: to know its processes by.
        words: for `ray start`.
    """

    def __init__(self, name: str, *words: str) -> None:
        self._mark = f"ICS_TEST_NODE={name}-{os.getpid()}"
        key, value = self._mark.split("=")
        command = [
            Path(sys.executable).with_name("ray"),
            "start",
            "--num-cpus=1",
            "--node-ip-address=127.0.0.1",
            *words,
        ]
        start = subprocess.run(command, env=os.environ | {key: value}, capture_output=True, text=True, check=False)
        if start.returncode != 0:
            self.kill()
            pytest.fail(start.stdout + start.stderr)

    def processes(self) -> list[int]:
        """All that run for it, the runs included."""
        return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/environ") if self._mark in _read(path)]

    def kill(self) -> None:
        """Kill all of it at once, as when a machine dies."""
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def _read(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").split("\0")
    except OSError:  # it has just ended
        return []


@pytest.fixture
def cluster(held: Path) -> Iterator[tuple[str, Node]]:
    """The address of a cluster of two nodes, and the one that may die."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nodes = [Node("head", "--head", f"--port={port}", "--include-dashboard=false")]
    try:
        nodes.append(Node("other", f"--address=127.0.0.1:{port}"))
        yield f"127.0.0.1:{port}", nodes[1]
    finally:
        for node in nodes:
            node.kill()


@pytest.mark.parametrize(("retries", "code"), [(0, 1), (3, 0)], ids=["started again", "going on by itself"])
def test_a_node_is_killed(
    retries: int, code: int, cluster: tuple[str, Node], serial: Serial, held: Path, tmp_path: Path
) -> None:
    address, node = cluster
    words = ["steps=600", "seed=0,1,2", "checkpoint.every_steps=4", "plugin=slow_steps"]
    ray = [
        "hydra/launcher=ray",
        f"hydra.launcher.ray.init.address={address}",
        f"hydra.launcher.ray.remote.max_retries={retries}",
    ]
    runs = tmp_path / "ray"
    undisturbed = serial(*words)

    held.touch()
    process = start(runs, *words, *ray)
    first = [Run(runs, seed) for seed in (0, 1)]  # one on each node
    wait_for(lambda: min(run.step for run in first) > 0, PATIENCE)
    assert len({run.process for run in first} & set(node.processes())) == 1
    node.kill()
    held.unlink()
    finish(process, code)

    sweep(runs, *words, *ray)
    assert csv_files(runs) == undisturbed != {}
