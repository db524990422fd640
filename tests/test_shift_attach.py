"""The probe attached to loops that scale, clip, accumulate, skip: the definition's numbers, and the loop as it was."""

import copy
import csv
import gc
import itertools
import re
import signal
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import reference
import torch
from rebuilt import hooks
from reference import cross_entropy
from torch import Tensor, nn
from zoo import Checkpointed, Noisy, Residual, chain

from ics import ProbeError, ShiftProbe

STEPS = 3
Loop = Callable[["Training"], None]


class Training:
    """A model, its batches, and what an oracle needs of each step: the state before every pass, and both weights."""

    def __init__(
        self, make_model: Callable[[], nn.Module] = chain, optimizer: Any = None, shape: tuple[int, ...] = (8, 6)
    ) -> None:
        torch.manual_seed(5)
        self.model = make_model()
        self.optimizer = (optimizer or (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)))(self.model.parameters())
        shape = (8, 3, 8, 8) if make_model is Residual else shape
        self.batches = [(torch.randn(shape), torch.randint(0, 4, (8,))) for _ in range(12)]
        self.loss: Callable[[Any, Any], Tensor] = cross_entropy
        self.passes: list[tuple[Any, Any, Tensor]] = []  # x, y and random numbers of the passes of a step
        self.steps: list[tuple[nn.Module, nn.Module, list[Any]]] = []

    def forward(self, x: Tensor, y: Tensor, model: nn.Module | None = None) -> Tensor:
        self.passes.append((x, y, torch.get_rng_state()))
        return self.loss((model or self.model)(x), y)

    def update(self, step: Callable[[], Any] | None = None) -> None:
        old = copy.deepcopy(self.model)
        (step or self.optimizer.step)()
        self.steps.append((old, copy.deepcopy(self.model), self.passes))
        self.passes = []

    def final(self) -> list[Any]:
        tensors = torch.utils._pytree.tree_leaves(
            [self.model.state_dict(), self.optimizer.state_dict(), [p.grad for p in self.model.parameters()]]
        )
        return [*tensors, torch.get_rng_state()]


def gradients_of(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], list[Any]]:
    """G and G' of every measurement to come, and the probes that made them."""
    gradients, probes, finish = [], [], ShiftProbe.finish

    def keep(probe: Any, start: Any, observation: Any, **others: Any) -> None:
        finish(probe, start, observation, keep_gradients=True, **others)
        gradients.append(observation.gradients)
        probes.append(probe)

    monkeypatch.setattr(ShiftProbe, "finish", keep)
    return gradients, probes


def measured(build: Callable[[], Training], loop: Loop, **options: Any) -> tuple[Training, list[Any], list[str]]:
    """A loop with the probe attached, beside its twin without: the same to the bit.

    Returns:
        The training; rows, gradients and layers; what was said.
    """
    twin = build()
    loop(twin)
    training, rows = build(), []
    attach = options.pop("attach", {})
    with (
        pytest.MonkeyPatch.context() as patch,
        ShiftProbe(training.model, cross_entropy, **options) as probe,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        gradients, _ = gradients_of(patch)
        probe.attach(training.optimizer, to=rows, **attach)
        training.loss = probe.loss
        loop(training)
        layers = probe._layers
    assert_same(twin, training)
    assert hooks(training.model) == hooks(twin.model)
    return training, [rows, gradients, layers], [str(w.message) for w in caught]


def assert_same(one: Training, other: Training) -> None:
    """After the same training: tensors, gradients, optimizer and random numbers, to the bit."""
    for a, b in zip(one.final(), other.final(), strict=True):
        assert a is b or a == b if not isinstance(a, Tensor) else torch.equal(a, b)


def check(training: Any, found: list[Any], due: Sequence[int] = (0, 1, 2), loss_fn: Any = cross_entropy) -> None:
    """Every G and G' of the due steps against full passes on copies, summed over the micro-batches."""
    rows, gradients, layers = found
    assert sorted({row["step"] for row in rows}) == list(due)
    for step, pairs in zip(due, gradients, strict=True):
        old, new, passes = training.steps[step]
        named = reference.layers_of(layers, training.model, reference.execution_order(training.model, passes[0][0]))
        for hybrids, side in ((named, 1), ([(name, own, []) for name, own, _ in named], 0)):
            parts = [reference.shifted_gradients(old, new, loss_fn, x, y, hybrids, state) for x, y, state in passes]
            for name, _, _ in named:
                assert torch.equal(pairs[name][side], sum(part[name][0] for part in parts)), name


def assert_exact(build: Callable[[], Training], loop: Loop, notice: str | None = None, **options: Any) -> list[Any]:
    """Three steps with the definition's bits, and one notice if any; the rows."""
    training, found, said = measured(build, loop, **options)
    check(training, found)
    assert len(said) == (notice is not None)
    assert all(notice in text for text in said if notice)
    rows: list[Any] = found[0]
    return rows


# --- loops ------------------------------------------------------------------------------------------------------------


def loop(
    t: Training,
    micro: int = 1,
    loss: Callable[[Training, Tensor, Tensor], Tensor] = Training.forward,
    backward: Callable[[Tensor], object] = Tensor.backward,
    clear: bool = True,
    begin: Callable[[Training, int], object] = lambda t, step: None,
    then: Callable[[Training, int], object] = lambda t, step: None,
) -> None:
    """A loop as any other, of `micro` batches a step, but for what is given."""
    for step in range(STEPS):
        begin(t, step)
        if clear:
            t.optimizer.zero_grad()
        for x, y in t.batches[micro * step : micro * (step + 1)]:
            backward(loss(t, x, y))
        then(t, step)
        t.update()


def clip(size: float, since: int = 0) -> Callable[[Training, int], object]:
    return lambda t, step: nn.utils.clip_grad_norm_(t.model.parameters(), size) if step >= since else None


def third(loss: Tensor) -> None:
    (loss / 3).backward()


def autocast(t: Training, x: Tensor, y: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return t.forward(x, y)


def unused_pass(t: Training, step: int) -> None:
    with torch.no_grad():
        t.model(t.batches[step][0] + 1)


def late_zero(t: Training) -> None:
    for x, y in t.batches[:STEPS]:
        loss = t.forward(x, y)
        t.optimizer.zero_grad(set_to_none=False)
        loss.backward()
        t.update()


def both_forward_then_both_backward(t: Training) -> None:
    for i in range(0, 2 * STEPS, 2):
        t.optimizer.zero_grad()
        losses = [t.forward(x, y) for x, y in t.batches[i : i + 2]]
        for loss in losses:
            loss.backward()
        t.update()


def both_forward_then_both_losses(t: Training) -> None:
    for i in range(0, 2 * STEPS, 2):
        t.optimizer.zero_grad()
        outputs = []
        for x, y in t.batches[i : i + 2]:
            t.passes.append((x, y, torch.get_rng_state()))
            outputs.append((t.model(x), y))
        for loss in [t.loss(*pair) for pair in outputs]:
            loss.backward()
        t.update()


def in_static_buffers(t: Training, x: Tensor, y: Tensor) -> Tensor:
    t.x, t.y = getattr(t, "x", x.clone()).copy_(x), getattr(t, "y", y.clone()).copy_(y)  # type: ignore[attr-defined]
    t.passes.append((x, y, torch.get_rng_state()))
    return t.loss(t.model(t.x), t.y)  # type: ignore[attr-defined]


def from_another_network(t: Training, x: Tensor, y: Tensor) -> Tensor:
    scale = torch.tensor(1.5, requires_grad=True)
    t.passes.append((x * 1.5, y, torch.get_rng_state()))
    return t.loss(t.model(x * scale), y)


def after_a_failed_one(loss: Tensor) -> None:
    def fail(gradient: Tensor) -> None:
        raise ZeroDivisionError

    doubled = loss * 1
    with suppress(ZeroDivisionError):
        handle = loss.grad_fn.next_functions[0][0].register_prehook(fail)  # type: ignore[union-attr]
        doubled.backward(retain_graph=True)
    handle.remove()
    loss.backward()


class StepInStep(torch.optim.SGD):
    """Goes on after the step of the class that it inherits from; torch hooks both."""

    def step(self, closure: Any = None) -> None:
        super().step(closure)
        with torch.no_grad():
            for p in self.param_groups[0]["params"]:
                p.mul_(0.9)


def grad_scaler(t: Training) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for x, y in t.batches[:STEPS]:
        t.optimizer.zero_grad()
        scaler.scale(t.forward(x, y)).backward()
        scaler.unscale_(t.optimizer)
        nn.utils.clip_grad_norm_(t.model.parameters(), 0.1)
        t.update(lambda: scaler.step(t.optimizer))
        scaler.update()


def closure(t: Training) -> None:
    for x, y in t.batches[:STEPS]:
        first = []

        def evaluate(x: Tensor = x, y: Tensor = y, first: list[Any] = first) -> Tensor:
            t.optimizer.zero_grad()
            loss = t.forward(x, y)
            loss.backward()
            first.append(t.passes[-1])
            t.passes = first[:1]
            return loss

        t.update(lambda: t.optimizer.step(evaluate))


def lbfgs(p: Any) -> torch.optim.Optimizer:
    return torch.optim.LBFGS(p, lr=0.1, max_iter=3)


def in_the_style_of_timm(t: Training) -> None:
    """Updates only at every second batch, a scaler, clipping, a mean of the weights, a schedule of the rate."""
    scaler, mean = torch.amp.GradScaler("cpu", init_scale=64.0), torch.optim.swa_utils.AveragedModel(t.model)
    schedule = torch.optim.lr_scheduler.StepLR(t.optimizer, 1)
    t.optimizer.zero_grad()
    for i, (x, y) in enumerate(t.batches[:6]):
        scaler.scale(t.forward(x, y) / 2).backward()
        if i % 2:
            scaler.unscale_(t.optimizer)
            nn.utils.clip_grad_norm_(t.model.parameters(), 1.0)
            t.update(lambda: scaler.step(t.optimizer))
            scaler.update()
            t.optimizer.zero_grad()
            mean.update_parameters(t.model)
            schedule.step()


plain: Loop = loop
clipped_later: Loop = partial(loop, then=clip(0.01, since=1))
accumulated: Loop = partial(loop, micro=3)
other_passes_between: Loop = partial(
    loop, then=unused_pass, begin=lambda t, step: cross_entropy(t.model(t.batches[step][0]), t.batches[step][1])
)
LOOPS: dict[str, tuple[Loop, str | None]] = {
    "plain": (plain, None),
    "gradients cleared late": (late_zero, None),
    "clipped by norm": (partial(loop, then=clip(0.01)), None),
    "clipped by value": (
        partial(loop, then=lambda t, step: nn.utils.clip_grad_value_(t.model.parameters(), 0.001)),
        None,
    ),
    "clipped after the first": (clipped_later, None),
    "other passes between": (other_passes_between, None),
    "closure": (closure, None),
    "accumulated": (accumulated, None),
    "both forward, then both backward": (both_forward_then_both_backward, None),
    "both forward, then both losses": (both_forward_then_both_losses, None),
    "accumulated in static buffers": (partial(loop, micro=2, loss=in_static_buffers), None),
    "inputs from another network": (partial(loop, loss=from_another_network), None),
    "a backward pass that failed before": (partial(loop, backward=after_a_failed_one), None),
    "scaled": (partial(loop, backward=third), "leave 0.3333 times this"),
    "accumulated, divided and clipped": (
        partial(loop, micro=3, backward=third, then=clip(0.5)),
        "leave 0.3333 times this",
    ),
    "GradScaler": (grad_scaler, "leave 1024 times this"),
    "in the style of timm": (in_the_style_of_timm, "leave 32 times this"),
}
"""How gradients come about, and what is said of it: nothing where the loop leaves the gradient of the loss, or sums."""


@pytest.mark.parametrize("model", [chain, Noisy, Residual])
@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_has_the_definitions_bits(name: str, model: Any) -> None:
    assert_exact(lambda: Training(model), *LOOPS[name])


@pytest.mark.parametrize("model", [chain, Noisy])
def test_lbfgs_and_its_many_evaluations(model: Any) -> None:
    assert_exact(lambda: Training(model, lbfgs), closure)


def test_a_step_inside_a_step_is_one() -> None:
    torch.optim.SGD([torch.zeros(1, requires_grad=True)])  # or torch would hook the class that is inherited from alone
    assert_exact(lambda: Training(chain, lambda p: StepInStep(p, lr=0.1)), plain)


@pytest.mark.parametrize(("reentrant", "notice"), [(False, None), (True, "")])
def test_gradient_checkpointing(reentrant: bool, notice: str | None) -> None:
    assert_exact(lambda: Training(lambda: Checkpointed(reentrant)), plain, notice)


def test_channels_last() -> None:
    def build() -> Training:
        training = Training(lambda: Residual().to(memory_format=torch.channels_last), shape=(8, 3, 8, 8))
        training.batches = [(x.to(memory_format=torch.channels_last), y) for x, y in training.batches]
        return training

    assert_exact(build, plain)


def test_bf16_autocast() -> None:
    training, found, said = measured(Training, partial(loop, loss=autocast), verify="always")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        check(training, found)
    assert [row["step"] for row in found[0] if row["l2"] == 0] == [0, 1, 2]
    assert len(found[0]) == 15
    assert said == []


def test_only_layers_that_are_asked_for_and_steps_that_are_due() -> None:
    training, found, said = measured(Training, clipped_later, layers=[3], attach={"every": 2})
    check(training, found, [0, 2])
    assert [row["layer_index"] for row in found[0]] == [3, 3]
    assert said == []


@pytest.mark.parametrize("loop", [accumulated, grad_scaler, both_forward_then_both_backward, other_passes_between])
def test_what_comes_between_steps_that_are_due_leaves_no_trace(loop: Loop) -> None:
    training, found, _ = measured(lambda: Training(Noisy), loop, attach={"every": 2})
    check(training, found, [0, 2])


def test_a_pass_is_noted_where_anybody_may_need_it() -> None:
    training = Training()
    with ShiftProbe(training.model, cross_entropy) as attached:
        attachment = attached.attach(training.optimizer, every=3, to=[])
        training.loss = attached.loss
        noted = []
        for x, y in training.batches[:4]:
            training.optimizer.zero_grad()
            training.forward(x, y).backward()
            noted.append(attached.watcher.last is not None)
            training.update()
        assert noted == [True, False, False, True]
        training.forward(x, y).backward()
        with pytest.raises(ProbeError, match="steps that are due"), attached.observe(x, y):
            pass
        with ShiftProbe(training.model, cross_entropy) as other:
            training.optimizer.zero_grad()
            training.forward(x, y).backward()
            with other.observe(x, y) as shift:
                training.update()
            assert len(shift.rows) == 5
        attached.close()
        attachment.detach()


def test_passes_that_no_backward_pass_can_reach_any_more_are_not_kept() -> None:
    training = Training()
    with ShiftProbe(training.model, cross_entropy) as probe:
        attachment = probe.attach(training.optimizer, to=[])
        kept = [training.model(x) for x, _ in training.batches[:3]]
        for x, _ in training.batches:
            training.model(x)
        gc.collect()
        assert len(attachment._open) <= len(kept) + 1


def test_a_step_that_a_grad_scaler_skips_gives_no_row_and_a_word() -> None:
    def loop(t: Training) -> None:
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
        for i, (x, y) in enumerate(t.batches[:STEPS]):
            t.optimizer.zero_grad()
            loss = t.forward(x * torch.inf if i == 1 else x, y)
            scaler.scale(loss).backward()
            if i == 1:
                scaler.step(t.optimizer)
                t.passes = []
            else:
                t.update(lambda: scaler.step(t.optimizer))
            scaler.update()

    training, found, said = measured(lambda: Training(lambda: chain(None)), loop)
    check(training, found, [0, 1])  # the optimizer has done two steps
    assert any("its gradients were cleared without a step of this optimizer" in text for text in said)


def test_a_closure_for_a_loss_of_several_calls() -> None:
    def siamese(t: Training) -> None:
        for i in range(STEPS):
            (x, _), (other, y) = t.batches[2 * i], t.batches[2 * i + 1]
            t.now = x, other, y
            t.optimizer.zero_grad()
            t.passes = [(x, y, torch.get_rng_state())]
            loss_of(t, t.model).backward()
            t.update()

    def loss_of(t: Any, model: nn.Module) -> Tensor:
        x, other, y = t.now
        return cross_entropy(model(x), y) + (model(x) - model(other)).square().mean()

    training, found, said = measured(lambda: Training(Noisy), siamese)
    assert found[0] == []
    assert said == ["step 0 gives no row: its loss comes from several calls of the model; give attach a closure"]

    twin = Training(Noisy)
    siamese(twin)
    training = Training(Noisy)
    rows: list[Any] = []
    with ShiftProbe(training.model, cross_entropy) as probe:
        probe.attach(training.optimizer, to=rows, closure=lambda: loss_of(training, training.model))
        siamese(training)
    assert_same(twin, training)
    assert [row["l2"] > 0 for row in rows] == [False, True, True] * STEPS
    for step in range(STEPS):
        old, new, passes = training.steps[step]
        hybrid = copy.deepcopy(old)
        for name in ("a", "b"):  # layer c comes after both
            hybrid.get_submodule(name).load_state_dict(new.get_submodule(name).state_dict())
        hybrid.zero_grad()
        (x, _), (other, y) = training.batches[2 * step], training.batches[2 * step + 1]
        training.now = x, other, y
        torch.set_rng_state(passes[0][2])
        loss_of(training, hybrid).backward()
        norm = float(hybrid.c.weight.grad.double().norm())
        assert rows[3 * step + 2]["shifted_grad_norm"] == pytest.approx(norm, rel=1e-12)  # sums in another order


def twice(loss: Tensor) -> None:
    loss.backward(retain_graph=True)  # type: ignore[no-untyped-call]
    loss.backward()  # type: ignore[no-untyped-call]


def two_losses(t: Training, x: Tensor, y: Tensor) -> Tensor:
    out = t.model(x)
    return t.loss(out, y) + t.loss(out, y)


def penalised(t: Training, x: Tensor, y: Tensor) -> Tensor:
    return t.forward(x, y) + sum(p.square().sum() for p in t.model.parameters())


def weighted(t: Training, step: int) -> None:
    """Another pass before the update, with another weight than the first."""
    x, y = t.batches[step]
    (t.forward(x.roll(1, 1), y) / 3).backward()


@pytest.mark.parametrize(
    ("changes", "steps", "why"),
    [
        ({"loss": penalised}, [], "nor a multiple of it"),
        ({"then": weighted}, [], "nor a multiple of it"),
        ({"backward": twice}, [], "several backward passes from one forward pass"),
        ({"clear": False}, [0], "held gradients of passes that were not seen"),
        ({"loss": two_losses}, [], "computed more than once"),
        ({"loss": lambda t, x, y: cross_entropy(t.model(x), y)}, [], "let the loop call probe.loss"),
    ],
)
def test_loops_that_cannot_be_measured_are_left_alone(changes: dict[str, Any], steps: list[int], why: str) -> None:
    _, found, said = measured(Training, partial(loop, **changes))
    assert sorted({row["step"] for row in found[0]}) == steps
    assert len(said) == 1 and why in said[0] and "\n" not in said[0]


def test_a_loss_that_is_a_module_needs_no_other_call() -> None:
    training = Training()
    rows: list[Any] = []
    loss_fn = nn.CrossEntropyLoss(label_smoothing=0.1)
    training.loss = loss_fn
    probe = ShiftProbe(training.model, loss_fn)
    probe.attach(training.optimizer, every=2, to=rows)
    plain(training)
    assert sorted({row["step"] for row in rows}) == [0, 2]
    probe.detach()
    plain(training)
    assert max(row["step"] for row in rows) == 2
    probe.close()
    assert not loss_fn._forward_hooks
    assert not training.optimizer._optimizer_step_pre_hooks


def test_recompute_measures_whatever_has_become_of_the_gradients() -> None:
    training = Training()
    with ShiftProbe(training.model, cross_entropy, gradients="recompute") as probe:
        for i, (x, y) in enumerate(training.batches[:STEPS]):
            training.optimizer.zero_grad()
            (7 * training.forward(x, y)).backward()
            nn.utils.clip_grad_value_(training.model.parameters(), 0.001)
            old = copy.deepcopy(training.model)
            old.zero_grad()
            if i % 2:  # nor of when the update was
                training.optimizer.step()
            with probe.observe(x, y, keep_gradients=True) as shift:
                training.optimizer.step()
            cross_entropy(old(x), y).backward()
            for layer in probe.layers:
                assert torch.equal(shift.gradients[layer.name][0], old.get_submodule(layer.name).weight.grad), i
        training.forward(x, y).backward()
        with pytest.raises(ProbeError, match="another batch"), probe.observe(x + 1, y):
            pass


# --- where rows go ----------------------------------------------------------------------------------------------------


def test_a_function_a_file_and_loggers(tmp_path: Path) -> None:
    class Writer:
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def add_scalar(self, name: str, value: float, step: int) -> None:
            self.seen.append((name, value, step))

    class Run:
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def define_metric(self, name: str, step_metric: str) -> None:
            assert (name, step_metric) == ("shift/*", "shift/step")

        def log(self, values: dict[str, float]) -> None:
            self.seen.append(values)

    writer, logger, path, called = Writer(), Run(), tmp_path / "shift.csv", []
    for to in (writer, logger, path, path, called.append):
        training = Training()
        with ShiftProbe(training.model, cross_entropy, layers=[2]) as probe:
            probe.attach(training.optimizer, every=2, to=to)
            training.loss = probe.loss
            plain(training)
    assert [name for name, _, step in writer.seen if step == 2][:2] == ["shift/l2/3", "shift/cosine/3"]
    assert [(values["shift/step"], sorted(values)[0]) for values in logger.seen] == [
        (0, "shift/cosine/3"),
        (2, "shift/cosine/3"),
    ]
    with open(path) as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == ["0", "2"] * 2
    assert float(rows[0]["l2"]) == called[0][0]["l2"] == writer.seen[0][1]
    with pytest.raises(ProbeError, match="takes no rows"):
        ShiftProbe(chain(), cross_entropy).attach(training.optimizer, to=3)
    with pytest.raises(ProbeError, match="every=0"):
        ShiftProbe(chain(), cross_entropy).attach(training.optimizer, every=0)


def _doubled(model: nn.Module, args: tuple[Tensor]) -> tuple[Tensor]:
    return (2 * args[0],)


def test_a_users_hook_that_changes_the_input_changes_it_once() -> None:
    def build() -> Training:
        training = Training()
        training.model.register_forward_pre_hook(_doubled)
        return training

    assert_exact(build, plain)


# --- what else loops do: rows, or the true cause ----------------------------------------------------------------------


def told(training: Training, loop: Loop, loss_fn: Any = cross_entropy, **attach: Any) -> tuple[list[int], list[str]]:
    """The steps that have rows, and what was said."""
    rows: list[Any] = []
    with ShiftProbe(training.model, loss_fn) as probe, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        probe.attach(training.optimizer, **{"to": rows} | attach)
        training.loss = probe.loss
        loop(training)
    return sorted({row["step"] for row in rows}), [str(w.message) for w in caught]


def test_a_loss_that_is_no_tensor_does_not_end_the_training() -> None:
    def summed(t: Training, x: Tensor, y: Tensor) -> Tensor:
        return t.forward(x, y)["ce"]  # type: ignore[index,no-any-return]

    steps, said = told(Training(), partial(loop, loss=summed), lambda out, y: {"ce": cross_entropy(out, y)})
    assert (steps, said) == (
        [],
        ["step 0 gives no row: loss_fn must return a scalar tensor, not dict; reduce it, say with .mean()"],
    )


def test_rows_that_nobody_takes_do_not_end_the_training(tmp_path: Path) -> None:
    def full(rows: Any) -> None:
        raise OSError("disk full")

    assert told(Training(), plain, to=full)[1] == ["the rows of step 0 are lost: OSError: disk full"]
    assert told(Training(), plain, to=tmp_path / "new" / "rows.csv")[1] == []
    assert (tmp_path / "new" / "rows.csv").read_text().count("\n") == 1 + 5 * STEPS
    (tmp_path / "file").write_text("")
    with pytest.raises(ProbeError, match=r"file/rows\.csv' cannot be written"):
        told(Training(), plain, to=str(tmp_path / "file" / "rows.csv"))


def test_what_cannot_be_seen_is_refused_at_once() -> None:
    class Own(nn.Linear):
        def __call__(self, x: Tensor) -> Any:
            return super().__call__(x / 2)

    with pytest.raises(ProbeError, match="Own has a __call__ of its own"):
        told(Training(lambda: Own(6, 4)), plain)
    training = Training()
    training.optimizer = Training().optimizer
    with pytest.raises(ProbeError, match="the optimizer holds no parameter of the model"):
        told(training, plain)


def test_an_optimizer_in_the_place_of_the_attached_one() -> None:
    def replaced(t: Training) -> None:
        plain(t)
        t.optimizer = torch.optim.Adam(t.model.parameters())
        gc.collect()
        plain(t)

    gone = "nothing is measured any more: the attached optimizer is gone; attach the one that is stepped"
    assert told(Training(), replaced) == ([0, 1, 2], [gone])
    assert told(Training(), replaced, every=100) == ([0], [gone])


def test_one_criterion_of_two_models() -> None:
    criterion = nn.CrossEntropyLoss()

    def both(t: Training) -> None:
        other = chain()
        for x, y in t.batches[:STEPS]:
            t.optimizer.zero_grad()
            first, second = t.model(x), other(x)
            losses = criterion(first, y), criterion(second, y)
            losses[1].backward()
            losses[0].backward()
            t.optimizer.step()

    assert told(Training(), both, criterion) == ([0, 1, 2], [])


def test_an_optimizer_that_steps_within_the_backward_pass() -> None:
    def fused(t: Training) -> None:
        handle = next(t.model.parameters()).register_post_accumulate_grad_hook(lambda p: t.optimizer.step())
        plain(t)
        handle.remove()

    steps, said = told(Training(), fused)
    assert 0 not in steps
    assert said[0] == "step 0 gives no row: the optimizer steps within the backward pass; step it after that"


def test_a_closure_that_goes_backward_itself() -> None:
    training = Training()
    x, y = training.batches[0]

    def closure() -> Tensor:
        loss = training.forward(x, y)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    steps, said = told(training, plain, closure=closure)
    assert steps == [] and "the closure computes gradients; give one that only returns the loss" in said[0]


def test_a_hook_that_was_put_before_the_probes() -> None:
    def hooked(t: Training) -> None:
        t.model.register_forward_pre_hook(lambda model, args: (args[0].square(),), prepend=True)
        plain(t)

    steps, said = told(Training(), hooked)
    assert steps == [1, 2]
    assert len(said) == 1


def test_gradients_of_what_another_optimizer_moves_may_stay() -> None:
    training = Training()
    training.optimizer = torch.optim.SGD([p for p in training.model.parameters() if p.ndim > 1], lr=0.1)
    assert told(training, plain) == ([0, 1, 2], [])


def test_the_bit_by_bit_reasons_are_said_once_whatever_their_numbers() -> None:
    def louder(t: Training, x: Tensor, y: Tensor) -> Tensor:
        return t.loss(1.5 * t.model(x), y)

    steps, said = told(Training(), partial(loop, loss=louder))
    assert steps == [] and len(said) == 1
    assert re.search(r"the loss was \d\S* in the loop and is \d\S* here", said[0])  # other numbers at each step


def test_what_a_closure_can_reach_is_held() -> None:
    def build(attach: bool) -> tuple[Training, nn.Module, list[Any]]:
        training, rows = Training(), list[Any]()
        judge = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))

        def adversarial() -> Tensor:
            value: Tensor = -judge(training.model(training.batches[0][0])).mean()
            return value

        with ShiftProbe(training.model, cross_entropy) as probe:
            if attach:
                probe.attach(training.optimizer, to=rows, closure=adversarial)
            for _ in range(STEPS):
                training.optimizer.zero_grad()
                adversarial().backward()  # type: ignore[no-untyped-call]
                training.optimizer.step()
        return training, judge, rows

    (twin, judge, _), (training, other, rows) = build(False), build(True)
    assert_same(twin, training)
    assert {row["step"] for row in rows} == {0, 1, 2}
    for a, b in zip([*judge.parameters(), *judge.buffers()], [*other.parameters(), *other.buffers()], strict=True):
        assert torch.equal(a, b)
        assert a.grad is b.grad is None or torch.equal(a.grad, b.grad)


def test_an_error_of_a_signals_handler_ends_the_training() -> None:
    class TimeIsUp(Exception):
        pass

    def handler(number: int, frame: Any) -> None:
        raise TimeIsUp

    training, passes = Training(), itertools.count()  # an iterator, since other state is put back in every pass

    def loss_fn(out: Tensor, y: Tensor) -> Tensor:
        if next(passes) == 4:
            signal.raise_signal(signal.SIGUSR1)
        return cross_entropy(out, y)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(TimeIsUp):
            told(training, plain, loss_fn)
    finally:
        signal.signal(signal.SIGUSR1, before)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": []}, "leaves nothing to measure"),
        ({"kinds": ["Linear"]}, "are no classes of modules"),
    ],
)
def test_options_of_no_use(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ProbeError, match=words):
        ShiftProbe(chain(), cross_entropy, **options)


def test_one_layer_and_one_class_need_no_list() -> None:
    x, y = torch.randn(8, 6), torch.randint(0, 4, (8,))
    for options in ({"layers": 2}, {"layers": "3"}, {"kinds": nn.BatchNorm1d}):
        with ShiftProbe(model := chain(), cross_entropy, **options) as probe:  # type: ignore[arg-type]
            cross_entropy(model(x), y).backward()
            with probe.observe(x, y) as shift:
                pass
            assert shift.rows
