"""What the penalty is on."""

import pytest
import torch
from torch import nn

from ics.runs.optimizers import OPTIMIZERS


@pytest.mark.parametrize(
    ("decays", "shrunk"), [(None, ["0.weight", "0.bias", "1.weight", "1.bias"]), ("weights", ["0.weight"])]
)
def test_the_penalty_is_on_all_parameters_or_on_weights_alone(decays: str | None, shrunk: list[str]) -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
        nn.init.ones_(p)
    settings = {"name": "sgd", "lr": 0.5, "weight_decay": 0.5, "decays": decays}
    OPTIMIZERS.build(settings, parameters=model.parameters()).step()
    assert [name for name, p in model.named_parameters() if torch.all(p == 0.75)] == shrunk
