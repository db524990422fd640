"""Weights of every kind are layers, each against the definition; and those that the probe does not know are named."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_shift_probe import compare_with_definition, loss_fn, observe_once, trainable
from torch import Tensor, nn
from zoo import Attention, Recurrent, TwoInputs, chain

from ics import ShiftProbe


class Conv1D(nn.Module):
    """As in transformers: a linear map whose weight stands the other way round."""

    def __init__(self, out: int, features: int) -> None:
        super().__init__()
        self.nf = out
        self.weight, self.bias = nn.Parameter(0.3 * torch.randn(features, out)), nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.weight)


class Experts(nn.Module):
    """As in transformers: the weights of all experts in one tensor each."""

    def __init__(self) -> None:
        super().__init__()
        self.num_experts = 3
        self.gate_up_proj = nn.Parameter(0.3 * torch.randn(3, 6, 8))
        self.down_proj = nn.Parameter(0.3 * torch.randn(3, 8, 6))

    def forward(self, x: Tensor) -> Tensor:
        return (torch.relu(x @ self.gate_up_proj) @ self.down_proj).mean(0)


class Own(nn.Module):
    """A map under a name that nobody can know, an embedding and norms."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.norm, self.fc = nn.Embedding(9, 6), nn.LayerNorm(6), nn.Linear(6, 4)
        self.mixing = nn.Parameter(torch.eye(6) + 0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.tanh(self.norm(self.words(x).mean(1)) @ self.mixing))


MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any], list[str]]] = {
    "Conv1D": (lambda: nn.Sequential(Conv1D(5, 6), nn.GELU(), Conv1D(4, 5)), lambda: torch.randn(7, 6), ["0", "2"]),
    "experts": (
        lambda: nn.Sequential(nn.Linear(6, 6), Experts(), nn.Linear(6, 4)),
        lambda: torch.randn(7, 6),
        ["0", "1.gate_up_proj", "1.down_proj", "2"],
    ),
    "attention": (
        Attention,
        lambda: torch.randint(0, 11, (4, 5)),
        [
            *("encoder.self_attn.in_proj_weight", "encoder.self_attn.out_proj", "encoder.linear1", "encoder.linear2"),
            *("attend.in_proj_weight", "attend.out_proj", "out"),
        ],
    ),
    "attention with other keys": (
        lambda: OtherKeys(),
        lambda: torch.randn(4, 5, 6),
        ["attend.q_proj_weight", "attend.k_proj_weight", "attend.v_proj_weight", "attend.out_proj", "out"],
    ),
    "recurrent": (
        Recurrent,
        lambda: torch.randn(4, 3, 9),
        ["conv", "lstm.weight_ih_l0", "lstm.weight_hh_l0", "out"],
    ),
    "two recurrent layers": (
        lambda: Stacked(),
        lambda: torch.randn(4, 9, 3),
        ["gru.weight_ih_l0", "gru.weight_hh_l0", "gru.weight_ih_l1", "gru.weight_hh_l1", "out"],
    ),
    "bilinear": (
        TwoInputs,
        lambda: (torch.randn(6, 5), torch.randn(6, 3)),
        ["left", "right", "out", "last"],
    ),
    "own": (Own, lambda: torch.randint(0, 9, (4, 5)), ["fc"]),
}


class OtherKeys(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend, self.out = nn.MultiheadAttention(6, 2, kdim=3, vdim=3, batch_first=True), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.attend(x, x[..., :3], x[..., 3:])[0].mean(1))


class Stacked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(3, 5, num_layers=2, batch_first=True), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.gru(x)[0][:, -1])


def optimizer(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(trainable(model), lr=0.1)


@pytest.mark.parametrize("params", ["weight", "all"])
@pytest.mark.parametrize("name", MODELS)
def test_every_kind_has_the_definitions_bits(name: str, params: str) -> None:
    make_model, make_x, names = MODELS[name]
    model, x = make_model(), make_x()
    compare_with_definition(model, x, optimizer(model), params)
    rows = observe_once(
        make_model(), x, torch.randint(0, 4, (len(x if isinstance(x, Tensor) else x[0]),)), params=params
    )
    if params == "weight":
        assert [row.layer for row in rows] == names
    else:
        modules = dict(model.named_modules())
        assert [row.layer for row in rows] == list(
            dict.fromkeys(name if name in modules else name.rpartition(".")[0] for name in names)
        )


class TestChoice:
    def found(self, model: nn.Module | None = None, x: Any = None, **options: Any) -> tuple[list[Any], list[str]]:
        model, x = model or Own(), torch.randint(0, 9, (4, 5)) if x is None else x
        y = torch.randint(0, 4, (len(x),))
        with ShiftProbe(model, loss_fn, **options) as probe:
            loss_fn(model(x), y).backward()
            with probe.observe(x, y):
                optimizer(model).step()
            return [(layer.index, layer.name) for layer in probe.layers], probe.unmeasured

    def test_what_is_not_known_is_named(self) -> None:
        assert self.found() == ([(1, "fc")], ["mixing", "words.weight"])

    def test_names_of_modules_and_parameters_of_any_kind(self) -> None:
        assert self.found(layers=["mixing", "words", "norm.weight", "fc"]) == (
            [(1, "words"), (2, "norm"), (3, "mixing"), (4, "fc")],
            [],
        )
        assert self.found(layers=["fc.bias", "fc.weight"]) == ([(1, "fc"), (2, "fc.bias")], ["mixing", "words.weight"])

    def test_a_module_is_all_layers_inside(self) -> None:
        x = torch.randn(4, 9, 3)
        assert [name for _, name in self.found(Stacked(), x, layers=["gru"])[0]] == MODELS["two recurrent layers"][2][
            :4
        ]
        model = nn.Sequential(chain(), nn.ReLU(), nn.Linear(4, 4))
        assert self.found(model, torch.randn(4, 6), layers=["0"])[0] == [(i, f"0.{3 * i - 3}") for i in range(1, 6)]

    def test_kinds(self) -> None:
        assert self.found(kinds=(nn.Embedding, nn.LayerNorm)) == (
            [(1, "words"), (2, "norm")],
            ["mixing", "fc.weight"],
        )
        assert self.found(kinds=[nn.Linear], layers=["words", "fc"])[0] == [(1, "words"), (2, "fc")]


@pytest.mark.parametrize("options", [{"layers": ["mixing", "words", "norm", "norm.bias"]}, {"kinds": [nn.Embedding]}])
def test_layers_on_demand_have_the_definitions_bits(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import test_shift_probe

    monkeypatch.setattr(
        test_shift_probe, "ShiftProbe", lambda model, loss, params: ShiftProbe(model, loss, params=params, **options)
    )
    model = Own()
    compare_with_definition(model, torch.randint(0, 9, (4, 5)), optimizer(model))
