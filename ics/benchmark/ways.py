"""The ways to do a training step, and to compute every measured layer's G' around it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ics.benchmark.subjects import Subject
from ics.shift import ShiftProbe
from ics.shift.hybrids import Hybrids
from ics.shift.state import PassWatcher, SwappedParameters, devices_of, undisturbed

LR = 1e-7  # small enough that no number overflows, however often a step is repeated


class Bench:
    """One network, and the ways to do a step on it. All but `plain` come after `gradients`.

    Args:
        subject: the network.
        device: where it lives.
    """

    def __init__(self, subject: Subject, device: torch.device) -> None:
        self.model, self.loss_fn, self.x, self.y = subject.build(device)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LR)
        self.with_probe = ShiftProbe(self.model, self.loss_fn, layers=subject.layers)
        self._devices = devices_of([self.model])
        self._watcher = PassWatcher.of(self.model, self._devices)
        self.gradients()
        self._hybrids = Hybrids(self.model, self.loss_fn, self.with_probe.layers, self._devices)
        self.ways: dict[str, Callable[[], object]] = {
            "definition": self.definition,
            "pruned": self.pruned,
            "replay": self.replay,
            "probe": self.probe,
        }

    def warm_up(self) -> None:
        """Leave surveys and the kernels' own first times behind."""
        for way in self.ways.values():
            for _ in range(2):
                self.gradients()
                way()

    def plain(self) -> None:
        """A training step without a probe."""
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

    def definition(self) -> None:
        """For every layer a full forward and backward pass of its hybrid network."""
        kept = {p: p.grad for p in self.model.parameters()}
        for _ in self._each_hybrid():
            self.optimizer.zero_grad()
            self.loss_fn(self.model(self.x), self.y).backward()  # type: ignore[no-untyped-call]
        for p, gradient in kept.items():
            p.grad = gradient

    def pruned(self) -> None:
        """For every layer a full forward pass, and a backward pass towards its weight alone."""
        for weights in self._each_hybrid():
            torch.autograd.grad(self.loss_fn(self.model(self.x), self.y), weights)

    def replay(self) -> None:
        """Forward passes that skip what lies before the layer, by `Hybrids.shifted_gradients`."""
        with self._updated() as (start_pass, parameters):
            dict(self._hybrids.shifted_gradients(self.x, self.y, start_pass, parameters))

    @contextmanager
    def _updated(self) -> Iterator[tuple[Callable[[], None], SwappedParameters]]:
        old = {p: p.detach().clone() for p in self.model.parameters()}
        self.optimizer.step()
        assert self._watcher.last is not None
        with undisturbed([self.model], self._watcher.last) as start_pass, SwappedParameters(old) as parameters:
            yield start_pass, parameters

    def _each_hybrid(self) -> Iterator[tuple[nn.Parameter, ...]]:
        """Puts each hybrid network in the model's place; these networks register parameters in order of execution."""
        place = {p: i for i, p in enumerate(self.model.parameters())}
        with self._updated() as (start_pass, parameters):
            for layer in self.with_probe.layers:
                parameters.use_old({p for p in place if place[p] >= place[layer.parameters[0]]})
                start_pass()
                yield layer.parameters

    def close(self) -> None:
        """Remove all hooks."""
        self.with_probe.close()
        self._watcher.close()
