"""`ShiftProbe`: internal covariate shift (Santurkar et al. 2018, Definition 2.1) in anyone's training loop.

For every layer i, with the same batch (x, y):

    G_i  = ∇_{W_i} L(W_1ᵗ, …, W_kᵗ; x, y)
    G'_i = ∇_{W_i} L(W_1ᵗ⁺¹, …, W_{i−1}ᵗ⁺¹, W_iᵗ, W_{i+1}ᵗ, …, W_kᵗ; x, y)

G_i is what the training pass left in `.grad`. G'_i takes a forward pass in which all that comes before layer i has its
updated value and all the rest its old value, and a backward pass that goes no deeper than layer i. The definition
(`ics.shift.definition`) costs k full passes; `ics.shift.hybrids` computes the same bits in about a third of that.
"""

import warnings
from collections.abc import Collection, Hashable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ics.shift import definition, diagnosis, hybrids
from ics.shift.errors import ProbeError
from ics.shift.hybrids import survey
from ics.shift.layers import Layer, Params, find_layers, flat, merged, select_layers
from ics.shift.metrics import METRICS, compare
from ics.shift.passes import LossFunction, Passes, PassWatcher, TrainingPass
from ics.shift.replay import Plan
from ics.shift.state import Hold, same_bits

Noise = Literal["same", "fresh"]
Verify = Literal["first", "always", "never"]

SURVEYS = 3
"""A model whose control flow changes at random is surveyed anew this many times before the definition takes over."""


@dataclass(frozen=True)
class LayerShift:
    """The internal covariate shift of one layer at one step.

    Attributes:
        layer_index: 1-based place in the order of execution.
        layer: qualified name of the module.
        l2: ‖G − G'‖₂, Definition 2.1.
        cosine: cos∠(G, G'); NaN where a gradient is zero.
        relative_l2: ‖G − G'‖₂ / ‖G‖₂.
        grad_norm: ‖G‖₂.
        shifted_grad_norm: ‖G'‖₂.
    """

    layer_index: int
    layer: str
    l2: float
    cosine: float
    relative_l2: float
    grad_norm: float
    shifted_grad_norm: float


class Observation:
    """What `ShiftProbe.observe` found; filled when its `with` block ends.

    Attributes:
        rows: one `LayerShift` per measured layer, in order of execution.
        gradients: with `keep_gradients=True`, layer name → (G, G'), in the weight's shape (with `params="all"`: one
            vector of all the module's parameters); otherwise empty.
    """

    def __init__(self) -> None:
        self.rows: list[LayerShift] = []
        self.gradients: dict[str, tuple[Tensor, Tensor]] = {}


class ShiftProbe:
    """Measures, around an optimizer's step, how much the update of the earlier layers moves each layer's gradient.

    Measuring changes nothing: parameters, buffers, attributes, `.grad`, optimizer state and random numbers are
    afterwards, bit for bit, what they would have been without it.

    The first measurement, and the first after a change of the model, computes every layer twice: by the definition
    (`ics.shift.definition`) and by a replay that skips what lies before the layer. Layers with the same bits are
    replayed from then on; the others are measured by the definition, and a warning names them. A measurement whose
    training pass does not repeat itself gives no rows but an error that names the cause.

    Args:
        model: any `nn.Module` that is called as `model(x)`. Convolutions and linear modules with a trainable weight are
            its measurable layers; all other parameters count where the forward pass first uses them.
        loss_fn: `loss_fn(model(x), y)` → scalar tensor.
        layers: which layers to measure, by 1-based index in order of execution or by qualified name; None means all.
        noise: "same": G' sees the random draws (dropout, noise) that G saw; "fresh": those that the next forward pass
            will see.
        params: W_i is the module's "weight", or "all" of its parameters together.
        verify: when layers are also computed by the definition: "first", "always" or "never".

    Raises:
        ProbeError: the model is compiled, scripted or wrapped for parallel training, or an option is unknown.

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
        layers: Sequence[int | str] | None = None,
        noise: Noise = "same",
        params: Params = "weight",
        verify: Verify = "first",
    ) -> None:
        _refuse_wrapped(model)
        _one_of("noise", noise, ("same", "fresh"))
        _one_of("params", params, ("weight", "all"))
        _one_of("verify", verify, ("first", "always", "never"))
        self.model = model
        self.loss_fn = loss_fn
        self._wanted = layers
        self._fresh = noise == "fresh"
        self._params: Params = params
        self._verify = verify
        self._watcher: PassWatcher | None = PassWatcher.of(model, loss_fn)
        self._order: list[nn.Parameter] = []
        self._structure: Structure | None = None
        self._ways: dict[Hashable, Way] = {}
        self._way: Way | None = None

    @property
    def layers(self) -> list[Layer]:
        """The measured layers, each with `.index` and `.name`, as of the last measurement."""
        if self._way is None:
            raise ProbeError("the layers are known after the first measurement; use probe.observe(x, y) first")
        return self._way.layers

    def close(self) -> None:
        """Remove every hook from the model."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None

    def __enter__(self) -> "ShiftProbe":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextmanager
    def observe(self, x: Any, y: Any, keep_gradients: bool = False) -> Iterator[Observation]:
        """Measure around an update. Enter after `loss.backward()`, step the optimizer inside.

        Args:
            x: the batch the gradients come from, as the model takes it: a tensor, a tuple (`model(*x)`) or a dict
                (`model(**x)`).
            y: its targets, as `loss_fn` takes them.
            keep_gradients: keep every layer's G and G' as tensors.

        Yields:
            An `Observation`, empty inside the block and filled after it. It stays empty if the block raises.

        Raises:
            ProbeError: no forward pass or no gradients came before; there is no measurable layer, or a wanted one does
                not exist; the loss is not a scalar; the training pass, run again, gives other gradients.
        """
        watcher = self._watcher
        if watcher is None:
            raise ProbeError("the probe is closed; make a new one")
        training_pass = watcher.learn()
        gradients = {
            p: p.grad.detach().clone() for p in self.model.parameters() if p.requires_grad and p.grad is not None
        }
        if not gradients:
            raise ProbeError("no parameter has a gradient; call loss.backward() before probe.observe(x, y)")
        before = watcher.hold((x, y))
        observation = Observation()
        with watcher.pause():  # an update may run passes of its own
            yield observation
            measurement = _Measurement(watcher, training_pass, before, self.loss_fn, x, y, gradients, self._fresh)
            shifted = self._measure(measurement)
            self._fill(observation, shifted, gradients, keep_gradients)

    # --- the measurement -----------------------------------------------------------------------------------------

    def _measure(self, measurement: "_Measurement") -> dict[Layer, Tensor | None]:
        """G' of every layer, in order of execution."""
        structure = Structure.of(self.model, measurement.x, measurement.gradients)
        if structure != self._structure:
            if self._structure is not None:
                measurement.watcher.forget()
            self._structure, self._way = structure, None
            self._ways.clear()
        for _ in range(SURVEYS):
            way = self._way or self._survey(measurement)
            if self._verify == "always" or (self._verify == "first" and way.slow is None):
                break
            with measurement.passes() as passes:
                shifted = self._by_replay(passes, measurement, way)
            if shifted is not None:
                self._check_first(measurement, way, shifted)
                return shifted
            self._way = None  # the model took another way than the last time
        return self._prove(measurement, way)

    def _survey(self, measurement: "_Measurement") -> "Way":
        with measurement.passes() as passes:
            plan = survey(passes, measurement.x)
        self._order = merged(self._order, plan.order, self.model)
        layers = select_layers(find_layers(self.model, self._order, self._params), self._wanted)
        key = (tuple((id(call.module), call.policy) for call in plan.calls), tuple(map(id, plan.order)))
        known = self._ways.get(key)
        self._way = self._ways[key] = Way(plan, layers, known.slow if known else None)
        return self._way

    def _by_replay(self, passes: Passes, measurement: "_Measurement", way: "Way") -> dict[Layer, Tensor | None] | None:
        """Layers that are proven by replay, the others by the definition; None if the model took another way."""
        slow = way.slow or frozenset()
        fast = [layer for layer in way.layers if layer.name not in slow]
        try:
            found = dict(hybrids.shifted_gradients(passes, way.plan, *measurement.call, fast)) if fast else {}
        except ProbeError:
            raise
        except Exception:
            return None
        found |= dict(measurement.by_definition(passes, [layer for layer in way.layers if layer.name in slow]))
        return {layer: found[layer] for layer in way.layers}

    def _prove(self, measurement: "_Measurement", way: "Way") -> dict[Layer, Tensor | None]:
        """Every layer by the definition, and whether replay gives the same bits."""
        exact = measurement.check_repeats()
        with measurement.passes() as passes:
            shifted = dict(measurement.by_definition(passes, way.layers))
        replayed: dict[Layer, Tensor | None] = {}
        with measurement.passes() as passes, suppress(Exception):
            for layer, gradient in hybrids.shifted_gradients(passes, way.plan, *measurement.call, way.layers):
                replayed[layer] = gradient
        proven = {layer.name for layer, g in replayed.items() if _agree(g, shifted[layer], exact)}
        slow = frozenset(layer.name for layer in way.layers) - proven
        if slow and slow != way.slow:
            names = ", ".join(sorted(slow))
            warnings.warn(
                f"measured by the definition, at a full pass each, since a shorter way has other bits: {names}",
                stacklevel=6,
            )
        if passes.has_moved:  # an update of nothing proves nothing
            way.slow = slow
        return shifted

    def _check_first(self, measurement: "_Measurement", way: "Way", shifted: dict[Layer, Tensor | None]) -> None:
        """Before the very first layer nothing has moved: G' must be G, or the two passes were not the same."""
        trainable = {p for p in self.model.parameters() if p.requires_grad}
        for layer in way.layers:
            if not (layer.before & trainable) and not self._fresh:
                gradient = measurement.gradient(layer)
                if not _agree(gradient, shifted[layer], exact=False):
                    measurement.check_repeats()  # raises, with the cause
                return

    def _fill(
        self,
        observation: Observation,
        shifted: dict[Layer, Tensor | None],
        gradients: dict[nn.Parameter, Tensor],
        keep: bool,
    ) -> None:
        """Fetch all values from the device at once."""
        pairs = {}
        for layer, other in shifted.items():
            gradient = _gradient(layer, gradients)
            zero = torch.zeros_like(flat([p.detach() for p in layer.parameters]))
            pairs[layer] = (zero if gradient is None else gradient, zero if other is None else other)
        metrics = [compare(*pair) for pair in pairs.values()]
        table = torch.stack([values.to(metrics[0].device) for values in metrics]).tolist()
        observation.rows = [
            LayerShift(layer.index, layer.name, **dict(zip(METRICS, values, strict=True)))
            for layer, values in zip(pairs, table, strict=True)
        ]
        observation.gradients = {layer.name: pair for layer, pair in pairs.items()} if keep else {}


@dataclass
class Way:
    """A way through the model: its plan, the measured layers on it, and which of them replay cannot measure.

    Attributes:
        plan: from a survey.
        layers: in order of execution.
        slow: names of those that only the definition measures; None before that is known.
    """

    plan: Plan
    layers: list[Layer]
    slow: frozenset[str] | None


@dataclass(frozen=True)
class Structure:
    """What a way through the model is found and proven for; another one is found when this is another.

    The objects themselves are kept, so that no new one can take an old one's id.
    """

    ids: tuple[Hashable, ...]
    objects: list[Any] = field(compare=False)

    @classmethod
    def of(cls, model: nn.Module, x: Any, gradients: Collection[nn.Parameter]) -> "Structure":
        """That of a model and a kind of batch: modules, modes, hooks, parameters, and which of these have gradients."""
        modules, parameters = list(model.modules()), list(model.parameters())
        hooks = [hook for m in modules for hook in (*m._forward_pre_hooks.values(), *m._forward_hooks.values())]
        leaves = [leaf for leaf in tree_leaves(x) if isinstance(leaf, Tensor)]
        return cls(
            (
                *((id(m), m.training) for m in modules),
                *map(id, hooks),
                *((id(p), p.requires_grad, p.shape, p.dtype, p in gradients) for p in parameters),
                *((leaf.ndim, leaf.dtype, leaf.layout) for leaf in leaves),
            ),
            [modules, hooks, parameters],
        )


@dataclass
class _Measurement:
    """One step's batch, gradients and state."""

    watcher: PassWatcher
    training_pass: TrainingPass
    before: Hold
    loss_fn: LossFunction
    x: Any
    y: Any
    gradients: dict[nn.Parameter, Tensor]
    fresh: bool

    @property
    def call(self) -> tuple[LossFunction, Any, Any]:
        return self.loss_fn, self.x, self.y

    def passes(self, fresh: bool | None = None) -> Passes:
        fresh = self.fresh if fresh is None else fresh
        return Passes(self.watcher, self.training_pass, (self.x, self.y), self.before, fresh)

    def gradient(self, layer: Layer) -> Tensor | None:
        return _gradient(layer, self.gradients)

    def by_definition(self, passes: Passes, layers: Sequence[Layer]) -> Iterator[tuple[Layer, Tensor | None]]:
        return definition.shifted_gradients(passes.start, lambda: passes.loss(*self.call), layers)

    def check_repeats(self) -> bool:
        """Run the training pass again and see that it gives the gradients that it gave; whether to the bit.

        Raises:
            ProbeError: it does not, and why.
        """
        watcher = self.watcher
        with self.passes(fresh=False) as passes:
            for watcher.loss_autocast in (True, False) if self.training_pass.autocast else (True,):
                repeated = self._repeat(passes)
                passes.look()
                away = diagnosis.distance(self.gradients, repeated)
                if away <= diagnosis.UNREPEATED:
                    break
            else:
                watcher.loss_autocast = True
                watcher.forget()
                raise ProbeError(diagnosis.cause(passes, self.training_pass, *self.call, self.gradients))
            if self.training_pass.whole and not watcher.hold_statistics:
                again = self._repeat(passes, statistics=False)
                if diagnosis.distance(repeated, again) > 0:
                    idle = watcher.idle()
                    watcher.hold_statistics = True
                    held = self.training_pass.hold.values.values()
                    watcher.grow(place for place, _ in held if id(place.thing) in idle)
            return away == 0

    def _repeat(self, passes: Passes, statistics: bool = True) -> dict[nn.Parameter, Tensor]:
        passes.start(moved=(), statistics=statistics)
        loss = passes.loss(*self.call)
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
        return {p: p.grad.detach().clone() for p in passes.new if p.grad is not None}


def _gradient(layer: Layer, gradients: dict[nn.Parameter, Tensor]) -> Tensor | None:
    """G_i as it was when `observe` was entered; None where the layer took no part in the loss."""
    if not any(p in gradients for p in layer.parameters):
        return None
    return flat([gradients[p] if p in gradients else torch.zeros_like(p) for p in layer.parameters])


def _agree(one: Tensor | None, other: Tensor | None, exact: bool) -> bool:
    """Whether two gradients are the same: to the bit, or, where kernels do not repeat themselves, within rounding."""
    if one is None or other is None:
        there = other if one is None else one
        return there is None or not bool((there != 0).any())
    if same_bits(one, other):
        return True
    away = torch.linalg.vector_norm(one - other) / torch.linalg.vector_norm(one)
    return not exact and bool(away <= diagnosis.UNREPEATED)


def _one_of(option: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise ProbeError(f"{option}={value!r} is unknown; known: {', '.join(known)}")


def _refuse_wrapped(model: nn.Module) -> None:
    if not isinstance(model, nn.Module):
        raise ProbeError(f"the model must be a torch.nn.Module, not {type(model).__name__}")
    for name, module in model.named_modules():
        where = f"its module {name!r}" if name else "the model"
        if isinstance(module, torch.jit.ScriptModule):
            raise ProbeError(
                f"{where} is a TorchScript module, whose calls cannot be replayed; use the Python original"
            )
        if type(module).__name__ == "OptimizedModule" or getattr(module, "_compiled_call_impl", None) is not None:
            raise ProbeError(
                f"{where} is compiled, and its calls cannot be replayed; give the probe the model from before "
                "torch.compile (model._orig_mod)"
            )
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            raise ProbeError(
                f"{where} is wrapped in {type(module).__name__}; give the probe the module inside "
                "(model.module) and the batch of one process"
            )
