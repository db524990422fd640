"""One training run: built from its settings, measured around its updates, saved between its steps."""

import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from ics import nets
from ics.data import DATASETS, Batches
from ics.data.seeding import generator
from ics.errors import UserError
from ics.files import as_path
from ics.laboratory import batch_norm_by_hand, running_stats, train_eval_gap  # noqa: F401 (each registers itself)
from ics.quantities import QUANTITIES, Quantity, Step
from ics.registry import Registry, import_plugin
from ics.runs import checkpoint
from ics.runs.config import COMPONENTS, RunConfig, Schedule
from ics.runs.device import choose_device, prepare
from ics.runs.losses import LOSSES, correct, evaluate
from ics.runs.optimizers import OPTIMIZERS
from ics.runs.progress import progress
from ics.runs.recorder import EVALUATION, TRAINING, Recorder
from ics.runs.signals import Interrupted, Requests
from ics.shift.watcher import PassWatcher
from ics.tables import Table

DATA_ROOT = "ICS_DATA"  # environment variable: the folder that relative `data.root`s start from


REGISTRIES: tuple[Registry[Any], ...] = (nets.NETS, nets.NORMS, DATASETS, OPTIMIZERS)


def typed(config: RunConfig) -> RunConfig:
    """The settings with the options of components as these take them, so that a run is the same however it is written.

    Its plugin is imported.
    """
    if config.plugin is not None:
        import_plugin(config.plugin)
    components = {
        setting: registry.typed(getattr(config, setting))
        for setting, registry in zip(COMPONENTS, REGISTRIES, strict=True)
    }
    measure = {}
    for table, schedule in config.measure.items():
        _, *options = QUANTITIES.typed(_quantity(table, schedule)).items()
        measure[table] = schedule.model_copy(update=dict(options))
    return config.model_copy(update=components | {"measure": measure})


class Training:
    """A run in memory."""

    def __init__(self, config: RunConfig) -> None:
        self.config = config
        self.device = choose_device(config.device)
        prepare(self.device, config.threads, config.deterministic)
        self.dataset = DATASETS.build(_located(config.data), seed=config.seed, device=self.device)
        self.model = nets.build(
            config.model, config.norm, self.dataset.input_shape, self.dataset.outputs, config.seed
        ).to(self.device)
        self._try_model()
        self.batches = Batches(
            self.dataset.train, config.batch_size, config.seed, self.dataset.transform, config.augment
        )
        self.loss_fn = LOSSES[self.dataset.task]
        self.optimizer = OPTIMIZERS.build(config.optimizer, parameters=self.model.parameters())
        self.watcher = PassWatcher.of(self.model, self.loss_fn)
        self.quantities = {name: self._quantity(name, when) for name, when in config.measure.items()}
        if config.batch_size == 1 and any(isinstance(module, _BatchNorm) for module in self.model.modules()):
            raise UserError("batch_size=1 leaves batch normalisation without a batch; take at least 2")
        torch.manual_seed(int(generator("noise", config.seed).integers(2**63)))
        self.step = 0
        self.seconds = 0.0

    def _try_model(self) -> None:
        """Refuse a network that does not take the data, or gives what the loss does not take."""
        x = self.dataset.transform(self.dataset.train.inputs[:2])
        modes = {module: module.training for module in self.model.modules()}
        self.model.eval()
        with torch.no_grad():
            given, wanted = self.model(x), (len(x), self.dataset.outputs)
        for module, training in modes.items():
            module.training = training
        if not isinstance(given, Tensor) or given.shape != wanted:
            kind = tuple(given.shape) if isinstance(given, Tensor) else type(given).__name__
            raise UserError(
                f"model {self.config.model['name']!r} gives {kind} for inputs {tuple(x.shape)}, not {wanted}"
            )

    @property
    def tables(self) -> list[Table]:
        """The tables that this run writes."""
        evaluated = [EVALUATION] if self.config.evaluation.every else []
        measured = (replace(quantity.table, name=name) for name, (_, quantity) in self.quantities.items())
        return [TRAINING, *evaluated, *measured]

    def close(self) -> None:
        """Remove the quantities' hooks."""
        for _, quantity in self.quantities.values():
            quantity.close()
        self.watcher.close()

    def run(
        self, folder: Path, name: str | None, requests: Requests, on_save: Callable[[], object]
    ) -> Literal["done", "diverged"]:
        """Train to the end, from the newest usable checkpoint on; `on_save` is called after every save.

        Raises:
            Interrupted: a stop was asked for; all is saved.
            OSError: the folder cannot be written.
        """
        recorder = self._resume(folder)
        began, resumed_seconds = time.monotonic(), self.seconds
        pause = 60 * (self.config.checkpoint.every_minutes or math.inf)
        next_save = began + pause
        try:
            with progress(name, self.config.steps, self.step) as bar:
                first = self.step
                while self.step < self.config.steps:
                    if not self._train_step(recorder):
                        return "diverged"
                    if self.step == first:
                        bar.unpause()  # the time left is judged without this step, at which all is measured, and twice
                    self.step += 1
                    bar.update()
                    self.seconds = resumed_seconds + time.monotonic() - began
                    due = time.monotonic() >= next_save or self._is_due(self.config.checkpoint.every_steps)
                    if due or requests.save or requests.stop:
                        self._save(folder, recorder)
                        on_save()
                        requests.saved()
                        next_save = time.monotonic() + pause
                    if requests.stop:
                        raise Interrupted(requests.stop)
            if self.config.checkpoint.keep:  # before the rows of the end, which a longer run does not have
                self._save(folder, recorder)
            recorder.confirm()
            self._evaluate(recorder)
            recorder.sync()
            return "done"
        finally:
            recorder.close()

    # --- one step ------------------------------------------------------------------------------------------------

    def _train_step(self, recorder: Recorder) -> bool:
        """One update and all that is measured around it; False where the loss is not finite any more."""
        if self._is_due(self.config.evaluation.every):
            self._evaluate(recorder)
        x, y = self.batches[self.step]
        measured = {
            name: quantity for name, (schedule, quantity) in self.quantities.items() if schedule.is_due(self.step)
        }

        self.optimizer.zero_grad()
        with nullcontext() if measured else self.watcher.pause():  # to note a pass is to copy all state
            outputs = self.model(x)
        loss = self.loss_fn(outputs, y)
        loss.backward()  # type: ignore[no-untyped-call]

        recorded = self._is_due(self.config.record_every)
        if not (measured or recorded):
            self.optimizer.step()
            return True

        value = loss.item()
        finite = math.isfinite(value)
        lr = self.optimizer.param_groups[0]["lr"]
        if recorded or not finite:
            share = float(correct(outputs.detach(), y, self.dataset.task) / len(y))
            row = {"step": self.step, "epoch": self.batches.epoch(self.step)}
            recorder.write("training", [row | {"loss": value, "accuracy": share, "lr": lr}])
        if not finite:
            return False
        recorder.confirm()  # the loss has stayed finite since
        decay = {p: group["weight_decay"] for group in self.optimizer.param_groups for p in group["params"]}
        step = Step(self.step, x, y, value, lr, lambda: self.batches[self.step + 1][0], decay)
        with ExitStack() as stack:
            rows = {name: stack.enter_context(quantity.observe(step)) for name, quantity in measured.items()}
            self.optimizer.step()
        for table, found in rows.items():
            recorder.write(table, ({"step": self.step, **row} for row in found))
        return True

    def _evaluate(self, recorder: Recorder) -> None:
        settings = self.config.evaluation
        if settings.every is None:
            return
        splits = {"test": self.dataset.test} | ({"train": self.dataset.train} if settings.train else {})
        for name, split in splits.items():
            loss, share = evaluate(self.model, self.dataset, split, settings.batch_size)
            recorder.write("evaluation", [{"step": self.step, "split": name, "loss": loss, "accuracy": share}])

    def _is_due(self, every: int | None) -> bool:
        return every is not None and self.step % every == 0

    # --- between steps -------------------------------------------------------------------------------------------

    def _save(self, folder: Path, recorder: Recorder) -> None:
        random = [torch.get_rng_state()]
        if self.device.type == "cuda":
            random.append(torch.cuda.get_rng_state(self.device))
        own = {"step": self.step, "seconds": self.seconds, "random": random, "data": self.dataset.checksum}
        state = own | recorder.sync()
        weights = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        checkpoint.save(folder, state | weights)

    def _resume(self, folder: Path) -> Recorder:
        """Take up the newest checkpoint that is usable; otherwise start anew."""
        for state in checkpoint.generations(folder):
            if state.get("data", self.dataset.checksum) != self.dataset.checksum:  # earlier versions did not note it
                raise UserError(
                    f"the data {self.dataset.label} are not those that {folder} was trained on up to step "
                    f"{state['step']}; bring these back, or overwrite=true starts the run anew"
                )
            recorder = Recorder(folder, self.tables, state["offsets"])
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            torch.set_rng_state(state["random"][0])
            if self.device.type == "cuda":
                torch.cuda.set_rng_state(state["random"][1], self.device)
            self.step, self.seconds = state["step"], state["seconds"]
            return recorder
        return Recorder(folder, self.tables)

    def _quantity(self, name: str, schedule: Schedule) -> tuple[Schedule, Quantity]:
        if not name.isidentifier() or name in (TRAINING.name, EVALUATION.name):
            raise UserError(f"measure.{name} is the name of a table: letters, digits and _, and none that is taken")
        quantity = QUANTITIES.build(_quantity(name, schedule), model=self.model, loss_fn=self.loss_fn)
        if lacking := [part for part in ("table", "observe", "close") if not hasattr(quantity, part)]:
            raise UserError(f"measure.{name}: {type(quantity).__name__} lacks {', '.join(lacking)}")
        return schedule, quantity


def _quantity(table: str, schedule: Schedule) -> dict[str, Any]:
    """The name and options of a quantity; by default a table is called after what it holds."""
    options = schedule.options
    return {"name": options.pop("quantity", table), **options}


def _located(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A data set's settings with its root found: a relative one starts from $ICS_DATA, by default `data`."""
    located = dict(settings)
    if isinstance(located.get("root"), str):
        located["root"] = str(Path(os.environ.get(DATA_ROOT, "data")) / as_path(located["root"]))
    return located
