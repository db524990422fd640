"""What measuring costs, in plain training steps: `python scripts/benchmark.py [--rounds N] [--only NAME]`.

Every case is timed in turn with all others of its network, in one process and one thread. Printed are ratios of
medians: absolute times mean little on a shared machine.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ics import ShiftProbe, nets
from ics.runs.losses import cross_entropy, squared_error
from ics.shift.state import PassWatcher, SwappedParameters, devices_of, undisturbed

Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Subject:
    """A network with a batch of made-up data.

    Attributes:
        model: settings of the network.
        norm: name of its norm.
        shape: of the batch of inputs.
        layers: the measured layers; None means all.
    """

    model: dict[str, object]
    norm: str
    shape: tuple[int, ...]
    layers: tuple[int, ...] | None = None

    def build(self) -> tuple[nn.Module, Loss, Tensor, Tensor]:
        """(model, loss, x, y)."""
        x = torch.randn(self.shape)
        model = nets.build(self.model, {"name": self.norm}, self.shape[1:], outputs=10, seed=0)
        if self.model["name"] == "deep_linear":
            return model, squared_error, x, torch.randn(len(x), 10)
        return model, cross_entropy, x, torch.randint(0, 10, (len(x),))


SUBJECTS = {
    "VGG-16-BN, all layers": Subject({"name": "vgg", "depth": 16, "width": 0.25}, "batch", (128, 3, 32, 32)),
    "VGG-11-BN, #5 and #10": Subject({"name": "vgg", "depth": 11, "width": 0.25}, "batch", (128, 3, 32, 32), (5, 10)),
    "deep linear, all layers": Subject({"name": "deep_linear"}, "none", (1000, 10)),
    "deep linear with BN, all layers": Subject({"name": "deep_linear"}, "batch", (1000, 10)),
}
LR = 1e-7  # small enough that no number overflows, however often a step is repeated


class Bench:
    """The ways to do a step on one network."""

    def __init__(self, subject: Subject) -> None:
        self.model, self.loss_fn, self.x, self.y = subject.build()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LR)
        self.probe = ShiftProbe(self.model, self.loss_fn, layers=subject.layers)
        self.watcher = PassWatcher(self.model, devices_of([self.model]))

    def plain(self) -> None:
        """A training step without a probe."""
        self.gradients()
        self.optimizer.step()

    def gradients(self) -> None:
        """Forward and backward pass."""
        self.optimizer.zero_grad()
        self.loss_fn(self.model(self.x), self.y).backward()  # type: ignore[no-untyped-call]

    def replay(self) -> None:
        """The update inside the probe, without the training pass before it."""
        with self.probe.observe(self.x, self.y):
            self.optimizer.step()

    def definition(self) -> None:
        """The update, and for every layer a full forward and backward pass of its hybrid network."""
        old = {p: p.detach().clone() for p in self.model.parameters()}
        gradients = {p: p.grad for p in old}
        self.optimizer.step()
        place = {p: i for i, p in enumerate(old)}  # these networks register their parameters in order of execution
        assert self.watcher.last is not None
        with undisturbed([self.model], self.watcher.last) as start_pass, SwappedParameters(old) as parameters:
            for layer in self.probe.layers:
                parameters.use_old({p for p in old if place[p] >= place[layer.parameters[0]]})
                start_pass()
                self.optimizer.zero_grad()
                self.loss_fn(self.model(self.x), self.y).backward()  # type: ignore[no-untyped-call]
        for p, gradient in gradients.items():
            p.grad = gradient


def medians(cases: dict[str, tuple[Callable[[], object], Callable[[], object]]], rounds: int) -> dict[str, float]:
    """Median seconds of each case (preparation, timed part), all taking turns; the first round does not count."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(rounds + 1):
        for name, (prepare, timed) in cases.items():
            prepare()
            start = time.perf_counter()
            timed()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found[1:]) for name, found in times.items()}


def compare(name: str, subject: Subject, rounds: int) -> None:
    """Print one network's ratios."""
    bench = Bench(subject)
    bench.gradients()

    def nothing() -> None:
        pass

    found = medians(
        {
            "plain": (nothing, bench.plain),
            "replay": (bench.gradients, bench.replay),
            "definition": (bench.gradients, bench.definition),
        },
        rounds,
    )
    k = len(bench.probe.layers)
    measured, defined = (found[case] / found["plain"] for case in ("replay", "definition"))
    print(f"{name}: {measured:.2f} plain steps for {k} layers ((k + 2)/3 = {(k + 2) / 3:.2f}); ", end="")
    print(f"definition {defined:.2f}, {defined / measured:.2f} times as much")


def not_due(rounds: int) -> None:
    """Print what a probe costs on steps it does not measure: its one remaining hook, put on and taken off in turn."""
    for name in ("VGG-16-BN, all layers", "deep linear, all layers"):
        bench = Bench(SUBJECTS[name])
        bench.probe.close()

        def watched(bench: Bench = bench) -> None:
            bench.watcher = PassWatcher(bench.model, devices_of([bench.model]))

        repeats = rounds * (100 if "linear" in name else 3)

        def unwatched(bench: Bench = bench) -> None:
            bench.watcher.close()

        found = medians({"with": (watched, bench.plain), "without": (unwatched, bench.plain)}, repeats)
        print(f"a step that is not due, {name.split(',')[0]}: {found['with'] / found['without'] - 1:+.2%}")


def peak_memory() -> None:
    """Print peak memory beyond a plain step's, in units of activations and parameters."""
    subject = SUBJECTS["VGG-16-BN, all layers"]
    bench = Bench(subject)
    parameters = sum(p.nbytes for p in bench.model.parameters())
    saved: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if not isinstance(tensor, nn.Parameter):
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = bench.loss_fn(bench.model(bench.x), bench.y)
    activations = sum(saved.values())
    del loss

    def peak(steps: int, measure: bool) -> int:
        receive, send = multiprocessing.Pipe(duplex=False)

        def work() -> None:
            for _ in range(steps):
                bench.gradients()
                bench.replay() if measure else bench.optimizer.step()
            send.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)

        process = multiprocessing.get_context("fork").Process(target=work)
        process.start()
        result = int(receive.recv())
        process.join()
        return result

    plain, once, often = peak(3, False), peak(1, True), peak(20, True)
    print(f"memory: activations {activations / 2**20:.0f} MiB, parameters {parameters / 2**20:.0f} MiB; ", end="")
    print(f"beyond a plain step, one measurement needs {(once - plain) / 2**20:+.0f} MiB, ", end="")
    print(f"twenty {(often - plain) / 2**20:+.0f} MiB")


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="timed rounds per network")
    parser.add_argument("--only", default="", help="part of a network's name")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name, subject in SUBJECTS.items():
        if arguments.only in name:
            compare(name, subject, arguments.rounds * (5 if "linear" in name else 1))
    if not arguments.only:
        not_due(arguments.rounds)
        peak_memory()


if __name__ == "__main__":
    main()
