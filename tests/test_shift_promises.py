"""What is promised on any model: the definition's bits, and a training as if nothing had been measured; or an error."""

import copy
import itertools
import pickle
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from rebuilt import STEPS, check, frozen, hooks
from reference import cross_entropy
from situations import PAGE, SITUATIONS, table
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from ics import ProbeError, ShiftProbe
from ics.shift.state import TensorPlace


@pytest.mark.parametrize("name", SITUATIONS)
@pytest.mark.filterwarnings("ignore:Complex modules:UserWarning")
def test_a_situation(name: str) -> None:
    build, expected = SITUATIONS[name]
    outcome = check(build, may_refuse=range(STEPS))
    assert "\n" not in outcome
    assert outcome.startswith(expected) if expected.startswith("refused: ") else outcome == expected, outcome


def test_the_page_has_a_line_for_every_situation() -> None:
    assert f"<!-- situations -->\n\n{table()}\n\n<!-- /situations -->" in PAGE.read_text(encoding="utf-8")


def held(model: nn.Module) -> Any:
    return frozen([model, torch.get_rng_state()], {})


@pytest.mark.parametrize("call", [0, *range(2, 10), 14, None])
def test_an_interrupt_leaves_nothing_behind_and_measuring_goes_on(call: int | None) -> None:
    """By a call of the model (even numbers), of the loss (odd), or in the block, where the update is (None)."""
    calls = itertools.count()  # an iterator, since other state is put back in every pass

    def interrupt() -> None:
        raise KeyboardInterrupt

    class Interrupted(nn.Tanh):
        def forward(self, x: Tensor) -> Tensor:
            if next(calls) == call:
                interrupt()
            return super().forward(x)

    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), Interrupted(), nn.Dropout(), nn.Linear(4, 3))
    original, optimizer = copy.deepcopy(model), torch.optim.SGD(model.parameters(), lr=0.1)
    x, y, in_loss = torch.randn(6, 4), torch.randint(0, 3, (6,)), Interrupted()

    def loss_fn(out: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(in_loss(out), y)

    with ShiftProbe(model, loss_fn) as probe:
        with suppress(KeyboardInterrupt):
            loss_fn(model(x), y).backward()
        state = held(model)
        update = interrupt if call is None else list
        with pytest.raises(ProbeError if call == 0 else KeyboardInterrupt), probe.observe(x, y):
            update()
        assert held(model) == state
        assert not _get_current_function_mode_stack() and not _get_current_dispatch_mode_stack()
        assert not any("forward" in vars(module) for module in model.modules())
        optimizer.zero_grad()
        loss_fn(model(x), y).backward()
        with probe.observe(x, y) as shift:
            optimizer.step()
        assert [(row.layer, row.l2 > 0) for row in shift.rows] == [("0", False), ("4", True)]
    assert hooks(model) == hooks(original)


@pytest.mark.parametrize("measured", [False, True])
def test_a_watched_model_is_copied_and_saved_as_if_it_were_not_watched(measured: bool, tmp_path: Path) -> None:
    class Trainer:
        def __init__(self) -> None:
            self.lock = threading.Lock()

        def loss(self, out: Tensor, y: Tensor) -> Tensor:
            return cross_entropy(out, y)

    model, x, y = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)), torch.randn(6, 4), torch.randint(0, 3, (6,))
    with ShiftProbe(model, loss := Trainer().loss) as probe:
        if measured:
            loss(model(x), y).backward()
            with probe.observe(x, y):
                pass
        copies: list[Any] = [copy.deepcopy(model), pickle.loads(pickle.dumps(model))]
        torch.save(model, tmp_path / "model.pt")
    for other in copies:
        assert torch.equal(other(x), model(x))
    load = "torch.load('model.pt', weights_only=False)(torch.ones(1, 4))"
    code = f"import sys, torch; sys.modules['ics'] = None; {load}"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_a_copy_of_a_watched_model_has_a_probe_of_its_own() -> None:
    model, x, y = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)), torch.randn(6, 4), torch.randint(0, 3, (6,))
    with ShiftProbe(model, cross_entropy) as probe:
        other = copy.deepcopy(model)
        with ShiftProbe(other, cross_entropy) as second:
            cross_entropy(other(x), y).backward()
            with second.observe(x, y) as shift:
                pass
            assert [row.l2 for row in shift.rows] == [0, 0]
            with pytest.raises(ProbeError, match="no forward pass"), probe.observe(x, y):
                pass


@pytest.mark.parametrize("call", range(0, 14, 2))
def test_an_interrupt_while_things_are_put_back(call: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(), nn.Linear(4, 3))
    optimizer, calls, put = torch.optim.SGD(model.parameters(), lr=0.1), itertools.count(), TensorPlace.put
    x, y = torch.randn(6, 4), torch.randint(0, 3, (6,))
    cross_entropy(model(x), y).backward()
    after: list[Any] = []

    def interrupted(place: TensorPlace, value: Any) -> None:
        if next(calls) == call:
            raise KeyboardInterrupt
        put(place, value)

    with ShiftProbe(model, cross_entropy) as probe:
        cross_entropy(model(x), y)
        model.zero_grad()
        cross_entropy(model(x), y).backward()
        monkeypatch.setattr(TensorPlace, "put", interrupted)
        with suppress(KeyboardInterrupt), probe.observe(x, y):
            optimizer.step()
            after.append(held(model))
    assert next(calls) > call
    assert held(model) == after[0]


def test_other_threads_are_left_alone() -> None:
    """What they do while a pass is measured is not undone, nor are they taken for the model's own."""

    class Shared:
        """Filled by a thread whenever it is asked, which draws from NumPy's generator and trains a model of its own."""

        def __init__(self) -> None:
            self.go, self.done, self.stop = threading.Event(), threading.Event(), False
            self.items: list[float] = []
            weight = nn.Parameter(torch.zeros(1))
            self.optimizer = torch.optim.SGD([weight], lr=1.0)
            self.thread = threading.Thread(target=self.fill)
            self.thread.start()

        def fill(self) -> None:
            while self.go.wait() and not self.stop:
                self.go.clear()
                self.items.append(numpy.random.rand())
                self.optimizer.step()
                self.done.set()

    shared = Shared()

    def loss_fn(out: Tensor, y: Tensor) -> Tensor:
        shared.done.clear()
        shared.go.set()
        shared.done.wait(20)  # no assertion here, whose globals pytest makes its own
        return cross_entropy(out, y)

    try:
        model, x, y = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3)), torch.randn(6, 4), torch.randint(0, 3, (6,))
        with ShiftProbe(model, loss_fn) as probe:
            loss_fn(model(x), y).backward()
            with probe.observe(x, y) as shift:
                pass
        assert len(shift.rows) == 2
        assert shared.thread.is_alive()
        assert len(set(shared.items)) == len(shared.items) > 3
    finally:
        shared.stop = True
        shared.go.set()
        shared.thread.join()
