"""Networks: structure, sizes, initial weights."""

from typing import Any

import pytest
import torch
from measuring import random_states
from torch import nn

from ics.errors import UserError
from ics.nets import INITS, NETS, NORMS, build

SMALL: dict[str, tuple[dict[str, Any], tuple[int, ...], int]] = {
    "vgg": ({"name": "vgg", "depth": 11, "width": 0.125, "head": (16, 24)}, (3, 32, 32), 10),
    "deep_linear": ({"name": "deep_linear", "depth": 5, "width": 8}, (8,), 8),
    "mlp": ({"name": "mlp", "hidden": (16, 8)}, (1, 8, 8), 10),
    "resnet": ({"name": "resnet", "depth": 8, "width": 0.5}, (3, 16, 16), 7),
}


def small(name: str, norm: str = "none", seed: int = 0, **options: Any) -> nn.Module:
    model, shape, outputs = SMALL[name]
    return build({**model, **options}, {"name": norm}, shape, outputs, seed)


def weights(net: nn.Module) -> dict[str, torch.Tensor]:
    """Of the convolutions and linear layers, by name."""
    layers = {name: layer for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)}
    return {
        f"{name}.{part}": value
        for name, layer in layers.items()
        for part, value in layer.named_parameters(recurse=False)
    }


def count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def names(net: nn.Module) -> list[str]:
    return [name for name, _ in net.named_children()]


def test_the_small_networks_are_all_there_is() -> None:
    assert sorted(SMALL) == list(NETS)


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("norm", list(NORMS))
def test_every_network_trains_under_every_norm(name: str, norm: str) -> None:
    _, shape, outputs = SMALL[name]
    net = small(name, norm)
    for training in (True, False):
        x = torch.randn(4, *shape, requires_grad=True)
        net.zero_grad()
        out = net.train(training)(x)
        assert out.shape == (4, outputs)
        out.square().mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in [x, *net.parameters()])


# --- initial weights -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("init", list(INITS))
def test_initial_weights_do_not_depend_on_the_norm(name: str, init: str) -> None:
    expected = weights(small(name, "none", init={"name": init}))
    for norm in NORMS:
        got = weights(small(name, norm, init={"name": init}))
        assert got.keys() == expected.keys()
        assert all(torch.equal(got[key], expected[key]) for key in expected)


@pytest.mark.parametrize("init", list(INITS))
def test_initial_weights_depend_on_the_seed_alone(init: str) -> None:
    torch.manual_seed(1)
    first = weights(small("vgg", init={"name": init}))
    torch.manual_seed(2)
    again = weights(small("vgg", init={"name": init}))
    other = weights(small("vgg", seed=1, init={"name": init}))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not any(torch.equal(first[key], other[key]) for key in first if key.endswith("weight"))


def test_building_leaves_every_random_state_alone() -> None:
    before = random_states()
    for name in SMALL:
        for init in ("glorot_uniform", "pytorch"):
            small(name, "noisy_batch", init={"name": init})
    with pytest.raises(UserError):
        small("deep_linear", width=7)
    assert random_states() == before


def test_initial_weights_are_not_the_process_own_draws_from_the_same_seed() -> None:
    weight = small("mlp", init={"name": "normal", "std": 1.0}).fc1.weight
    torch.manual_seed(0)
    assert not torch.allclose(weight, torch.randn_like(weight))


@pytest.mark.parametrize(
    ("init", "std", "bound"),
    [
        ("glorot_uniform", (2 / 600) ** 0.5, (6 / 600) ** 0.5),
        ("glorot_normal", (2 / 600) ** 0.5, None),
        ("he_uniform", (2 / 200) ** 0.5, (6 / 200) ** 0.5),
        ("he_normal", (2 / 200) ** 0.5, None),
        ("normal", 0.01, None),
        ("pytorch", (1 / 3 / 200) ** 0.5, (1 / 200) ** 0.5),
    ],
)
def test_initialisations_have_their_spread(init: str, std: float, bound: float | None) -> None:
    net = build({"name": "mlp", "hidden": [400], "init": {"name": init}}, {"name": "none"}, (200,), 10, 0)
    weight = net.fc1.weight
    assert weight.mean().abs() < 0.02 * std
    assert weight.std().item() == pytest.approx(std, rel=0.01)
    if bound is None:
        assert weight.abs().max() > 3.5 * std
    else:
        assert 0.99 * bound < weight.abs().max() <= bound
    assert bool(net.fc1.bias.any()) == (init == "pytorch")


def test_linear_layers_and_the_first_layer_may_have_an_init_of_their_own() -> None:
    init = {"name": "he_normal_fan_out", "linear": {"name": "lecun_uniform"}, "first": {"name": "normal", "std": 0.5}}
    net = vgg(width=0.25, head=[512], init=init)
    assert net.conv1.weight.std().item() == pytest.approx(0.5, rel=0.1)
    assert net.conv13.weight.std().item() == pytest.approx((2 / (9 * 128)) ** 0.5, rel=0.02)  # k²·C_out
    assert net.fc1.weight.std().item() == pytest.approx(128**-0.5, rel=0.02)
    assert net.fc1.weight.abs().max().item() <= (3 / 128) ** 0.5
    standard = vgg(width=0.25, head=[512], init={"name": "he_normal_fan_out", "linear": None, "first": None})
    assert standard.fc1.weight.std().item() == pytest.approx((2 / 512) ** 0.5, rel=0.02)


def test_a_network_of_ones_own_obeys_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NETS, "_builders", dict(NETS._builders))

    @NETS.register("prototype")
    def prototype(norm: Any, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        net = nn.Sequential(nn.Linear(2, 2))
        net.register_parameter("centre", nn.Parameter(torch.randn(2)))
        return net

    centres = [build({"name": "prototype"}, {"name": "none"}, (2,), 2, seed).centre for seed in (0, 0, 1)]
    assert torch.equal(centres[0], centres[1]) and not torch.equal(centres[0], centres[2])


# --- VGG -------------------------------------------------------------------------------------------------


def vgg(**options: Any) -> nn.Module:
    norm = options.pop("norm", "none")
    return build({"name": "vgg", **options}, {"name": norm}, (3, 32, 32), 10, 0)


@pytest.mark.parametrize(
    ("depth", "convolutions", "parameters"),  # of torchvision's vgg11…19().features
    [(11, 8, 9_220_480), (13, 10, 9_404_992), (16, 13, 14_714_688), (19, 16, 20_024_384)],
)
def test_vgg_has_the_published_layers(depth: int, convolutions: int, parameters: int) -> None:
    net = vgg(depth=depth, head=())
    assert sum(isinstance(layer, nn.Conv2d) for layer in net) == convolutions
    assert count(net) == parameters + 512 * 10 + 10


def test_vgg16_with_the_original_head_has_the_squared_weight_norm_the_penalty_asks_for() -> None:
    net = vgg(head=(4096, 4096))
    squared = sum(parameter.double().square().sum().item() for parameter in net.parameters())
    assert squared == pytest.approx(8890, rel=0.002)  # facts sheet, section 3


def test_vgg_modules_have_readable_names_in_order() -> None:
    net = vgg(depth=11, width=0.125, norm="batch", head=(32, 16), head_norm="all")
    features = [["conv1", "norm1", "relu1", "pool1"], ["conv2", "norm2", "relu2", "pool2"]]
    for stage, (a, b) in enumerate([(3, 4), (5, 6), (7, 8)], start=3):
        features.append([f"conv{a}", f"norm{a}", f"relu{a}", f"conv{b}", f"norm{b}", f"relu{b}", f"pool{stage}"])
    head = ["fc1", "fc_norm1", "fc_relu1", "fc2", "fc_norm2", "fc_relu2", "classifier"]
    assert names(net) == [*(name for stage in features for name in stage), "flatten", *head]


@pytest.mark.parametrize(
    ("head_norm", "normalised"),
    [("none", []), ("first", ["fc_norm1"]), ("all", ["fc_norm1", "fc_norm2", "fc_norm3"])],
)
def test_vgg_head_norm(head_norm: str, normalised: list[str]) -> None:
    net = vgg(depth=11, width=0.125, norm="batch", head=(8, 8, 8), head_norm=head_norm)
    assert [name for name in names(net) if name.startswith("fc_norm")] == normalised


def test_vgg_width_scales_the_convolutions_but_not_the_head() -> None:
    net = vgg(width=0.25)
    channels = [layer.out_channels for layer in net if isinstance(layer, nn.Conv2d)]
    assert channels == [16] * 2 + [32] * 2 + [64] * 3 + [128] * 6
    assert (net.fc1.in_features, net.fc1.out_features, net.fc2.out_features) == (128, 512, 512)
    assert vgg(width=0.001, head=()).conv13.out_channels == 1


def test_vgg_layers_keep_their_bias_under_a_norm() -> None:
    net = vgg(depth=11, width=0.125, norm="batch", head_norm="all")
    layers = [layer for layer in net if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) == 11 and all(layer.bias is not None for layer in layers)


@pytest.mark.parametrize("name", SMALL)
def test_no_activation_works_in_place(name: str) -> None:
    assert not any(getattr(module, "inplace", False) for module in small(name, "batch").modules())


# --- the others ------------------------------------------------------------------------------------------


def test_deep_linear_is_the_product_of_its_matrices() -> None:
    net = build({"name": "deep_linear"}, {"name": "none"}, (10,), 10, 0)
    assert names(net) == [f"linear{i}" for i in range(1, 26)] and count(net) == 25 * 100
    x = torch.randn(7, 10)
    product = torch.eye(10)
    for layer in net:
        product = layer.weight @ product  # W_k⋯W₁
    torch.testing.assert_close(net(x), x @ product.T)


@pytest.mark.parametrize(("norm_last", "norms"), [(True, 25), (False, 24)])
def test_deep_linear_normalises_every_layer_the_last_if_asked(norm_last: bool, norms: int) -> None:
    net = build({"name": "deep_linear", "norm_last": norm_last}, {"name": "batch"}, (10,), 10, 0)
    assert sum(isinstance(layer, nn.BatchNorm1d) for layer in net) == norms
    assert names(net)[:4] == ["linear1", "norm1", "linear2", "norm2"]


@pytest.mark.parametrize(("activation", "kind"), [("relu", nn.ReLU), ("sigmoid", nn.Sigmoid), ("tanh", nn.Tanh)])
def test_mlp_has_its_layers_and_non_linearity(activation: str, kind: type[nn.Module]) -> None:
    net = build({"name": "mlp", "activation": activation}, {"name": "batch"}, (1, 28, 28), 10, 0)
    hidden = [name for i in (1, 2) for name in (f"fc{i}", f"norm{i}", f"{activation}{i}")]
    assert names(net) == ["flatten", *hidden, "classifier"]
    assert sum(isinstance(layer, kind) for layer in net) == 2
    assert count(net) == 784 * 32 + 32 + 32 * 32 + 32 + 32 * 10 + 10 + 2 * 64


@pytest.mark.parametrize(("depth", "parameters"), [(20, 269_722), (56, 853_018)])
def test_resnet_has_the_published_size(depth: int, parameters: int) -> None:
    net = build({"name": "resnet", "depth": depth}, {"name": "batch"}, (3, 32, 32), 10, 0)
    assert count(net) == parameters  # He et al. 2016, table 6: 0.27 M and 0.85 M
    layers = [layer for layer in net.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) == depth


def test_resnet_shortcut_keeps_every_second_pixel_and_pads_channels() -> None:
    net = build({"name": "resnet", "depth": 8}, {"name": "none"}, (3, 8, 8), 10, 0)
    block = net.stage2.block1
    for parameter in block.branch.parameters():
        nn.init.zeros_(parameter)
    x = torch.rand(2, 16, 8, 8)
    out = block(x)
    assert out.shape == (2, 32, 4, 4)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert not out[:, :8].any() and not out[:, 24:].any()
