"""Weights of every kind are layers; those that the probe does not know are named, and can be asked for."""

from typing import Any

import pytest
import torch
from reference import compare_with_definition, measured_step
from torch import nn
from zoo import ZOO, Own, Stacked, chain

ENCODER = ["self_attn.in_proj_weight", "self_attn.out_proj", "linear1", "linear2"]
LAYERS: dict[str, list[str]] = {
    "Conv1D": ["0", "2"],
    "experts": ["0", "1.gate_up_proj", "1.down_proj", "2"],
    "attention": [*(f"encoder.{name}" for name in ENCODER), "attend.in_proj_weight", "attend.out_proj", "out"],
    "attention with other keys": [*(f"attend.{name}_proj_weight" for name in "qkv"), "attend.out_proj", "out"],
    "recurrent": ["conv", "lstm.weight_ih_l0", "lstm.weight_hh_l0", "out"],
    "two recurrent layers": [*(f"gru.weight_{kind}h_l{layer}" for layer in (0, 1) for kind in "ih"), "out"],
    "two inputs": ["left", "right", "out", "last"],
    "own": ["fc"],
}


@pytest.mark.parametrize("params", ["weight", "all"])
@pytest.mark.parametrize("name", LAYERS)
def test_every_matrix_is_a_layer_and_all_of_a_module_is_one(name: str, params: str) -> None:
    make_model, make_x = ZOO[name]
    model, names = make_model(), LAYERS[name]
    if params == "all":
        modules = dict(model.named_modules())
        names = list(dict.fromkeys(name if name in modules else name.rpartition(".")[0] for name in names))
    assert [row.layer for row in measured_step(model, make_x(), params=params).rows] == names


class TestChoice:
    def found(self, model: nn.Module | None = None, x: Any = None, **options: Any) -> tuple[list[Any], list[str]]:
        x = torch.randint(0, 9, (4, 5)) if x is None else x
        probe = measured_step(model or Own(), x, **options).probe
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
        inside = [name for _, name in self.found(Stacked(), x, layers=["gru"])[0]]
        assert inside == LAYERS["two recurrent layers"][:4]
        model = nn.Sequential(chain(), nn.ReLU(), nn.Linear(4, 4))
        assert self.found(model, torch.randn(4, 6), layers=["0"])[0] == [(i, f"0.{3 * i - 3}") for i in range(1, 6)]

    def test_kinds(self) -> None:
        assert self.found(kinds=(nn.Embedding, nn.LayerNorm)) == (
            [(1, "words"), (2, "norm")],
            ["mixing", "fc.weight"],
        )
        assert self.found(kinds=[nn.Linear], layers=["words", "fc"])[0] == [(1, "words"), (2, "fc")]


@pytest.mark.parametrize("options", [{"layers": ["mixing", "words", "norm", "norm.bias"]}, {"kinds": [nn.Embedding]}])
def test_layers_on_demand_have_the_definitions_bits(options: dict[str, Any]) -> None:
    compare_with_definition(Own(), torch.randint(0, 9, (4, 5)), **options)
