"""The benchmark's table: what is timed, and what a row says."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import networks
from benchmarks.limit import counted_limit, counted_origins
from benchmarks.networks import Subject
from benchmarks.timing import medians, peak_memory
from benchmarks.ways import WAYS, Bench
from ics.shift import ShiftProbe
from ics.shift.layers import Layer
from ics.tables import Table, columns

TABLE = Table(
    "benchmark",
    columns(
        ("case", "int", "number of the row"),
        ("group", "str", "what is compared, of `GROUPS`"),
        ("network", "str", "what is trained"),
        ("way", "str", "definition, pruned, replay, probe (what a user has: replay, with metrics), origins"),
        ("layers", "int", "number of measured layers, k"),
        ("batch", "int", "samples"),
        ("depth", "int", "layers of the network; 0 where it has no such setting"),
        ("width", "int", "features of the deep linear network; 0 for others"),
        ("device", "str", "cpu or cuda"),
        ("threads", "int", "CPU threads"),
        ("ratio", "float", "median time in plain training steps of the same network"),
        ("limit", "float", "the least it can be, from counted operations", True),
        ("extra_mib", "float", "peak memory beyond a plain step's, MiB, of one measurement", True),
    ),
    key=("case",),
)
Row = dict[str, Any]
Group = Callable[[int, torch.device], Iterator[Row]]
Limit = Callable[[nn.Module, list[Layer], Tensor], float]
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


def _ways(
    subjects: Iterable[Subject], memory: bool = False, ways: Sequence[str] = WAYS, limit: Limit = counted_limit
) -> Group:
    """These ways on each network."""

    def timed(rounds: int, device: torch.device) -> Iterator[Row]:
        for subject in subjects:
            yield from _compare(subject, rounds, device, memory, ways, limit)

    return timed


def _origins(subjects: Iterable[Subject]) -> Group:
    """What it costs to find out which block moved which layer, on each network."""
    return _ways(subjects, True, ["origins"], lambda *of: counted_limit(*of) + counted_origins(*of))


def _not_due(rounds: int, device: torch.device) -> Iterator[Row]:
    """What an attached probe costs on steps that it does not measure."""
    for subject, repeats in ((networks.VGG16, 3 * rounds), (networks.DEEP_LINEAR, 100 * rounds)):
        plain, attached = Bench(subject, device), Bench(subject, device)
        plain.close()
        attached.close()
        with ShiftProbe(attached.model, attached.loss_fn) as probe:
            probe.attach(attached.optimizer, every=repeats + 2, to=[])
            attached.plain()  # the first one is due, and no other of those that are timed
            cases = {"without": (lambda: None, plain.plain), "with": (lambda: None, attached.plain)}
            found = medians(cases, repeats, device)
        yield {**_of(subject, plain), "way": "probe", "ratio": found["with"] / found["without"]}


GROUPS: dict[str, Group] = {
    "networks": _ways(networks.NETWORKS, memory=True),
    "batch": _ways(networks.BATCHES),
    "depth": _ways(networks.DEPTHS),
    "width": _ways(networks.WIDTHS),
    "origins": _origins([networks.VGG16, networks.DEEP_LINEAR_BN]),
    "not due": _not_due,
}


def _compare(
    subject: Subject, rounds: int, device: torch.device, memory: bool, ways: Sequence[str], limit: Limit
) -> Iterator[Row]:
    """These ways on one network."""
    torch.manual_seed(0)
    bench = Bench(subject, device, ways)
    bench.warm_up()
    found = medians(bench.cases, rounds, device)
    least = limit(bench.model, bench.with_probe.layers, bench.x)
    plain = peak_memory(subject, "plain", device) if memory else 0
    for way in bench.ways:
        extra = (peak_memory(subject, way, device) - plain) / 2**20 if memory else NAN
        ratio = (found["note"] + found[way]) / found["plain"]
        yield {**_of(subject, bench), "way": way, "ratio": ratio, "limit": least, "extra_mib": extra}
    bench.close()


def _of(subject: Subject, bench: Bench) -> Row:
    linear = subject.model["name"] == "deep_linear"
    size = {"depth": int(subject.model.get("depth", 0)), "width": subject.sample[0] if linear else 0}
    return {"network": subject.name, "batch": subject.batch, **size, "layers": len(bench.with_probe.layers)}
