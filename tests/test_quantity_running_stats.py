"""Running statistics, and answers by them and by batches of any size, against naive re-implementations."""

import copy
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from measuring import measured
from torch import Tensor, nn
from torch.nn import functional as F

import ics
from ics.errors import UserError
from ics.nets import build
from ics.quantities import QUANTITIES, Step
from ics.shift import ProbeError

COUNTS = ("mean_mean", "mean_std", "var_mean", "var_std")


@pytest.fixture
def _double() -> Iterator[None]:
    """So that no sample changes its class where a kernel sums in another order."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def network(norm: str = "batch", **options: Any) -> nn.Module:
    return build({"name": "mlp", "hidden": (6, 5)}, {"name": norm, **options}, (1, 4, 4), 3, seed=1)


def convolutional() -> nn.Module:
    return build({"name": "resnet", "depth": 8, "width": 0.25}, {"name": "batch"}, (1, 8, 8), 3, seed=1)


def batches(n: int, shape: tuple[int, ...] = (24, 1, 4, 4)) -> list[tuple[Tensor, Tensor]]:
    return [(3 + 2 * torch.randn(shape), torch.randint(3, shape[:1])) for _ in range(n)]


def train(
    model: nn.Module, data: list[tuple[Tensor, Tensor]], quantity: str, **options: Any
) -> Iterator[tuple[nn.Module, list[dict[str, Any]]]]:
    """Plain training, every step measured: a copy of the model before the step, and its rows."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    for number, (x, y) in enumerate(data):
        before = copy.deepcopy(model)
        yield (
            before,
            measured(quantity, model, x, y, update=lambda model: optimizer.step(), number=number, lr=0.3, **options),
        )


# --- the vector ------------------------------------------------------------------------------------------------------


def test_vector_is_mean_and_unbiased_deviation_per_layer() -> None:
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ModuleDict({"deep": nn.BatchNorm1d(2)}))
    model[1].running_mean.copy_(torch.tensor([1.0, 2.0, 6.0]))
    model[1].running_var.copy_(torch.tensor([1.0, 1.0, 4.0]))
    model[2]["deep"].running_mean.copy_(torch.tensor([-1.0, 1.0]))
    vector = ics.running_stats_vector(model)
    expected = [3, 7**0.5, 2, 3**0.5, 0, 2**0.5, 1, 0]  # ((−2)² + (−1)² + 3²)/2 = 7;  (1 + 1 + 4)/2 = 3
    torch.testing.assert_close(vector, torch.tensor(expected, dtype=torch.float64))


def test_vector_of_one_channel_has_no_deviation() -> None:
    vector = ics.running_stats_vector(nn.BatchNorm1d(1))
    np.testing.assert_array_equal(vector.numpy(), [0, math.nan, 1, math.nan])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (nn.Linear(2, 2), "no batch normalisation"),
        (nn.Sequential(nn.BatchNorm1d(2, track_running_stats=False)), "'0' keeps no running statistics"),
        (nn.BatchNorm1d(2, track_running_stats=False), "the batch normalisation keeps no running statistics"),
        (nn.Sequential(nn.LazyBatchNorm1d()), "'0' does not know its size yet"),
    ],
)
def test_vector_says_why_there_is_none(model: nn.Module, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ics.running_stats_vector(model)


# --- the table -------------------------------------------------------------------------------------------------------


def inputs_of_norms(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """By names and by hand: what each batch normalisation is given."""
    model = copy.deepcopy(model).double()
    found: dict[str, Tensor] = {}
    for name, module in model.named_modules():
        if "norm" in name:
            module.register_forward_hook(lambda _, args, __, name=name: found.update({name: args[0].detach()}))
    model(x.double())
    return found


@pytest.mark.parametrize("norm", ["batch", "batch_by_hand"])
@pytest.mark.parametrize("make", [network, convolutional])
def test_table_against_a_naive_count(make: Any, norm: str) -> None:
    model = make() if make is convolutional else make(norm)
    shape = (16, 1, 8, 8) if make is convolutional else (24, 1, 4, 4)
    data = batches(4, shape)
    for (x, _), (before, rows) in zip(data, train(model, data, "running_stats"), strict=True):
        given = inputs_of_norms(before, x)
        before(x)  # the running statistics hold the batch
        assert [row["layer"] for row in rows] == [name for name in given if name in dict(before.named_modules())]
        for row in rows:
            layer = before.get_submodule(row["layer"])
            values = given[row["layer"]].movedim(1, 0).flatten(1).numpy()  # (C, m)
            own = (values.mean(1), values.var(1, ddof=1))
            running = (layer.running_mean.double().numpy(), layer.running_var.double().numpy())
            for kind, statistics in (("running", running), ("batch", own)):
                counts = [f(s) for s in statistics for f in (np.mean, lambda s: np.std(s, ddof=1))]
                assert [row[f"{kind}_{name}"] for name in COUNTS] == pytest.approx(counts, rel=1e-4, abs=1e-5)
            distances = [np.sqrt(np.mean((a - b) ** 2)) for a, b in zip(running, own, strict=True)]
            assert [row["mean_distance"], row["var_distance"]] == pytest.approx(distances, rel=1e-4)


def test_momentum_one_keeps_the_last_batch_only() -> None:
    (*_, (_, rows)) = train(network(momentum=1.0), batches(3), "running_stats")
    for row in rows:
        assert row["mean_distance"] < 1e-5 * row["running_mean_std"]
        assert row["var_distance"] < 1e-4 * row["running_var_mean"]


def test_a_layer_that_the_pass_does_not_use_has_no_batch() -> None:
    class Idle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.idle, self.fc = nn.BatchNorm1d(16), nn.BatchNorm1d(2), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.used(x.flatten(1)))

    (_, (used, idle)), *_ = train(Idle(), batches(1), "running_stats")
    assert math.isnan(idle["batch_mean_mean"])
    assert math.isnan(idle["var_distance"])
    assert idle["running_var_mean"] == 1
    assert used["mean_distance"] > 0


@pytest.mark.parametrize("quantity", ["running_stats", "train_eval_gap"])
def test_no_rows_without_batch_normalisation(quantity: str) -> None:
    assert [rows for _, rows in train(network("none"), batches(1), quantity)] == [[]]


# --- the gap ---------------------------------------------------------------------------------------------------------


def naive_gap(model: nn.Module, x: Tensor, y: Tensor, size: int | None) -> tuple[float, float]:
    """The model as PyTorch evaluates it (None), or trains it piece by piece."""
    model = copy.deepcopy(model).train(size is not None)
    with torch.no_grad():
        outputs = torch.cat([model(piece) for piece in x.split(size or len(x))])
    return float(F.cross_entropy(outputs, y)), float((outputs.argmax(1) == y).double().mean())


@pytest.mark.usefixtures("_double")
@pytest.mark.parametrize("make", [network, convolutional])
@pytest.mark.parametrize("momentum", [0.1, 1.0])
def test_gap_against_pytorchs_modes(make: Any, momentum: float) -> None:
    model = make()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = momentum
            nn.init.normal_(module.weight, mean=1)
            nn.init.normal_(module.bias)
    data = batches(4, (16, 1, 8, 8) if make is convolutional else (16, 1, 4, 4))
    steps = train(model, data, "train_eval_gap", batch_sizes=[2, 4, 16, 32])
    for (x, y), (before, rows) in zip(data, steps, strict=True):
        found = {(row["statistics"], row["batch_size"]): (row["loss"], row["accuracy"]) for row in rows}
        assert list(found) == [("running", 16), ("batch", 2), ("batch", 4), ("batch", 16)]
        for (_, size), numbers in list(found.items())[1:]:
            assert numbers == pytest.approx(naive_gap(before, x, y, size), rel=2e-4)
        # Evaluation mode as it is before the pass, which the batch has not entered.
        assert found["running", 16] == pytest.approx(naive_gap(before, x, y, None), rel=2e-4)
        assert found["batch", 16][0] == pytest.approx(F.cross_entropy(before(x), y).item(), rel=1e-5)


@pytest.mark.usefixtures("_double")
def test_a_single_sample_after_a_linear_map_leaves_only_beta() -> None:
    model = network()
    nn.init.normal_(model.norm2.bias)
    data = batches(1, (300, 1, 4, 4))
    constant = model.classifier(model.norm2.bias.relu()).detach().expand(300, -1)
    ((_, found),) = train(model, data, "train_eval_gap", batch_sizes=[1])
    rows = {row["batch_size"]: row for row in found}
    y = data[0][1]
    assert rows[1]["loss"] == pytest.approx(float(F.cross_entropy(constant, y)), rel=1e-4)
    assert rows[1]["accuracy"] == pytest.approx(float((constant.argmax(1) == y).double().mean()), rel=1e-4)


@pytest.mark.usefixtures("_double")
def test_incomplete_pieces_are_left_out() -> None:
    model, ((x, y),) = network(), batches(1, (10, 1, 4, 4))
    ((before, rows),) = train(model, [(x, y)], "train_eval_gap", batch_sizes=[4])
    assert rows[1]["loss"] == pytest.approx(naive_gap(before, x[:8], y[:8], 4)[0], rel=1e-4)


def test_gap_needs_a_training_pass() -> None:
    quantity = QUANTITIES.build({"name": "train_eval_gap"}, model=network(), loss_fn=F.cross_entropy)
    ((x, y),) = batches(1)
    with pytest.raises(ProbeError, match="no forward pass"), quantity.observe(Step(0, x, y, 0.0, 0.1, lambda: x)):
        pass
