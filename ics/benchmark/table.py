"""The benchmark's table: what is timed, and what a row says."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from ics.benchmark import loops, subjects
from ics.benchmark.limit import counted_limit
from ics.benchmark.subjects import Subject
from ics.benchmark.timing import medians, peak_memory
from ics.benchmark.ways import Bench
from ics.nets.batch_norm_by_hand import BatchNormByHand
from ics.shift.watcher import PassWatcher
from ics.tables import Table, columns

TABLE = Table(
    "benchmark",
    columns(
        ("case", "int", "number of the row"),
        ("group", "str", "what is compared, of `GROUPS`"),
        ("network", "str", "what is trained"),
        (
            "way",
            "str",
            "definition, pruned, replay, probe (what a user has: replay, with metrics); "
            "by hand, training loop, two processes",
        ),
        ("layers", "int", "number of measured layers, k"),
        ("batch", "int", "samples"),
        ("depth", "int", "layers of the network; 0 where it has no such setting"),
        ("width", "int", "features of the deep linear network; 0 for others"),
        ("device", "str", "cpu or cuda"),
        ("threads", "int", "CPU threads"),
        (
            "ratio",
            "float",
            "median time in plain training steps of the same network; by hand: in nn.BatchNorm2d's time; "
            "training loop: in a bare loop's; two processes: runs per time, in one process's",
        ),
        ("limit", "float", "the least it can be, from counted operations", True),
        ("extra_mib", "float", "peak memory beyond a plain step's, MiB, of one measurement", True),
    ),
    key=("case",),
)
Row = dict[str, Any]
NAN = float("nan")


def rows(group: str, rounds: int, device: torch.device) -> Iterator[Row]:
    """The rows of one group, without their numbers.

    Args:
        group: of `GROUPS`.
        rounds: how often everything is timed.
        device: where.
    """
    for row in GROUPS[group](rounds, device):
        threads = {"threads": torch.get_num_threads(), "device": device.type}
        yield {"limit": NAN, "extra_mib": NAN, "depth": 0, "width": 0, "group": group, **threads, **row}


def _networks(rounds: int, device: torch.device) -> Iterator[Row]:
    for subject in subjects.NETWORKS:
        yield from _compare(subject, rounds, device, memory=True)


def _batches(rounds: int, device: torch.device) -> Iterator[Row]:
    for subject in subjects.BATCHES:
        yield from _compare(subject, rounds, device)


def _depths(rounds: int, device: torch.device) -> Iterator[Row]:
    for subject in subjects.DEPTHS:
        yield from _compare(subject, rounds, device)


def _widths(rounds: int, device: torch.device) -> Iterator[Row]:
    for subject in subjects.WIDTHS:
        yield from _compare(subject, rounds, device)


def _threads(rounds: int, device: torch.device) -> Iterator[Row]:
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            for subject in (subjects.VGG16, subjects.DEEP_LINEAR):
                yield from _compare(subject, rounds, device)
    finally:
        torch.set_num_threads(before)


def _not_due(rounds: int, device: torch.device) -> Iterator[Row]:
    """What a probe costs on steps it does not measure: its one remaining hook, put on and taken off in turn."""
    for subject, repeats in ((subjects.VGG16, 3 * rounds), (subjects.DEEP_LINEAR, 100 * rounds)):
        bench = Bench(subject, device)
        bench.close()
        watchers: list[PassWatcher] = []

        def watch(bench: Bench = bench, watchers: list[PassWatcher] = watchers) -> None:
            watchers.append(PassWatcher.of(bench.model, bench.loss_fn))

        def unwatch(watchers: list[PassWatcher] = watchers) -> None:
            watchers.pop().close()

        found = medians({"with": (watch, bench.plain), "without": (unwatch, bench.plain)}, repeats, device)
        yield {**_of(subject, bench), "way": "probe", "ratio": found["with"] / found["without"]}


def _batch_norm(rounds: int, device: torch.device) -> Iterator[Row]:
    """Batch normalisation by hand against PyTorch's, forward and backward pass."""
    shape = (128, 64, 32, 32)
    x, dy = torch.randn(shape, device=device, requires_grad=True), torch.randn(shape, device=device)
    norms = {"by hand": BatchNormByHand(shape[1]), "nn.BatchNorm2d": nn.BatchNorm2d(shape[1])}

    def step(norm: nn.Module) -> Callable[[], object]:
        return lambda: torch.autograd.grad(norm.to(device)(x), (x, *norm.parameters()), dy)

    found = medians({name: (_nothing, step(norm)) for name, norm in norms.items()}, 2 * rounds, device)
    name = "×".join(map(str, shape))
    ratio = found["by hand"] / found["nn.BatchNorm2d"]
    yield {"network": name, "batch": shape[0], "layers": 1, "way": "by hand", "ratio": ratio}


def _training_loop(rounds: int, device: torch.device) -> Iterator[Row]:
    for name in loops.LOOPS:
        ratio = loops.beyond_bare(loops.settings(name, device), 2 * rounds)
        yield {"network": name, "batch": 0, "layers": 0, "way": "training loop", "ratio": ratio}


def _processes(rounds: int, device: torch.device) -> Iterator[Row]:
    for name in loops.LOOPS:
        ratio = loops.throughput(loops.settings(name, device), 2 * rounds)
        yield {"network": name, "batch": 0, "layers": 0, "way": "two processes", "ratio": ratio}


GROUPS: dict[str, Callable[[int, torch.device], Iterator[Row]]] = {
    "networks": _networks,
    "batch": _batches,
    "depth": _depths,
    "width": _widths,
    "threads": _threads,
    "not due": _not_due,
    "batch norm": _batch_norm,
    "training loop": _training_loop,
    "processes": _processes,
}


def _compare(subject: Subject, rounds: int, device: torch.device, memory: bool = False) -> Iterator[Row]:
    """All ways on one network."""
    torch.manual_seed(0)
    bench = Bench(subject, device)
    bench.warm_up()
    cases = {"plain": (_nothing, bench.plain), **{way: (bench.gradients, run) for way, run in bench.ways.items()}}
    found = medians(cases, rounds, device)
    limit = counted_limit(bench.model, bench.with_probe.layers, bench.x)
    plain = peak_memory(subject, "plain", device) if memory else 0
    for way in bench.ways:
        extra = (peak_memory(subject, way, device) - plain) / 2**20 if memory else NAN
        ratio = found[way] / found["plain"]
        yield {**_of(subject, bench), "way": way, "ratio": ratio, "limit": limit, "extra_mib": extra}
    bench.close()


def _of(subject: Subject, bench: Bench) -> Row:
    linear = subject.model["name"] == "deep_linear"
    size = {"depth": int(subject.model.get("depth", 0)), "width": subject.sample[0] if linear else 0}
    return {"network": subject.name, "batch": subject.batch, **size, "layers": len(bench.with_probe.layers)}


def _nothing() -> None:
    pass
