"""Habits of modules that make a pass hard to repeat: state everywhere, random numbers, caches, writes in place.

Each is a situation of its own, and all of them meet at random in test_shift_random_behaviours.py.
"""

import random
from array import array
from collections import Counter, deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

WIDTH = 4
CALLS = 0  # counted by one of the situations
everyones = 0.0
memory_of_all: list[Tensor] = []

Habit = Callable[["Block", Tensor], Tensor]


class Block(nn.Module):
    """A linear layer, what a habit makes of its output, and all that habits need.

    Args:
        habit: of `SITUATIONS` or `OTHERS`.
        tape: what this and other blocks leave for the loss.
    """

    seen_by_all: list[float] = []

    def __init__(self, habit: str, tape: list[Tensor]) -> None:
        super().__init__()
        self.layer, self.extra, self.frozen = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.frozen.requires_grad_(False)
        self.norm, self.mean = nn.BatchNorm1d(WIDTH, momentum=0.5), nn.Buffer(torch.zeros(WIDTH))
        self.queue, self.scale = nn.Buffer(torch.ones(1)), nn.Buffer(torch.ones(1))
        self.tree: dict[str, Any] = {"deep": [[]]}
        self.last, self.array, self.names = deque[float](maxlen=2), np.zeros(2), set[int]()
        self.counter, self.bytes, self.numbers = Counter[str](), bytearray(1), array("d", [0.0])
        self.space, self.weak = SimpleNamespace(calls=0), WeakValueDictionary[str, Tensor]()
        self.numpy, self.python = np.random.default_rng(1), random.Random(1)
        self.torch = torch.Generator().manual_seed(1)
        self.habit: Habit = in_closure() if habit == CLOSURE else (SITUATIONS | OTHERS)[habit]
        self.tape, self.calls, self.version, self.active = tape, 0, -1, True
        self.hidden: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        return torch.tanh(self.habit(self, x) if self.active else x)


def forget() -> None:
    """What blocks have left outside of themselves."""
    global everyones
    everyones, Block.seen_by_all = 0.0, []
    memory_of_all.clear()


def both_modes(block: Block, x: Tensor) -> Tensor:
    one = block.norm(x)
    block.norm.eval()
    two = block.norm(1.1 * x)
    block.norm.train()
    return one + two


def hidden(block: Block, x: Tensor) -> Tensor:
    before, block.hidden = block.hidden, x.detach()
    return x if before is None else x + 0.3 * before


def follower(block: Block, x: Tensor) -> Tensor:
    with torch.no_grad():
        block.frozen.weight.lerp_(block.layer.weight, 0.3)
    return x + x @ block.frozen.weight.clone()


def cached(block: Block, x: Tensor) -> Tensor:
    w = block.layer.weight
    if block.version != w._version:
        block.version, block.cache = w._version, w.detach().sin()
    return x @ block.cache


def in_class(block: Block, x: Tensor) -> Tensor:
    Block.seen_by_all = [*Block.seen_by_all[-3:], x.mean().item()]
    return x * (1 + sum(Block.seen_by_all))


def in_globals(block: Block, x: Tensor) -> Tensor:
    global everyones
    everyones = 0.5 * everyones + x.mean().item()
    memory_of_all.append(x.detach())
    return x + everyones + sum(memory_of_all) / len(memory_of_all)


def in_containers(block: Block, x: Tensor) -> Tensor:
    block.tree["deep"][0].append(len(block.tree["deep"][0]))
    block.last.append(x.mean().item())
    block.array += 1
    block.names.add(len(block.names))
    return x * (1 + len(block.tree["deep"][0]) + sum(block.last) + float(block.array.sum()) + len(block.names)) / 9


def in_holders(block: Block, x: Tensor) -> Tensor:
    block.counter["calls"] += 1
    block.bytes[0] += 1
    block.numbers[0] += x.mean().item()
    block.space.calls += 1
    if "memory" not in block.weak:
        block.memory = block.weak["memory"] = block.layer.weight.detach().cos()
    return x * (block.counter["calls"] + block.bytes[0] + block.numbers[0] + block.space.calls) @ block.weak["memory"]


def in_closure() -> Habit:
    scale, first = 1.0, 0.5

    def closure(block: Block, x: Tensor) -> Tensor:
        nonlocal scale, first
        scale = 0.9 * scale + 0.2 * x.max().item()
        if block.version < 0:
            x, block.version = x * first, 0
            del first
        return x * scale

    return closure


def rebound(block: Block, x: Tensor) -> Tensor:
    block.mean = 0.9 * block.mean + 0.1 * x.detach().mean(0)
    block.queue.resize_(len(block.queue) + 1).fill_(0.3)
    block.scale.data = block.scale + 0.1
    return (x - block.mean) * block.scale + block.queue.sum()


def at_random(block: Block, x: Tensor) -> Tensor:
    x = x * (1 + random.random()) + float(np.random.rand()) + block.numpy.random() + block.python.random()
    return F.dropout(torch.tanh(x + torch.randn(WIDTH, generator=block.torch)))


def initialised(block: Block, x: Tensor) -> Tensor:
    if block.version < 0:
        block.version = 0
        block.extra.bias.data.copy_(-x.mean(0))
        block.layer.weight.data = 0.5 * block.layer.weight.data
        block.memory = block.extra.weight.detach().sin()
    return block.extra(x) + x @ block.memory


def attribute(block: Block, x: Tensor) -> Tensor:
    block.calls += 1
    return x / block.calls


def buffer(block: Block, x: Tensor) -> Tensor:
    block.mean.mul_(0.5).add_(x.detach().mean(0))
    return x + block.mean


def behind_autograd(block: Block, x: Tensor) -> Tensor:
    x.data.mul_(1.1)
    return torch.tanh(x)


def on_the_tape(block: Block, x: Tensor) -> Tensor:
    block.tape.append(x.square().mean())
    return x


def force(block: Block, x: Tensor) -> Tensor:
    x = x if x.requires_grad else x.requires_grad_()
    return x + torch.autograd.grad(block.extra(x).sin().sum(), x, create_graph=True)[0]


CLOSURE = "state in the cells of a closure, of which the first pass empties one"
SITUATIONS: dict[str, Habit] = {
    "a batch norm in training and in evaluation within one pass": both_modes,
    "a hidden state carried from pass to pass": hidden,
    "a momentum encoder, whose frozen weights the forward pass moves": follower,
    "a cache of the weights, renewed where their version has changed": cached,
    "state in a class attribute, read by the next pass": in_class,
    "state in globals: a number, and a list of tensors": in_globals,
    "state in nested lists, a deque, an array and a set": in_containers,
    "state in a Counter, a bytearray, an array of Python's, a namespace and a weak dictionary": in_holders,
    CLOSURE: in_closure(),
    "buffers rebound, resized, and rebound through .data": rebound,
    "Python's, NumPy's and torch's random numbers, global and of generators that the model owns": at_random,
    "weights that depend on the first batch, and a memory of them, made once": initialised,
    "layers skipped at random": lambda block, x: x if torch.rand(()) < 0.5 else block.extra(x),
    "activation checkpointing, not reentrant, with dropout": lambda block, x: checkpoint(
        lambda h: F.dropout(block.extra(h)), x, use_reentrant=False
    ),
}
"""Those that docs/promises.md lists, by their names there."""

OTHERS: dict[str, Habit] = {
    "none": lambda block, x: x,
    "attribute": attribute,
    "buffer": buffer,
    "behind autograd": behind_autograd,
    "tape": on_the_tape,
    "in place": lambda block, x: x.mul_(0.9).tanh_(),
    "dropout": lambda block, x: F.dropout(x, 0.3),
    "norm": lambda block, x: block.norm(x),
    "frozen": lambda block, x: block.frozen(x),
    "gradient": force,
}
