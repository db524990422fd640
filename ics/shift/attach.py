"""A probe that measures by itself, in a loop that is left as it is: by hooks on model, loss and optimizer.

A due step begins with the model's forward passes with gradients, each noted as a `Batch`. When a backward pass reaches
their outputs it ends with all that has to be kept from before the update: so nothing that the loop then does to `.grad`
(unscaling, clipping) matters. The optimizer's step hooks do the rest. Passes whose gradients were cleared again do not
count. An optimizer with a closure runs its passes inside its step; the first of them is at W(t).
"""

import csv
import inspect
import sys
import warnings
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ics.shift.diagnosis import HOOKED, alike, common_factor
from ics.shift.errors import OtherGradients, ProbeError
from ics.shift.metrics import METRICS
from ics.shift.observation import Observation
from ics.shift.passes import Batch, Start, check_loss
from ics.shift.state import Hold, places
from ics.shift.watcher import Hook, TrainingPass, tensors_in

if TYPE_CHECKING:
    from ics.shift.probe import ShiftProbe

Row = dict[str, Any]
Closure = Callable[[], Tensor]


class Attachment:
    """The hooks of `ShiftProbe.attach`, whose arguments these are; `targets` is y of passes whose loss is not seen."""

    def __init__(
        self,
        probe: "ShiftProbe",
        optimizer: torch.optim.Optimizer,
        every: int,
        to: Any,
        closure: Closure | None,
        calls: nn.Module,
    ) -> None:
        if not isinstance(optimizer, torch.optim.Optimizer) and not hasattr(optimizer, "register_step_post_hook"):
            raise ProbeError(
                f"optimizer is a {type(optimizer).__name__}, not one of torch.optim, whose steps can be seen"
            )
        self._probe = probe
        if type(probe.model).__call__ is not nn.Module.__call__:
            raise ProbeError(
                f"{type(probe.model).__name__} has a __call__ of its own, so that what the loop gives it cannot be "
                "seen; use observe"
            )
        if isinstance(every, bool) or not hasattr(every, "__index__") or every < 1:
            raise ProbeError(f"every={every!r} is no number of steps; take 1 or more")
        if not (closure is None or callable(closure)) or not isinstance(calls, nn.Module):
            raise ProbeError("closure is a function that returns the loss, calls a module that the loop calls")
        self._every, self._to, self._closure = every, sink(to), closure
        self._optimizer = weakref.ref(optimizer)
        if not self._updated:
            raise ProbeError(
                "the optimizer holds no parameter of the model, so its step is no update of it; attach the one that "
                "does, or use observe around all that moves them"
            )
        self._watcher = probe.watcher
        self._watcher.reach(closure)
        self._is_compiled = calls is not probe.model
        self.targets: Any = None
        self._step, self._said, self._recomputes = 0, set[str](), False
        self._hooks = ExitStack()
        self._is_orphaned = False  # for the optimizer is no more
        self._hooks.callback(weakref.finalize(optimizer, self._orphan).detach)
        self._hooks.callback(self._watcher.sleepers.discard, self)
        self._hooks.callback(self._watcher.listeners.remove, self._begin)
        self._watcher.listeners.append(self._begin)
        for handle in (
            *([self._watcher.watch(calls)] if self._is_compiled else ()),
            calls.register_forward_hook(Hook(self, self._end)),
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ):
            self._hooks.enter_context(handle)
        if isinstance(probe.loss_fn, nn.Module):
            hook = Hook(self, self._see_loss)
            self._hooks.enter_context(probe.loss_fn.register_forward_hook(hook, with_kwargs=True))
        self._clear()

    @property
    def _updated(self) -> set[nn.Parameter]:
        """The model's parameters that the optimizer holds."""
        groups = getattr(self._optimizer(), "param_groups", ())
        return {p for group in groups for p in group["params"]} & {*self._probe.model.parameters()}

    def _clear(self) -> None:
        self._due = self._step % self._every == 0
        (self._watcher.sleepers.discard if self._due else self._watcher.sleepers.add)(self)
        # Forward passes that no backward pass has reached yet; kept alive by the outputs that may lead one there.
        self._open = weakref.WeakValueDictionary[int, Batch]()  # by id, in order
        self._latest: Batch | None = None
        self._done: list[Batch] = []  # those whose gradients stand in .grad
        self._reached: list[Batch] | None = None  # in the backward pass under way
        self._task, self._found, self._was_clear = -1, list[Any](), True  # its number, and what .grad was before it
        self._start: Start | None = None
        self._trouble: str | None = None
        self._missing = (
            "no backward pass from an output of the model was seen before it; where the loop calls "
            "torch.compile(model), give that as calls="
        )
        self._inside: int | None = None  # how many were done before the optimizer's step, which may have a closure

    def detach(self) -> None:
        """Remove the hooks."""
        self._hooks.close()
        self._due = False

    def note_loss(self, outputs: Any, y: Any, loss: Tensor) -> None:
        """The loss of a pass, that with these outputs or else the last one, and its targets."""
        if not self._due or self._closure is not None or self._watcher.is_paused:
            return
        try:
            check_loss(loss)
        except ProbeError as error:
            self._trouble = str(error)
            return
        given = {id(tensor) for tensor in _tensors(outputs)}
        batch = next((b for b in self._open.values() if given & {id(r()) for r in b.outputs}), self._latest)
        if batch and loss.requires_grad and _may_come_from(loss, batch.outputs):
            if batch.loss is not None:
                self._trouble = "its loss was computed more than once from one pass; give attach a closure"
            batch.y, batch.loss = y, loss.detach().clone()
            batch.given = Hold(places([batch.call.args, batch.call.keywords, y]))
            self._wait_for_backward(loss, batch)  # which meets the loss first, and then parameters that it uses itself

    # --- what happens before the update, in this order ---------------------------------------------------------------

    def _orphan(self) -> None:
        self._is_orphaned = True
        self._watcher.sleepers.discard(self)  # to say so, should the training go on

    def _begin(self, args: Any, kwargs: Any, training_pass: TrainingPass) -> None:
        if self._is_orphaned:
            self.detach()
            self._say("nothing is measured any more", "the attached optimizer is gone; attach the one that is stepped")
        elif self._due:
            call = partial(self._closure) if self._closure else partial(self._probe.model, *args, **kwargs)
            self._latest = batch = Batch(call, self.targets, training_pass)
            self._open[id(batch)] = batch

    def _end(self, model: nn.Module, args: Any, output: Any) -> None:
        batch = self._latest
        if not self._due or batch is None or self._watcher.is_paused:
            return
        for tensor in _tensors(output):
            batch.outputs.append(weakref.ref(tensor))
            self._wait_for_backward(tensor, batch)

    def _wait_for_backward(self, tensor: Tensor, batch: Batch) -> None:
        if tensor.grad_fn is not None:
            tensor.register_hook(lambda gradient: self._backward_begins(batch))  # type: ignore[no-untyped-call]

    def _see_loss(self, loss: nn.Module, args: Any, kwargs: Any, value: Tensor) -> None:
        given = inspect.signature(loss.forward).bind(*args, **kwargs)
        ordered = [*given.args, *given.kwargs.values()]
        if len(ordered) == 2:
            self.note_loss(ordered[0], ordered[1], value)

    def _backward_begins(self, batch: Batch) -> None:
        if self._reached is not None and torch._C._current_graph_task_id() != self._task:
            self._reached = None  # of a backward pass that failed
        if not self._due or self._watcher.is_paused or (self._reached is not None and batch in self._reached):
            return
        if batch in self._done:
            self._trouble = "there were several backward passes from one forward pass; give attach a closure"
        if batch not in self._open.values() or (self._inside is not None and len(self._done) > self._inside):
            return  # of an earlier step, or not the first evaluation of the optimizer's closure
        if self._reached is None:
            self._reached, self._task = [], torch._C._current_graph_task_id()
            self._found, self._was_clear = self._marks(), self._is_cleared()
            # queue_callback is how DistributedDataParallel, too, learns that a backward pass is over.
            torch.autograd.Variable._execution_engine.queue_callback(self._backward_ended)
        self._reached.append(batch)

    def _backward_ended(self) -> None:
        reached, self._reached = self._reached or [], None
        if not reached:  # the step has been done within the backward pass
            return
        if self._marks() == self._found:  # torch.autograd.grad, as part of a loss
            self._missing = (
                "its backward pass left nothing in .grad: torch.autograd.grad, or a hook that takes gradients away; "
                "use observe"
            )
            return
        if self._was_clear and self._done:
            self._say(
                f"a pass before step {self._step} gives no row",
                "its gradients were cleared without a step of this optimizer (a GradScaler skips those that are not "
                "finite; a loop with several optimizers clears those that it does not want; attach a new one)",
            )
            self._done, self._trouble = [], None
        elif not (self._was_clear or self._done):
            self._trouble = ".grad held gradients of passes that were not seen, since it was not cleared before"
        batches = [batch for batch in self._open.values() if batch in reached]
        for batch in batches:
            del self._open[id(batch)]
        if self._closure is None and len(batches) > 1:
            self._trouble = "its loss comes from several calls of the model; give attach a closure"
        if self._closure is not None and self._done:
            self._trouble = "a closure cannot say what batches were accumulated before"
        self._done += batches[:1]
        self._start = self._probe.begin(self._done)

    def _marks(self) -> list[Any]:
        """What changes where a backward pass leaves gradients."""
        return [None if p.grad is None else (id(p.grad), p.grad._version) for p in self._probe.model.parameters()]

    def _is_cleared(self) -> bool:
        """Whether nothing stands in `.grad` of what is updated; another optimizer's may keep theirs."""
        return all(p.grad is None or not bool(p.grad.any()) for p in self._updated if p.requires_grad)

    # --- the update ----------------------------------------------------------------------------------------------

    def _before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if not _is_nested(optimizer):
            self._inside = len(self._done)

    def _after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        if _is_nested(optimizer):
            return
        try:
            if self._due:
                self._report()
        finally:  # a warning may be made an error
            self._step += 1
            self._clear()

    def _report(self) -> None:
        try:
            if torch._C._current_graph_task_id() != -1:
                raise ProbeError("the optimizer steps within the backward pass; step it after that")
            if self._trouble is not None or self._start is None:
                self._probe.check_model()
                raise ProbeError(self._trouble or self._missing)
            found = self._measure(self._start)
        except ProbeError as error:
            self._say(f"step {self._step} gives no row", str(error))
            return
        try:
            self._to([{"step": self._step, **asdict(row)} for row in found.rows])
        except Exception as error:  # no reason for the training to end
            self._say(f"the rows of step {self._step} are lost", f"{type(error).__name__}: {error}")

    def _measure(self, start: Start) -> Observation:
        observation = Observation()
        recompute = self._probe.recomputes or self._recomputes or len(start.batches) > 1
        try:
            try:
                self._probe.finish(start, observation, recompute=recompute)
            except OtherGradients:
                self._recomputes = recompute = True
                self._probe.finish(start, observation, recompute=True)
        except ProbeError as error:
            is_known = all(batch.loss is not None for batch in start.batches) or self._closure is not None
            if is_known or not isinstance(error.__cause__, TypeError | AttributeError):
                raise
            raise ProbeError(
                f"the loss of an unknown y cannot be computed ({error.__cause__}); let the loop call "
                "probe.loss(outputs, y), or give the probe a loss that is a module"
            ) from error
        is_new = recompute and self._probe.ranks is None and not self._probe.recomputes
        if is_new and not alike(start.gradients, start.recomputed):
            # What backward passes leave must be the loss's gradient, but for a factor, and a compiled model's rounding.
            factor = common_factor(start.gradients, start.recomputed)
            if factor is None and not self._is_compiled:
                own = "loss_fn(model(x), y)", "give attach a closure"
                if self._closure is not None:
                    own = "the closure", "or the closure draws random numbers before it first calls the model"
                raise ProbeError(
                    f"the loop's gradient is not that of {own[0]}, nor a multiple of it: terms were added, passes "
                    f"weighted, or gradients left out; {own[1]}"
                    + (HOOKED if any(p._post_accumulate_grad_hooks for p in start.gradients) else "")
                )
            how = "this within rounding" if factor is None else f"{factor:.4g} times this"
            self._say("G is computed anew as the gradient of the loss", f"backward passes leave {how}")
        return observation

    def _say(self, what: str, why: str) -> None:
        """Each reason once, whatever numbers are in it."""
        reason = "".join(letter for letter in why if not letter.isdigit())
        if reason not in self._said:
            self._said.add(reason)
            warnings.warn(f"{what}: {why}", stacklevel=2)


def _is_nested(optimizer: torch.optim.Optimizer) -> bool:
    """Whether a hook is of a step inside a step: a subclass calls `super().step()`, and torch has hooked both."""
    frame: Any = sys._getframe(2)  # the wrapper that torch has put around `step`
    code, steps = frame.f_code, 0
    while frame is not None:
        steps += frame.f_code is code and frame.f_locals.get("self") is optimizer
        frame = frame.f_back
    return steps > 1


def _may_come_from(loss: Tensor, outputs: Sequence["weakref.ref[Tensor]"]) -> bool:
    """Whether a loss was computed from one of these, or they are no more; a criterion may serve several models."""
    wanted = {output.grad_fn for ref in outputs if (output := ref()) is not None}
    queue, seen = [loss.grad_fn], set[Any]()
    while queue:
        node = queue.pop()
        if node in wanted:
            return True
        if node is not None and node not in seen:
            seen.add(node)
            queue += [below for below, _ in node.next_functions]
    return not wanted


def _tensors(outputs: Any) -> list[Tensor]:
    """The tensors of what a model returns; those in the attributes of objects where there are no others."""
    inside = [vars(leaf) for leaf in tree_leaves(outputs) if hasattr(leaf, "__dict__")]
    return tensors_in(outputs) or tensors_in(inside)


def sink(to: Any) -> Callable[[list[Row]], object]:
    """Where `ShiftProbe.attach` sends rows: what takes a list of them, as a function."""
    if isinstance(to, list):
        return to.extend
    if isinstance(to, str | Path):
        try:
            Path(to).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ProbeError(f"to={str(to)!r} cannot be written ({error.strerror})") from error
        return lambda rows: _append(Path(to), rows)
    if hasattr(to, "add_scalar"):
        return lambda rows: [to.add_scalar(*named, rows[0]["step"]) for named in scalars(rows).items()]
    if hasattr(to, "define_metric"):  # W&B's own steps count calls of `log`, the loop's as well
        to.define_metric("shift/*", step_metric="shift/step")
        return lambda rows: to.log(scalars(rows) | {"shift/step": rows[0]["step"]})
    if callable(to):
        return to  # type: ignore[no-any-return]
    raise ProbeError(f"to={to!r} takes no rows; give a function, a list, a path, a SummaryWriter or a run of wandb")


def scalars(rows: Sequence[Row]) -> dict[str, float]:
    """The metrics of a step's rows as named numbers, for loggers."""
    return {f"shift/{metric}/{row['layer'] or 'model'}": row[metric] for row in rows for metric in METRICS}


def _append(path: Path, rows: Sequence[Row]) -> None:
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        if file.tell() == 0:
            writer.writeheader()
        writer.writerows(rows)
