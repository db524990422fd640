"""Random modules with habits, against the definition to the bit: state everywhere, hooks, branches, in-place writes."""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rebuilt import Training, check, cross_entropy
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

WIDTH = 4
everyones = 0.0


def attribute(block: "Block", x: Tensor) -> Tensor:
    block.calls += 1
    return x / block.calls


def buffer(block: "Block", x: Tensor) -> Tensor:
    block.mean.mul_(0.5).add_(x.detach().mean(0))
    return x + block.mean


def rebound(block: "Block", x: Tensor) -> Tensor:
    block.mean = block.mean + x.detach().mean(0)
    return x - block.mean


def in_global(block: "Block", x: Tensor) -> Tensor:
    global everyones
    everyones = 0.5 * everyones + x.mean().item()
    return x + everyones


def in_class(block: "Block", x: Tensor) -> Tensor:
    Block.seen_by_all = [*Block.seen_by_all[-3:], x.mean().item()]
    return x * (1 + sum(Block.seen_by_all))


def hidden(block: "Block", x: Tensor) -> Tensor:
    block.memory.append(x.detach())
    return x + 0.3 * block.memory[-2] if len(block.memory) > 1 else x


def follower(block: "Block", x: Tensor) -> Tensor:
    with torch.no_grad():
        block.frozen.weight.lerp_(block.layer.weight, 0.3)
    return x + x @ block.frozen.weight.clone()


def cached(block: "Block", x: Tensor) -> Tensor:
    w = block.layer.weight
    if block.version != w._version:
        block.version, block.cache = w._version, w.detach().sin()
    return x @ block.cache


def behind_autograd(block: "Block", x: Tensor) -> Tensor:
    x.data.mul_(1.1)
    return torch.tanh(x)


def on_the_tape(block: "Block", x: Tensor) -> Tensor:
    block.tape.append(x.square().mean())
    return x


def force(block: "Block", x: Tensor) -> Tensor:
    x = x if x.requires_grad else x.requires_grad_()
    return x + torch.autograd.grad(block.extra(x).sin().sum(), x, create_graph=True)[0]


def in_closure() -> Any:
    scale = 1.0

    def closure(block: "Block", x: Tensor) -> Tensor:
        nonlocal scale
        scale = 0.9 * scale + 0.2 * x.max().item()
        return x * scale

    return closure


HABITS = {
    "none": lambda block, x: x,
    "attribute": attribute,
    "buffer": buffer,
    "rebound": rebound,
    "global": in_global,
    "class": in_class,
    "hidden": hidden,
    "follower": follower,
    "cached": cached,
    "behind autograd": behind_autograd,
    "tape": on_the_tape,
    "in place": lambda block, x: x.mul_(0.9).tanh_(),
    "dropout": lambda block, x: F.dropout(x, 0.3),
    "norm": lambda block, x: block.norm(x),
    "branch": lambda block, x: x if torch.rand(()) < 0.5 else block.extra(x),
    "random": lambda block, x: x * (1 + random.random()) + float(np.random.rand()),
    "frozen": lambda block, x: block.frozen(x),
    "checkpoint": lambda block, x: checkpoint(block.extra, x, use_reentrant=False),
    "gradient": force,
}


class Block(nn.Module):
    seen_by_all: list[float] = []

    def __init__(self, habit: str, tape: list[Tensor]) -> None:
        super().__init__()
        self.layer, self.extra, self.frozen = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.frozen.requires_grad_(False)
        self.norm, self.mean = nn.BatchNorm1d(WIDTH), nn.Buffer(torch.zeros(WIDTH))
        self.habit = in_closure() if habit == "closure" else HABITS[habit]
        self.tape, self.memory, self.calls, self.version, self.active = tape, [], 0, -1, True

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        return torch.tanh(self.habit(self, x) if self.active else x)


@dataclass(frozen=True)
class Plan:
    """A block: what it does, from which step on, as a method or as a hook, and whether it is an earlier block again."""

    habit: str
    since: int
    by_hook: bool
    again: int | None


PLANS = st.builds(
    Plan,
    habit=st.sampled_from([*HABITS, "closure"]),
    since=st.sampled_from([0, 0, 0, 1, 2]),
    by_hook=st.booleans(),
    again=st.none() | st.none() | st.integers(0, 2),
)
LOSSES = st.sampled_from(["plain", "noisy", "counting", "in place", "teacher"])
ARGUMENTS = (st.lists(PLANS, min_size=1, max_size=4), LOSSES, st.integers(0, 2), st.integers(0, 2))


def behave(plans: list[Plan], kind: str, nested: int, freeze: int) -> None:
    def build() -> Training:
        global everyones
        everyones, Block.seen_by_all = 0.0, []
        tape: list[Tensor] = []
        blocks: list[Block] = []
        for plan in plans:
            again = plan.again is not None and plan.again < len(blocks)
            blocks.append(blocks[plan.again] if again else Block(plan.habit, tape))  # type: ignore[index]
            if plan.by_hook and not again:
                block, habit = blocks[-1], blocks[-1].habit
                block.habit = HABITS["none"]
                block.layer.register_forward_hook(
                    lambda module, args, out, block=block, habit=habit: habit(block, out) if block.active else None
                )
        groups = [nn.Sequential(*blocks[:nested]), *blocks[nested:]] if nested else blocks
        model, teacher, count = nn.Sequential(*groups, nn.Linear(WIDTH, 3)), nn.BatchNorm1d(3), [0]

        def loss(out: Tensor, y: Tensor) -> Tensor:
            if kind == "noisy":
                out = out + torch.randn_like(out)
            elif kind == "counting":
                count[0] += 1
                out = out / count[0]
            elif kind == "in place":
                out[:, 0] -= 1
            elif kind == "teacher":
                out = out + teacher(out).detach() + teacher.running_mean
            value = cross_entropy(out, y) + sum(tape)
            tape.clear()
            return value

        def begin(training: Training, step: int) -> None:
            for block, plan in zip(blocks, plans, strict=True):
                block.active = step >= plan.since
            blocks[0].layer.requires_grad_(step != freeze or freeze == 0)

        return Training(model, loss, x=lambda: torch.randn(6, WIDTH), begin=begin)

    # What passes begin to change later is not held at the first of them.
    check(build, steps=3, may_refuse={plan.since for plan in plans} - {0})


ALLOWED = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True, "database": None}


@settings(max_examples=40, **ALLOWED)  # type: ignore[arg-type]
@given(*ARGUMENTS)
def test_forty_modules_with_habits(plans: list[Plan], loss: str, nested: int, freeze: int) -> None:
    behave(plans, loss, nested, freeze)


@pytest.mark.full
@settings(max_examples=400, **ALLOWED)  # type: ignore[arg-type]
@given(*ARGUMENTS)
def test_four_hundred_modules_with_habits(plans: list[Plan], loss: str, nested: int, freeze: int) -> None:
    behave(plans, loss, nested, freeze)
