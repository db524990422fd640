"""What only an accelerator can show: `pytest -m gpu` where there is one."""

import copy
from pathlib import Path

import pytest
import torch
from reference import measured_step
from small_runs import config, results
from torch import nn

from ics import ShiftProbe, nets
from ics.runs.execute import run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
CUDA = torch.device("cuda")


def test_every_step_agrees_with_the_cpus() -> None:
    """From equal states, since kernels that sum in another order drift apart."""
    on_cpu = nets.build({"name": "mlp", "activation": "tanh"}, {"name": "batch"}, (1, 28, 28), 10, seed=0)
    for _ in range(5):
        x, y = torch.randn(32, 1, 28, 28), torch.randint(0, 10, (32,))
        found = [
            [number for row in measured_step(net, at, of).rows for number in (row.l2, row.cosine, row.grad_norm)]
            for net, at, of in ((copy.deepcopy(on_cpu).to(CUDA), x.to(CUDA), y.to(CUDA)), (on_cpu, x, y))
        ]
        assert found[0] == pytest.approx(found[1], rel=1e-3, abs=1e-5)


def test_deterministic_runs_repeat_to_the_bit(tmp_path: Path) -> None:
    settings = config(device="cuda", deterministic=True)
    for folder in ("one", "other"):
        run(settings, tmp_path / folder)
    assert results(tmp_path / "one") == results(tmp_path / "other")


def test_a_step_that_is_not_measured_does_not_wait_for_the_device() -> None:
    model = nets.build({"name": "mlp"}, {"name": "batch"}, (1, 28, 28), 10, seed=0).to(CUDA)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    x, y = torch.randn(32, 1, 28, 28, device=CUDA), torch.randint(0, 10, (32,), device=CUDA)
    with ShiftProbe(model, nn.functional.cross_entropy) as probe:
        nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
        with probe.observe(x, y):
            optimizer.step()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(3):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x), y).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_first_layers_gradient_does_not_move(norm: str) -> None:
    model = nets.build({"name": "vgg", "depth": 11, "width": 0.1}, {"name": norm}, (3, 32, 32), 10, seed=0).to(CUDA)
    x, y = torch.randn(16, 3, 32, 32, device=CUDA), torch.randint(0, 10, (16,), device=CUDA)
    torch.use_deterministic_algorithms(True)
    try:
        first, *others = measured_step(model, x, y).rows
    finally:
        torch.use_deterministic_algorithms(False)
    assert (first.l2, first.cosine) == (0.0, pytest.approx(1.0, abs=1e-6))
    assert all(row.l2 > 0 for row in others)
