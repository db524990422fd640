"""Two processes under DistributedDataParallel against one with the whole batch; compiled models; what is refused."""

import multiprocessing
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from reference import cross_entropy
from test_shift_attach import STEPS, Training, assert_same, loop, plain
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from zoo import chain

from ics import ProbeError, ShiftProbe


def network() -> nn.Module:
    return chain(nn.LayerNorm)  # batch statistics would be each process's own


def train_on_a_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = {}
    for measured in (False, True):
        training = Training(network)
        model = DistributedDataParallel(training.model)
        rows: list[Any] = []
        probe = ShiftProbe(model, cross_entropy)
        if measured:
            probe.attach(training.optimizer, to=rows)
        for x, y in training.batches[:STEPS]:
            training.optimizer.zero_grad()
            part = slice(4 * rank, 4 * rank + 4)
            probe.loss(model(x[part]), y[part]).backward()
            training.optimizer.step()
        found[measured] = [p.detach() for p in training.model.parameters()]
        probe.close()
    same = all(torch.equal(a, b) for a, b in zip(found[False], found[True], strict=True))
    torch.save({"rows": rows, "same": same}, f"{folder}/rank{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_are_as_one_with_the_whole_batch(tmp_path: Path) -> None:
    torch.multiprocessing.start_processes(train_on_a_rank, (str(tmp_path),), nprocs=2, start_method="fork")
    one, two = (torch.load(tmp_path / f"rank{rank}.pt") for rank in (0, 1))
    assert one["same"] and two["same"]
    assert one["rows"] == two["rows"]
    training, rows = Training(network), []
    with ShiftProbe(training.model, cross_entropy) as probe:
        probe.attach(training.optimizer, to=rows)
        training.loss = probe.loss
        plain(training)
    assert len(rows) == len(one["rows"]) == 5 * STEPS
    for row, other in zip(rows, one["rows"], strict=True):
        assert (row["step"], row["layer"]) == (other["step"], other["layer"])
        for name in ("l2", "cosine", "grad_norm", "shifted_grad_norm"):
            assert other[name] == pytest.approx(row[name], rel=1e-4, abs=1e-6), name


def test_a_compiled_model_is_trained_and_the_eager_one_beneath_is_measured() -> None:
    def train(measured: bool) -> tuple[list[Any], Training]:
        torch._dynamo.reset()
        training, rows = Training(), []
        compiled = torch.compile(training.model, backend="aot_eager")
        probe = ShiftProbe(training.model, cross_entropy)
        if measured:
            probe.attach(training.optimizer, every=2, to=rows, calls=compiled)
        training.loss = probe.loss
        loop(training, loss=lambda t, x, y: t.forward(x, y, compiled))
        probe.close()
        return rows, training

    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        rows, training = train(True)
    twin = train(False)[1]
    assert_same(training, twin)
    eager, expected = Training(), []
    with ShiftProbe(eager.model, cross_entropy) as probe:
        probe.attach(eager.optimizer, every=2, to=expected)
        eager.loss = probe.loss
        plain(eager)
    assert len(rows) == len(expected) == 10
    for row, other in zip(rows, expected, strict=True):
        assert row["l2"] == pytest.approx(other["l2"], rel=1e-3, abs=1e-6)
        assert row["cosine"] == pytest.approx(other["cosine"], rel=1e-3, abs=1e-5)


def split_models() -> Iterator[Any]:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
    from torch.distributed.pipelining import SplitPoint, pipeline
    from torch.distributed.tensor.parallel import ColwiseParallel, parallelize_module

    mesh = init_device_mesh("cpu", (1,))
    yield FullyShardedDataParallel(nn.Linear(6, 4), device_id=torch.device("cpu"))
    yield nn.Sequential(FullyShardedDataParallel(nn.Linear(6, 4), device_id=torch.device("cpu")))
    yield fully_shard(nn.Linear(6, 4), mesh=mesh)
    inside = nn.Sequential(nn.Linear(6, 4))
    fully_shard(inside[0], mesh=mesh)
    yield inside
    yield parallelize_module(nn.Sequential(nn.Linear(6, 4)), mesh, {"0": ColwiseParallel()})
    yield pipeline(network(), (torch.randn(8, 6),), split_spec={"3": SplitPoint.BEGINNING})


def refuse_split_models(folder: Path) -> None:
    from torch.distributed.pipelining import PipelineStage

    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=0, world_size=1)
    for model in split_models():
        with pytest.raises(ProbeError, match="split over several devices") as error:
            ShiftProbe(model, cross_entropy)
        assert "\n" not in str(error.value)
    stage: Any = PipelineStage(nn.Linear(6, 4), 0, 1, torch.device("cpu"))
    with pytest.raises(ProbeError, match="must be a torch.nn.Module, not PipelineStage"):
        ShiftProbe(stage, cross_entropy)


def test_models_that_no_process_has_whole_are_refused_in_one_line(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=refuse_split_models, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == 0
