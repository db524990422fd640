"""The ways to do a training step, and to compute every measured layer's G' around it."""

from collections.abc import Callable, Sequence
from functools import partial

import torch

from benchmarks.networks import Subject
from ics.shift import ShiftProbe, definition, replay
from ics.shift.passes import Passes
from ics.shift.watcher import PassWatcher

WAYS = ("definition", "pruned", "replay", "probe")
LR = 1e-7  # small enough that no number overflows, however often a step is repeated


class Bench:
    """One network, and the ways to do a step on it. All but `plain` come after `gradients`.

    Args:
        subject: the network.
        device: where it lives.
        ways: names of those that are timed.
    """

    def __init__(self, subject: Subject, device: torch.device, ways: Sequence[str] = WAYS) -> None:
        self.model, self.loss_fn, self.x, self.y = subject.build(device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LR)
        self.with_probe = ShiftProbe(self.model, self.loss_fn, layers=subject.layers)
        self._watcher = PassWatcher.of(self.model, self.loss_fn)
        self.gradients()
        self.probe()
        self._layers = self.with_probe.layers
        self._habits: set[object] = set()
        self.ways: dict[str, Callable[[], object]] = {way: getattr(self, way) for way in ways}

    @property
    def cases(self) -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
        """What is done before each way, a plain step and the noting of its pass, and what is timed."""
        ways = {way: (self.gradients, run) for way, run in self.ways.items()}
        note = partial(self._watcher.hold, (self.x,))
        return {"plain": (lambda: None, self.plain), "note": (lambda: None, note), **ways}

    def warm_up(self) -> None:
        """Leave surveys and the kernels' own first times behind."""
        for way in self.ways.values():
            for _ in range(2):
                self.gradients()
                way()

    def plain(self) -> None:
        """A training step that is not measured."""
        with self._watcher.pause():
            self.gradients()
        self.optimizer.step()

    def gradients(self) -> None:
        """Forward and backward pass."""
        self.optimizer.zero_grad()
        self.loss_fn(self.model(self.x), self.y).backward()  # type: ignore[no-untyped-call]

    def probe(self) -> None:
        """The update inside the probe: G' of every layer, their distances and cosines, all as a user has it."""
        with self.with_probe.observe(self.x, self.y):
            self.optimizer.step()

    def origins(self) -> None:
        """The same, and which earlier block moved which layer."""
        with self.with_probe.observe(self.x, self.y, origins=True):
            self.optimizer.step()

    def definition(self) -> None:
        """For every layer a full forward and backward pass of its hybrid network."""
        with self._updated() as passes:
            dict(definition.shifted_gradients(passes.start, passes.loss, self._layers))

    def pruned(self) -> None:
        """For every layer a full forward pass, and a backward pass towards its weight alone."""
        with self._updated() as passes:
            for layer in self._layers:
                passes.start(layer.before)
                torch.autograd.grad(passes.loss(), layer.parameters)

    def replay(self) -> None:
        """Forward passes that skip what lies before the layer."""
        with self._updated() as passes:
            recording = replay.record(passes, self._habits)
            dict(replay.shifted_gradients(passes, recording, self._layers))

    def _updated(self) -> Passes:
        """The training pass, to be run again after the update."""
        training_pass = self._watcher.last_pass()
        self.optimizer.step()
        return Passes(self._watcher, training_pass, self.loss_fn, self.x, self.y)

    def close(self) -> None:
        """Remove all hooks."""
        self.with_probe.close()
        self._watcher.close()
