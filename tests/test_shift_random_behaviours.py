"""Random modules with habits, against the definition to the bit: state everywhere, hooks, branches, in-place writes."""

from types import SimpleNamespace

import pytest
import torch
from habits import OTHERS, SITUATIONS, WIDTH, Block, forget
from hypothesis import given, settings
from hypothesis import strategies as st
from rebuilt import Training, check
from reference import cross_entropy
from torch import Tensor, nn

PLANS = st.builds(  # of a block: its habit, since which step, as a method or a hook, and if it is an earlier one
    SimpleNamespace,
    habit=st.sampled_from([*SITUATIONS, *OTHERS]),
    since=st.sampled_from([0, 0, 0, 1, 2]),
    by_hook=st.booleans(),
    again=st.none() | st.none() | st.integers(0, 2),
)
LOSSES = st.sampled_from(["plain", "noisy", "counting", "in place", "teacher"])
ARGUMENTS = (st.lists(PLANS, min_size=1, max_size=4), LOSSES, st.integers(0, 2), st.integers(0, 2))


def behave(plans: list[SimpleNamespace], kind: str, nested: int, freeze: int) -> None:
    def build() -> Training:
        forget()
        tape: list[Tensor] = []
        blocks: list[Block] = []
        for plan in plans:
            again = plan.again is not None and plan.again < len(blocks)
            blocks.append(blocks[plan.again] if again else Block(plan.habit, tape))  # type: ignore[index]
            if plan.by_hook and not again:
                block, habit = blocks[-1], blocks[-1].habit
                block.habit = OTHERS["none"]
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

    check(build, steps=3)


@settings(max_examples=40)
@given(*ARGUMENTS)
def test_forty_modules_with_habits(plans: list[SimpleNamespace], loss: str, nested: int, freeze: int) -> None:
    behave(plans, loss, nested, freeze)


@pytest.mark.full
@settings(max_examples=400)
@given(*ARGUMENTS)
def test_four_hundred_modules_with_habits(plans: list[SimpleNamespace], loss: str, nested: int, freeze: int) -> None:
    behave(plans, loss, nested, freeze)
