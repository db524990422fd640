"""Random networks against the definition, to the bit: widths, kinds of layer, skips, sharing, in-place, dropout."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import compare_with_definition, trainable
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = 4


BLOCKS = st.builds(  # from CHANNELS to CHANNELS
    SimpleNamespace,
    layer=st.sampled_from(["plain", "grouped", "transposed", "two"]),
    norm=st.sampled_from(["none", "batch", "layer", "group", "instance", "frozen batch"]),
    activation=st.sampled_from(["relu", "relu_", "tanh", "none", "function"]),
    skip=st.sampled_from(["none", "add", "add_", "concatenate"]),
    dropout=st.sampled_from([0.0, 0.0, 0.3]),
    wide=st.sampled_from([1, 2]),
    shared_with=st.none() | st.integers(0, 3),
    frozen=st.sampled_from([False, False, False, True]),
)
SPECS = st.builds(
    SimpleNamespace,
    images=st.booleans(),
    blocks=st.lists(BLOCKS, min_size=1, max_size=6),
    optimizer=st.sampled_from(["sgd", "momentum", "adam"]),
    params=st.sampled_from(["weight", "all"]),
    moved=st.sampled_from(["all", "all", "weights"]),
    raw_gain=st.booleans(),
    seed=st.integers(0, 2**16),
)


def make_layer(block: SimpleNamespace, images: bool, width: int) -> nn.Module:
    if not images:
        return nn.Linear(CHANNELS, width, bias=block.layer != "grouped")
    if block.layer == "transposed":
        return nn.ConvTranspose2d(CHANNELS, width, 3, padding=1)
    return nn.Conv2d(CHANNELS, width, 3, padding=1, groups=2 if block.layer == "grouped" else 1)


def make_norm(block: SimpleNamespace, images: bool, width: int) -> nn.Module:
    if block.norm in ("batch", "frozen batch"):
        norm = nn.BatchNorm2d(width) if images else nn.BatchNorm1d(width)
        return norm.eval() if block.norm == "frozen batch" else norm
    if block.norm == "layer":
        return nn.LayerNorm([width, 4, 4] if images else width)
    if block.norm == "instance" and images:
        return nn.InstanceNorm2d(width, affine=True)
    return nn.GroupNorm(2, width) if block.norm == "group" else nn.Identity()


class RandomBlock(nn.Module):
    def __init__(self, block: SimpleNamespace, images: bool) -> None:
        super().__init__()
        width = CHANNELS * block.wide
        self.block = block
        self.layer, self.norm = make_layer(block, images, width), make_norm(block, images, width)
        acts = {"relu": nn.ReLU(), "relu_": nn.ReLU(inplace=True), "tanh": nn.Tanh()}
        self.act = acts.get(block.activation, nn.Identity())
        self.drop = nn.Dropout(block.dropout) if block.layer == "two" else None
        width *= 1 + (block.skip == "concatenate")
        kind = {"kernel_size": 1} if images else {}
        self.down = (
            (nn.Conv2d if images else nn.Linear)(width, CHANNELS, **kind) if width != CHANNELS else nn.Identity()
        )
        if block.frozen:
            self.layer.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.norm(self.layer(x))
        out = F.elu(out) if self.block.activation == "function" else self.act(out)
        if self.block.dropout:
            out = self.drop(out) if self.drop else F.dropout(out, self.block.dropout)
        if self.block.skip == "concatenate":
            out = torch.cat([out, x.repeat_interleave(self.block.wide, 1)], 1)
        out = self.down(out)
        if self.block.skip == "add":
            out = out + x
        elif self.block.skip == "add_" and (self.block.wide > 1 or self.block.activation == "none"):
            out += x
        return out


class RandomNetwork(nn.Module):
    def __init__(self, spec: SimpleNamespace) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, CHANNELS, 3, padding=1) if spec.images else nn.Linear(3, CHANNELS)
        blocks: list[nn.Module] = []
        for block in spec.blocks:
            shared = block.shared_with is not None and block.shared_with < len(blocks)
            blocks.append(blocks[block.shared_with] if shared else RandomBlock(block, spec.images))  # type: ignore[index]
        self.blocks = nn.ModuleList(blocks)
        self.gain = nn.Parameter(torch.full((1,), 1.5)) if spec.raw_gain else None
        self.fc = nn.Linear(CHANNELS, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == 0 and self.gain is not None:
                x = x * self.gain
        return self.fc(x.flatten(2).mean(2) if x.ndim == 4 else x)


def check(spec: SimpleNamespace) -> None:
    torch.manual_seed(spec.seed)
    model = RandomNetwork(spec)
    x = torch.randn(5, 3, 4, 4) if spec.images else torch.randn(6, 3)
    optimizer = {
        "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
        "momentum": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3),
        "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    }[spec.optimizer](trainable(model))
    compare_with_definition(model, x, optimizer.step, params=spec.params, moved=spec.moved)


@settings(max_examples=60)
@given(SPECS)
def test_sixty_random_networks(spec: SimpleNamespace) -> None:
    check(spec)


@pytest.mark.full
@settings(max_examples=400)
@given(SPECS)
def test_four_hundred_random_networks(spec: SimpleNamespace) -> None:
    check(spec)
