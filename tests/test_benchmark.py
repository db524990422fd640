"""The benchmark: its limit in closed form, its ways on tiny networks, its table and figure."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks import networks, table
from benchmarks.figure import draw, to_markdown
from benchmarks.limit import counted_limit, counted_origins
from benchmarks.timing import medians
from benchmarks.ways import Bench
from ics.shift.layers import Layer

CPU = torch.device("cpu")
TINY = networks.Subject("tiny", {"name": "deep_linear", "depth": 3, "width": 10}, "none", (10,), 8)


@pytest.mark.parametrize("k", [1, 2, 5, 9])
def test_the_limits_of_equal_layers(k: int) -> None:
    """k layers of f operations; all over the plain step's f (3k − 1).

    Of the shift, f (k + Σ_i (2(k − i) + 2)). Of its origins, in f: passes k² in all, columns, a pass to differentiate,
    products with the Hessian.
    """
    model = nn.Sequential(*[nn.Linear(4, 4, bias=False) for _ in range(k)])
    layers = [Layer(i + 1, str(i), (layer.weight,), frozenset()) for i, layer in enumerate(model)]  # type: ignore[arg-type]
    shift = k + sum(2 * (k - i) + 2 for i in range(1, k + 1))
    assert counted_limit(model, layers, torch.randn(6, 4)) == pytest.approx(shift / (3 * k - 1))
    columns = sum(1 + 2 * (k - j) + (k - j - 1) for j in range(1, k))
    origins = k * k + columns + (3 * k - 1) + 4 * sum(range(k))
    assert counted_origins(model, layers, torch.randn(6, 4)) == pytest.approx(origins / (3 * k - 1))


def test_the_limit_weighs_layers_by_their_size() -> None:
    model = nn.Sequential(nn.Linear(2, 10, bias=False), nn.ReLU(), nn.Linear(10, 3, bias=False))
    layers = [Layer(2, "2", tuple(model[2].parameters()), frozenset())]
    # f = (20, 30) per sample: plain 3·50 − 20; new pass 50, then 30 forward and 30 for the weight
    assert counted_limit(model, layers, torch.randn(5, 2)) == pytest.approx((50 + 30 + 30) / 130)


def test_every_way_runs_and_leaves_the_step_alone() -> None:
    bench = Bench(TINY, CPU)
    assert list(bench.ways) == ["definition", "pruned", "replay", "probe"]
    gradients = [p.grad.clone() for p in bench.model.parameters() if p.grad is not None]
    for way in bench.ways.values():
        before = [p.detach().clone() for p in bench.model.parameters()]
        bench.gradients()
        way()
        for p, old, g in zip(bench.model.parameters(), before, gradients, strict=True):
            assert p.grad is not None
            assert torch.allclose(p.grad, g, rtol=0.01, atol=0.01)  # the rate is tiny: the gradients hardly move
            assert not torch.equal(p, old)


def test_medians_leave_the_first_round_out(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0, 100, 0, 1, 0, 3, 0, 2])
    monkeypatch.setattr("benchmarks.timing.time.perf_counter", lambda: float(next(clock)))
    assert medians({"only": (lambda: None, lambda: None)}, 3, CPU) == {"only": 2.0}


def test_the_table_and_the_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chain = networks.replace(TINY, name="deep linear")
    groups = {
        "networks": table._ways([TINY], memory=True),
        "batch": table._ways([TINY, TINY.of(batch=16)]),
        "depth": table._ways([chain]),
        "width": table._ways([chain]),
        "origins": table._origins([TINY]),
    }
    monkeypatch.setattr(table, "GROUPS", groups)
    monkeypatch.setattr(table, "peak_memory", lambda subject, way, device: 2**20 * len(way))
    path = tmp_path / "cpu.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table.TABLE.header)
        found: list[dict[str, Any]] = []
        for group in groups:
            for row in table.rows(group, 1, CPU):
                found.append({"case": len(found), **row})
                writer.writerow(table.TABLE.format(found[-1]))
    assert len(found) == 5 * 4 + 1
    assert {row["extra_mib"] for row in found if row["group"] == "networks"} == {5.0, 1.0, 0.0}
    text = to_markdown(path)
    assert "| networks | tiny | 8 | 3 | 10 | 1 |" in text
    assert "| network | origins | limit | extra MiB |" in text
    assert [file.stat().st_size > 1000 for file in draw(path, tmp_path / "cpu")] == [True, True]


def test_the_committed_table_is_that_of_the_committed_numbers() -> None:
    path = Path(__file__).parents[1] / "results" / "benchmark" / "cpu.csv"
    assert path.with_suffix(".md").read_text(encoding="utf-8") == to_markdown(path)
