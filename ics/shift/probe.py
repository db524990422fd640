"""`ShiftProbe`: internal covariate shift (Santurkar et al. 2018, Definition 2.1) in anyone's training loop.

G_i is what the training pass left in `.grad`, or is computed anew. G'_i takes a forward pass in which all that comes
before layer i has its updated value and all the rest its old value, and a backward pass that goes no deeper than layer
i. The definition (`ics.shift.definition`) costs k full passes; `ics.shift.replay` computes the same bits in about a
third of that.
"""

import signal
import traceback
import warnings
from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ics.shift import definition, replay
from ics.shift.attach import Attachment, Closure
from ics.shift.diagnosis import agree, farthest, repeated_as
from ics.shift.errors import ProbeError
from ics.shift.layers import Candidate, Kinds, Layer, Params, candidates, find_layers, merged, of_layer, select_layers
from ics.shift.metrics import METRICS, compare
from ics.shift.observation import LayerShift, Observation
from ics.shift.origins import origins as find_origins
from ics.shift.passes import Batch, Gradients, LossFunction, Passes, Start, call_of
from ics.shift.replay import Recording
from ics.shift.state import Hold, places, same_bits
from ics.shift.watcher import PassWatcher, tensors_in

Noise = Literal["same", "fresh"]
Verify = Literal["first", "always", "never"]
Moved = Literal["all", "weights"]
Source = Literal["loop", "recompute"]

_SPLIT = ("torch.distributed.fsdp", "torch.distributed.pipelining", "torch.distributed.tensor")


class ShiftProbe(AbstractContextManager["ShiftProbe"]):
    """Measures, around an optimizer's step, how much the update of the earlier layers moves each layer's gradient.

    Measuring changes nothing: parameters, buffers, attributes, `.grad`, optimizer state and random numbers are
    afterwards, bit for bit, what they would have been without it.

    The first measurement, and the first after a change of the model, computes every layer twice: by the definition
    (`ics.shift.definition`) and by a replay that skips what lies before the layer. Layers with the same bits are
    replayed from then on; the others are measured by the definition, and a warning names them. A measurement whose
    training pass does not repeat itself gives no rows but an error that names the cause.

    Args:
        model: any `nn.Module` that is called as `model(x)`; or a `DistributedDataParallel`, with its own part of the
            batch on every rank: then G and G' are averaged over the ranks. Weight matrices are its measurable layers;
            all other parameters count where the forward pass first uses them.
        loss_fn: `loss_fn(model(x), y)` → scalar tensor.
        layers: which layers to measure, by 1-based index in order of execution or by the name of a layer, of a module
            (all layers inside) or of any parameter; one or several of them; None means all.
        noise: "same": G' sees the random draws (dropout, noise) that G saw; "fresh": those that the next forward pass
            will see.
        params: W_i is the module's "weight", or "all" of its parameters together.
        moved: which earlier parameters have their new values in G': "all", γ, β and biases too, or only "weights",
            those that are some layer's W_i.
        penalty: λ ≥ 0; G and G' are the gradients of L + λ/2·‖W‖², the penalty being over all W_i (that of any other
            parameter has no derivative with respect to W_i). It leaves ‖G − G'‖₂ alone but for rounding.
        kinds: a class of modules or several whose weights are the measurable layers, `nn.Embedding` and norms for
            example; None: every module with a weight matrix.
        gradients: G is what the "loop" has in `.grad`; or "recompute": it is computed anew, at one more pass, as the
            gradient of `loss_fn`, whatever has been scaled, clipped or cleared.
        verify: when layers are also computed by the definition: "first", "always" or "never".

    Raises:
        ProbeError: the model is compiled, scripted or wrapped for another kind of parallel training, or an option is
            unknown.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> x, y = torch.randn(8, 2), torch.randn(8, 1)
        >>> with ShiftProbe(model, nn.functional.mse_loss) as probe:
        ...     loss = nn.functional.mse_loss(model(x), y)
        ...     loss.backward()
        ...     with probe.observe(x, y) as shift:
        ...         optimizer.step()
        >>> [(row.layer, row.l2 > 0) for row in shift.rows]
        [('0', False), ('2', True)]
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFunction,
        layers: int | str | Sequence[int | str] | None = None,
        noise: Noise = "same",
        params: Params = "weight",
        verify: Verify = "first",
        moved: Moved = "all",
        penalty: float = 0.0,
        kinds: type[nn.Module] | Kinds = None,
        gradients: Source = "loop",
    ) -> None:
        self.ranks: Any = None
        if isinstance(model, nn.parallel.DistributedDataParallel):
            model, self.ranks = model.module, model.process_group
        _refuse_wrapped(model)
        given = {"noise": noise, "params": params, "verify": verify, "moved": moved, "gradients": gradients}
        for (option, value), kind in zip(given.items(), (Noise, Params, Verify, Moved, Source), strict=True):
            if value not in get_args(kind):
                raise ProbeError(f"{option}={value!r} is unknown; known: {', '.join(get_args(kind))}")
        if not 0 <= penalty < float("inf"):
            raise ProbeError(f"penalty={penalty!r} is no coefficient of a penalty; take 0 or more")
        self.model, self.loss_fn = model, loss_fn
        self._wanted = [layers] if isinstance(layers, int | str) else layers
        if self._wanted is not None and not len(self._wanted):
            raise ProbeError("layers=[] leaves nothing to measure; None means all layers")
        self._params, self._verify = params, verify
        self._fresh = noise == "fresh"
        self._moved, self._penalty = moved, penalty
        self._kinds: Kinds = [kinds] if isinstance(kinds, type) else kinds
        if not all(isinstance(kind, type) for kind in self._kinds or ()):
            raise ProbeError(f"kinds={kinds!r} are no classes of modules; take nn.Linear, not its name")
        self.recomputes = gradients == "recompute" or self.ranks is not None
        self._watcher: PassWatcher | None = PassWatcher.of(model, loss_fn)
        self._attachment: Attachment | None = None
        self._structure: Any = None
        self._order: list[nn.Parameter] = []
        self._layers: list[Layer] = []
        self._candidates: list[Candidate] = []
        self._weights: set[nn.Parameter] = set()  # W_1 … W_k
        self._is_rounded = False  # whether passes give other bits when they are run again, and it was said
        self._notices: list[str] = []  # to be given once the measurement is over: a warning may be made an error
        self._habits: set[Any] = set()
        self._changing: set[int] = set()  # state that passes were seen to change when the layers were proven
        self._slow: dict[Hashable, frozenset[str]] = {}  # way through the model → layers that replay cannot measure

    @property
    def layers(self) -> list[Layer]:
        """The measured layers, each with `.index` and `.name`, as of the last measurement."""
        if not self._layers:
            raise ProbeError("the layers are known after the first measurement; use probe.observe(x, y) first")
        return self._layers

    @property
    def unmeasured(self) -> list[str]:
        """The trainable parameters of two and more dimensions that belong to no measurable layer."""
        weights = self._weights if self.layers else set()
        own = self.model.named_parameters()
        return [name for name, p in own if p.requires_grad and p.ndim > 1 and p not in weights]

    def close(self) -> None:
        """Remove every hook."""
        self.detach()
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None

    def __exit__(self, *exc: object) -> None:
        self.close()

    def attach(
        self,
        optimizer: torch.optim.Optimizer,
        every: int = 1,
        to: Any = print,
        closure: Closure | None = None,
        calls: nn.Module | None = None,
    ) -> Attachment:
        """Measure by itself from here on, at every step of the optimizer that is due; the loop is left as it is.

        The batch is noted where the loop calls the model, y where it calls the loss: `probe.loss(outputs, y)`, or a
        `loss_fn` that is a module; where neither is seen, y is None (`loss_fn=lambda outputs, _: outputs.loss`). Over
        the micro-batches of accumulated gradients G and G' are sums. G is what the backward passes leave in `.grad`,
        whatever the loop does to it afterwards; where that is not the loss's gradient, for the loss was scaled or
        divided, G is computed anew as with `gradients="recompute"`, and a warning says so once. A step that cannot be
        measured, such as one with other terms in its loss, gives no rows, and a warning says why.

        Args:
            optimizer: whose step is the update.
            every: steps from one that is measured to the next; the first one is.
            to: takes the rows of a step, dictionaries with `step` and the fields of `LayerShift`: a function of the
                list, a list, the path of a CSV file, a TensorBoard `SummaryWriter`, a run of Weights & Biases.
            closure: computes the whole loss of the step, calling the model as often as it likes; for a loop with
                several losses or calls. It is run again by the measurement, after the step.
            calls: the module that the loop calls in the model's stead: `torch.compile(model)`.

        Raises:
            ProbeError: an option is of no use.
        """
        self.detach()
        self._attachment = Attachment(self, optimizer, every, to, closure, calls if calls is not None else self.model)
        return self._attachment

    def detach(self) -> None:
        """Take back `attach`."""
        if self._attachment is not None:
            self._attachment.detach()

    def loss(self, outputs: Any, y: Any) -> Tensor:
        """`loss_fn(outputs, y)`, seen by what `attach` has attached."""
        loss = self.loss_fn(outputs, y)
        if self._attachment is not None:
            self._attachment.note_loss(outputs, y, loss)
        return loss

    @contextmanager
    def observe(self, x: Any, y: Any, keep_gradients: bool = False, origins: bool = False) -> Iterator[Observation]:
        """Measure around an update. Enter after `loss.backward()`, step the optimizer inside.

        Args:
            x: the batch the gradients come from, as the model takes it: a tensor or any one object (`model(x)`), a
                tuple of arguments (`model(*x)`), or a dict of them (`model(**x)`).
            y: its targets, as `loss_fn` takes them.
            keep_gradients: keep every layer's G and G' as tensors.
            origins: find out as well which earlier block's update moved each layer's gradient, at about k/2 more passes
                and as many for the part that is linear in the update.

        Yields:
            An `Observation`, empty inside the block and filled after it. It stays empty if the block raises.

        Raises:
            ProbeError: no forward pass or no gradients came before; there is no measurable layer, or a wanted one does
                not exist; the loss is not a scalar; the training pass, run again, gives other gradients.
        """
        self.check_model()
        noted = self.watcher.last_pass()
        start = self.begin([Batch(call_of(self.model, x, noted), y, noted)])
        if not (start.gradients or self.recomputes):
            raise ProbeError(
                "no parameter has a gradient; call loss.backward() before probe.observe(x, y), and step the optimizer "
                "inside, not in hooks of the backward pass"
            )
        observation = Observation()
        with self.watcher.pause():  # an update may run passes of its own
            yield observation
            self.finish(start, observation, keep_gradients, self.recomputes, origins)

    @property
    def watcher(self) -> PassWatcher:
        """The model's watcher."""
        if self._watcher is None:
            raise ProbeError("the probe is closed; make a new one")
        return self._watcher

    def check_model(self) -> None:
        """Raise an error if the model is of a kind that cannot be measured, which it may have become."""
        _refuse_wrapped(self.model)

    def begin(self, batches: Sequence[Batch]) -> Start:
        """All that is needed from before the update."""
        own = (p for p in self.model.parameters() if p.requires_grad)
        gradients = {p: p.grad.detach().clone() for p in own if p.grad is not None}
        for batch in batches:
            batch.given = batch.given or Hold(places([batch.call.args, batch.call.keywords, batch.y]))
        return Start(list(batches), gradients)

    def finish(
        self,
        start: Start,
        observation: Observation,
        keep_gradients: bool = False,
        recompute: bool = False,
        origins: bool = False,
    ) -> None:
        """Measure after the update; over several batches G and G' are sums, as in `.grad`."""
        if origins and self.ranks is not None:
            raise ProbeError("origins=True measures one process; give the probe the module inside (model.module)")
        found: dict[str, tuple[Layer, Tensor, Tensor]] = {}
        refused: ProbeError | None = None
        start.recomputed.clear()
        try:
            with self.watcher.pause():
                for batch in start.batches:
                    for layer, g, shifted in self._measure(batch, start, recompute, observation if origins else None):
                        _, *sums = found.get(layer.name, (layer, 0, 0))
                        found[layer.name] = layer, sums[0] + g, sums[1] + shifted
        except ProbeError as error:
            refused = error
        except Exception as error:  # the user's code, in a pass that the loop did not run
            _raise_interrupt(error)
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            refused = ProbeError(f"the training pass cannot be run again ({what})")
            refused.__cause__ = error
        if self.ranks is not None:  # all of them or none: one that waited for another would wait for ever
            ready = torch.tensor(float(refused is None), device=next(self.model.parameters()).device)
            torch.distributed.all_reduce(ready, torch.distributed.ReduceOp.MIN, self.ranks)
            if refused is None and not ready:
                refused = ProbeError("another process cannot measure it, and says why")
        if refused is not None:
            raise refused
        pairs = {
            layer: (self._finished(layer, g, start), self._finished(layer, shifted, start))
            for layer, g, shifted in found.values()
        }
        metrics = [compare(*pair) for pair in pairs.values()]
        table = torch.stack([values.to(metrics[0].device) for values in metrics]).tolist()  # fetched all at once
        observation.rows = [
            LayerShift(layer.index, layer.name, **dict(zip(METRICS, values, strict=True)))
            for layer, values in zip(pairs, table, strict=True)
        ]
        observation.gradients = {layer.name: pair for layer, pair in pairs.items()} if keep_gradients else {}
        while self._notices:
            warnings.warn(self._notices.pop(0), stacklevel=3)

    # --- the measurement -----------------------------------------------------------------------------------------

    def _measure(
        self, batch: Batch, start: Start, recompute: bool, observation: Observation | None
    ) -> list[tuple[Layer, Tensor, Tensor]]:
        """G and G' of every layer, in order of execution; the shift's origins go to the observation."""
        with Passes(
            self.watcher, batch.training_pass, self.loss_fn, batch.call, batch.y, batch.given, self._fresh
        ) as passes:
            # Every time, since a loop may compute its loss otherwise from some step on.
            repeated = self._repeated(passes, batch, start if recompute else None)
            gradients = repeated if recompute else start.gradients
            self._survey((batch.call.args, batch.call.keywords), gradients)
            moving = frozenset(p for p in passes.new if self._moved == "all" or p in self._weights)
            recording = self._record(passes, moving)
            self._check_seen(recording, gradients)
            slow = self._slow.get(recording.way)
            shifted: dict[Layer, Tensor] | None = None
            if self._verify == "never" or (self._verify == "first" and slow is not None):
                shifted = self._by_replay(passes, recording, slow or frozenset(), repeated)
            pairs_of_g = ((of_layer(layer, gradients), of_layer(layer, repeated)) for layer in self._layers)
            is_repeated = all(agree(*pair) for pair in pairs_of_g)
            if shifted is None or not is_repeated:
                shifted = self._prove(passes, moving, gradients)
            pairs = {layer: (of_layer(layer, gradients), shifted[layer]) for layer in self._layers}
            if observation is not None:
                recording = replay.record(passes, self._habits, frozenset())
                slow = self._slow.get(recording.way)
                observation.origins = list(find_origins(passes, self._order, moving, pairs, recording, slow))
        return [(layer, *pair) for layer, pair in pairs.items()]

    def _survey(self, inputs: Any, gradients: Gradients) -> None:
        """Find anew what may be a layer, and prove it anew, where the model is another than it was."""
        modules = list(self.model.modules())
        structure = (
            {module: module.training for module in modules},
            [hook for m in modules for hook in (*m._forward_pre_hooks.values(), *m._forward_hooks.values())],
            {p: (p.requires_grad, p.shape, p.dtype, p in gradients) for p in self.model.parameters()},
            [(leaf.ndim, leaf.dtype, leaf.layout) for leaf in tensors_in(inputs)],
        )
        if structure != self._structure or not self._changing >= self._now_changing:
            self._structure = structure
            self._slow.clear()
            self._candidates = candidates(self.model, self._params, self._kinds, self._wanted)
            self._weights = {p for candidate in self._candidates for p in candidate.own}

    @property
    def _now_changing(self) -> set[int]:
        return {place.key for place in self.watcher.changing}

    def _record(self, passes: Passes, moving: frozenset[nn.Parameter]) -> Recording:
        recording = replay.record(passes, self._habits, moving)
        self._order = merged(self._order, recording.first_use, self.model)
        found = find_layers(self._order, self._candidates)
        layers = [replace(layer, before=layer.before & moving) for layer in found]
        self._layers = select_layers(layers, self._wanted, self.model)
        return recording

    def _check_seen(self, recording: Recording, gradients: Gradients) -> None:
        """Raise an error if a weight has a gradient although no pass was seen to use it."""
        names = {p: name for name, p in self.model.named_parameters()}
        for p, gradient in gradients.items():
            if p in self._weights and p not in recording.first_use and bool(gradient.any()):
                raise ProbeError(
                    f"{names[p]!r} has a gradient, but where the pass uses it was not seen: in another thread, outside "
                    "torch, or not in every pass; so what comes before which layer is unknown"
                )

    def _by_replay(
        self, passes: Passes, recording: Recording, slow: Collection[str], repeated: Gradients
    ) -> dict[Layer, Tensor] | None:
        """Layers that are proven by replay, the slow ones by the definition; None if the model went another way."""
        # Where nothing has moved before a layer, G' is the training pass's gradient.
        found = {layer: of_layer(layer, repeated) for layer in self._layers if not (self._fresh or layer.before)}
        moved = [layer for layer in self._layers if layer not in found]
        fast, rest = ([layer for layer in moved if (layer.name in slow) == is_slow] for is_slow in (False, True))
        try:
            found |= dict(replay.shifted_gradients(passes, recording, fast))
            return found | dict(definition.shifted_gradients(passes.start, passes.loss, rest))
        except Exception as error:  # whatever a skip has broken, the definition does without it
            _raise_interrupt(error)
            return None

    def _prove(self, passes: Passes, moving: frozenset[nn.Parameter], gradients: Gradients) -> dict[Layer, Tensor]:
        """Every layer by the definition; and which of them replay gives the same bits for."""
        repeated = repeated_as(gradients, passes)
        away = farthest(gradients, repeated)
        if away and not self._is_rounded:
            self._is_rounded = True
            self._notices.append(
                f"the training pass, run again, gives its gradients to within {away:.0e}, not to the bit (other "
                "kernels, such as are not deterministic, or state that cannot be held): G and G' differ by that, too"
            )
        recording = self._record(passes, moving)
        shifted = dict(definition.shifted_gradients(passes.start, passes.loss, self._layers))
        replayed = self._by_replay(passes, recording, (), repeated) or {}
        proven = {layer.name for layer, g in replayed.items() if agree(g, shifted[layer], exact=not away)}
        slow = frozenset(layer.name for layer in self._layers) - proven
        if slow and slow != self._slow.get(recording.way):
            names = ", ".join(sorted(slow))
            self._notices.append(
                f"measured by the definition, at a full pass each, since a shorter way has other bits: {names}"
            )
        self._changing = self._now_changing
        if any(not same_bits(passes.old[p], passes.new[p]) for p in passes.new):  # an update of nothing proves nothing
            self._slow[recording.way] = slow
        return shifted

    def _repeated(self, passes: Passes, batch: Batch, start: Start | None) -> Gradients:
        """The gradients of the training pass, run again; those that are computed anew are added up in `start`."""
        if start is not None:
            passes.check_batch()
        gradients = passes.repeat()
        passes.look()
        if start is None:
            return gradients
        if batch.loss is not None and not agree(passes.value, batch.loss.to(passes.value)):
            raise ProbeError(
                f"the loss was {float(batch.loss):.6g} in the loop and is {float(passes.value):.6g} here: it is not "
                "loss_fn(model(x), y) alone; give attach a closure"
            )
        for p, gradient in gradients.items():
            start.recomputed[p] = start.recomputed[p] + gradient if p in start.recomputed else gradient
        return gradients

    def _finished(self, layer: Layer, gradient: Tensor, start: Start) -> Tensor:
        """A layer's G or G', averaged over the ranks and with its penalty."""
        if self.ranks is not None:  # as DistributedDataParallel does: each part divided, then summed
            gradient = gradient / self.ranks.size()
            torch.distributed.all_reduce(gradient, group=self.ranks)
        if self._penalty:  # ∇_{W_i}(L + λ/2·‖W‖²) = ∇_{W_i} L + λW_iᵗ, the same vector in G and in G'
            before = start.batches[0].training_pass.hold
            gradient = gradient + self._penalty * of_layer(layer, {p: before.value(p) for p in layer.parameters})
        return gradient


def _raise_interrupt(error: BaseException | None) -> None:
    """Raise what a signal's handler (Ctrl-C, a time limit) has raised, be it that torch failed of it."""
    handlers = map(signal.getsignal, signal.valid_signals())
    codes = {getattr(getattr(handler, "__func__", handler), "__code__", None) for handler in handlers} - {None}
    while error is not None:
        frames = traceback.walk_tb(error.__traceback__)
        if isinstance(error, KeyboardInterrupt | SystemExit) or any(frame.f_code in codes for frame, _ in frames):
            raise error
        error = error.__context__


def _refuse_wrapped(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise ProbeError(f"the model must be a torch.nn.Module, not {type(model).__name__}")
    for name, module in model.named_modules():
        kind, why = type(module).__name__, ""
        if isinstance(module, torch.jit.ScriptModule):
            why = "is a TorchScript module, whose calls cannot be replayed; use the Python original"
        elif kind == "OptimizedModule" or getattr(module, "_compiled_call_impl", None) is not None:
            why = "is compiled; give the probe the model from before torch.compile (model._orig_mod)"
        elif isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            why = f"is wrapped in {kind}; give the probe the module inside (model.module) and the batch of one process"
        elif any(type(t).__module__.startswith(_SPLIT) for t in (module, *module.parameters(recurse=False))):
            why = f"is split over several devices ({kind}), so that no process has its layers whole; measure it unsplit"
        if why:
            raise ProbeError(f"its module {name!r} {why}" if name else f"the model {why}")
