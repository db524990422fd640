"""Networks made to be awkward: each breaks a simpler way of replaying a forward pass."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint


class Residual(nn.Module):
    """`out += identity` spoils a remembered tensor; in-place ReLUs spoil their inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    "conv1": nn.Conv2d(6, 6, 3, padding=1, bias=False),
                    "norm1": nn.BatchNorm2d(6),
                    "conv2": nn.Conv2d(6, 6, 3, padding=1, bias=False),
                    "norm2": nn.BatchNorm2d(6),
                }
            )
            for _ in range(2)
        )
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        for block in self.blocks:
            identity = x
            out = self.relu(block["norm1"](block["conv1"](x)))
            out = block["norm2"](block["conv2"](out))
            out += identity
            x = self.relu(out)
        return self.fc(x.mean((2, 3)))


class IgnoredReturn(nn.Module):
    """An in-place call whose return value nobody takes, and an alias that is changed in place."""

    class Double(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.mul_(2)

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 4)
        self.act, self.same = self.Double(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x)
        self.act(x)
        y = self.same(x)
        y *= 1.5
        return self.c(self.b(x) + y)


class Branches(nn.Module):
    """Branches, concatenation, and modules that return tuples and dicts."""

    class Split(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(6, 8)

        def forward(self, x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            left, right = self.fc(x).chunk(2, dim=1)
            return left, {"right": right}

    def __init__(self) -> None:
        super().__init__()
        self.split = self.Split()
        self.left, self.right = nn.Linear(4, 3), nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3), nn.GELU())
        self.out = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        left, rest = self.split(x)
        return self.out(torch.cat([self.left(left), self.right(rest["right"])], dim=1))


class Noisy(nn.Module):
    """Module dropout, functional dropout between modules, and noise of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.drop = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 4), nn.Dropout(0.3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(self.drop(self.a(x)), 0.2)
        x = self.b(x) + 0.1 * torch.randn(len(x), 8)
        return self.c(F.dropout(x, 0.2))


class Attention(nn.Module):
    """Embeddings and raw parameters before the layers; attention uses its output layer without calling it."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(11, 8), nn.Parameter(torch.randn(5, 8))
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.gain = nn.Parameter(torch.ones(8))
        self.attend = nn.MultiheadAttention(8, 2, kdim=8, vdim=8, batch_first=True, add_bias_kv=True)
        self.out = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = self.encoder(self.words(x) + self.places)
        h = h + self.attend(h, h, h)[0]
        return self.out((h * self.gain).mean(1))


class Tied(nn.Module):
    """One weight in two modules, and a weight used through a function."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.out = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 4)
        self.c.weight = self.a.weight

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(F.linear(self.a(x), self.b.weight, self.b.bias))
        return self.out(torch.tanh(self.c(x)))


class Recurrent(nn.Module):
    """A recurrent module, whose many weights are used at once, and a convolution over time."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.lstm, self.out = nn.Conv1d(3, 5, 3), nn.LSTM(5, 6, batch_first=True), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(self.conv(x).transpose(1, 2))[0][:, -1])


class Parametrized(nn.Module):
    """Weights made of other tensors; spectral norm reads and writes buffers at every call, twice per pass."""

    def __init__(self) -> None:
        super().__init__()
        self.a = weight_norm(nn.Linear(5, 5))
        self.b = spectral_norm(nn.Linear(5, 5))
        self.c = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.b(torch.tanh(self.a(x))))
        return self.c(torch.tanh(self.b(x)))


class TwoInputs(nn.Module):
    """Takes its batch in two parts."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.out = nn.Linear(5, 4), nn.Linear(3, 4), nn.Bilinear(4, 4, 4)
        self.last = nn.Linear(4, 4)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.last(self.out(torch.tanh(self.left(a)), torch.tanh(self.right(b))))


class Checkpointed(nn.Module):
    """Activation checkpointing calls modules again during the backward pass."""

    def __init__(self, reentrant: bool = False) -> None:
        super().__init__()
        self.a, self.b, self.c, self.reentrant = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 4), reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.a(x))
        return self.c(checkpoint(lambda h: torch.relu(self.b(h)), x, use_reentrant=self.reentrant))


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


class OtherKeys(nn.Module):
    """Attention whose keys and values have other sizes, so that each has a weight of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.attend, self.out = nn.MultiheadAttention(6, 2, kdim=3, vdim=3, batch_first=True), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.attend(x, x[..., :3], x[..., 3:])[0].mean(1))


class Stacked(nn.Module):
    """Two recurrent layers in one module."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(3, 5, num_layers=2, batch_first=True), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.gru(x)[0][:, -1])


def chain(norm: type[nn.Module] | None = nn.BatchNorm1d) -> nn.Module:
    """A plain chain."""
    layers: list[nn.Module] = []
    for _ in range(4):
        layers += [nn.Linear(6, 6), *([norm(6)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(6, 4))


def images() -> Tensor:
    return torch.randn(4, 3, 8, 8)


def vectors(n: int = 5) -> Callable[[], Tensor]:
    return lambda: torch.randn(7, n)


ZOO: dict[str, tuple[Callable[[], nn.Module], Callable[[], Any]]] = {
    "chain": (chain, vectors(6)),
    "evaluation mode": (lambda: chain().eval(), vectors(6)),
    "chain without norm": (lambda: chain(None), vectors(6)),
    "residual": (Residual, images),
    "ignored return value": (IgnoredReturn, vectors()),
    "branches": (Branches, vectors(6)),
    "dropout": (Noisy, vectors(6)),
    "attention": (Attention, lambda: torch.randint(0, 11, (4, 5))),
    "tied": (Tied, vectors()),
    "recurrent": (Recurrent, lambda: torch.randn(4, 3, 9)),
    "parametrized": (Parametrized, vectors()),
    "two inputs": (TwoInputs, lambda: (torch.randn(6, 5), torch.randn(6, 3))),
    "inputs by name": (TwoInputs, lambda: {"b": torch.randn(6, 3), "a": torch.randn(6, 5)}),
    "checkpointed": (Checkpointed, vectors(6)),
    "Conv1D": (lambda: nn.Sequential(Conv1D(5, 6), nn.GELU(), Conv1D(4, 5)), vectors(6)),
    "experts": (lambda: nn.Sequential(nn.Linear(6, 6), Experts(), nn.Linear(6, 4)), vectors(6)),
    "attention with other keys": (OtherKeys, lambda: torch.randn(4, 5, 6)),
    "two recurrent layers": (Stacked, lambda: torch.randn(4, 9, 3)),
    "own": (Own, lambda: torch.randint(0, 9, (4, 5))),
    "a layer alone": (lambda: nn.Linear(5, 4), vectors()),
    "float64": (lambda: chain().double(), lambda: torch.randn(7, 6, dtype=torch.float64)),
}
