"""Times and memory of things done in turn, so that whatever else the machine does hits all alike."""

import multiprocessing
import re
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

from benchmarks.networks import Subject
from benchmarks.ways import Bench

Step = Callable[[], object]


def medians(cases: Mapping[str, tuple[Step, Step]], rounds: int, device: torch.device) -> dict[str, float]:
    """Median seconds of each case (preparation, timed part), all taking turns; the first round does not count."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds + 1):
        for name, (prepare, timed) in cases.items():
            prepare()
            wait_for(device)
            start = time.perf_counter()
            timed()
            wait_for(device)
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found[1:]) for name, found in times.items()}


def peak_memory(subject: Subject, way: str, device: torch.device) -> int:
    """Bytes at the most in a new process that trains one step and measures it.

    Args:
        subject: the network.
        way: of `Bench.ways`; "plain" for a step that is not measured.
        device: where; on an accelerator, its own memory is counted.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_peak, subject, way, device).result()


def _peak(subject: Subject, way: str, device: torch.device) -> int:
    torch.set_num_threads(1)
    bench = Bench(subject, device)
    if way == "plain":
        bench.plain()
    else:
        bench.gradients()
        getattr(bench, way)()
    return _peak_resident() if device.type == "cpu" else torch.cuda.max_memory_allocated(device)


def _peak_resident() -> int:
    """Bytes of this process in memory at the most."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux `ru_maxrss` would count the process that started this one
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def wait_for(device: torch.device) -> None:
    """Let an accelerator finish what it was given."""
    if device.type != "cpu":
        torch.cuda.synchronize(device)
