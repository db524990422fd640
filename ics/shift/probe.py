"""`ShiftProbe`: internal covariate shift (Santurkar et al. 2018, Definition 2.1) in anyone's training loop.

For every layer i, with the same batch (x, y):

    G_i  = ∇_{W_i} L(W_1ᵗ, …, W_kᵗ; x, y)
    G'_i = ∇_{W_i} L(W_1ᵗ⁺¹, …, W_{i−1}ᵗ⁺¹, W_iᵗ, W_{i+1}ᵗ, …, W_kᵗ; x, y)

G_i is what the training pass left in `.grad`. G'_i takes a forward pass in which all that comes before layer i has its
updated value and all the rest its old value, and a backward pass that goes no deeper than layer i. The definition
(`ics.shift.definition`) costs k full passes; `ics.shift.replay` computes the same bits in about a third of that.
"""

import warnings
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ics.shift import definition, replay
from ics.shift.diagnosis import Gradients, agree, check_repeats
from ics.shift.errors import ProbeError
from ics.shift.layers import Layer, Params, find_layers, flat_gradient, merged, select_layers
from ics.shift.metrics import METRICS, compare
from ics.shift.origins import Origin
from ics.shift.origins import origins as find_origins
from ics.shift.passes import LossFunction, Passes
from ics.shift.replay import Recording
from ics.shift.watcher import PassWatcher, tensors_in

Noise = Literal["same", "fresh"]
Verify = Literal["first", "always", "never"]
Shifted = dict[Layer, Tensor | None]


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
        origins: with `origins=True`, what every cause did to every layer (`ics.shift.origins`); otherwise empty.
    """

    def __init__(self) -> None:
        self.rows: list[LayerShift] = []
        self.origins: list[Origin] = []
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
        self._structure: Structure | None = None
        self._order: list[nn.Parameter] = []
        self._layers: list[Layer] = []
        self._habits: set[Any] = set()
        self._slow: dict[
            Hashable, frozenset[str]
        ] = {}  # way through the model → layers that replay cannot measure on it

    @property
    def layers(self) -> list[Layer]:
        """The measured layers, each with `.index` and `.name`, as of the last measurement."""
        if not self._layers:
            raise ProbeError("the layers are known after the first measurement; use probe.observe(x, y) first")
        return self._layers

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
    def observe(self, x: Any, y: Any, keep_gradients: bool = False, origins: bool = False) -> Iterator[Observation]:
        """Measure around an update. Enter after `loss.backward()`, step the optimizer inside.

        Args:
            x: the batch the gradients come from, as the model takes it: a tensor, a tuple (`model(*x)`) or a dict
                (`model(**x)`).
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
            with Passes(watcher, training_pass, self.loss_fn, x, y, before, self._fresh) as passes:
                shifted = self._measure(passes, Structure.of(self.model, x, gradients), gradients)
                pairs = {i: (_or_zeros(i, _g(i, gradients)), _or_zeros(i, other)) for i, other in shifted.items()}
                if origins:
                    observation.origins = self._origins(passes, pairs)
            _fill(observation, pairs, keep_gradients)

    # --- the measurement -----------------------------------------------------------------------------------------

    def _measure(self, passes: Passes, structure: "Structure", gradients: Gradients) -> Shifted:
        """G' of every layer, in order of execution."""
        if structure != self._structure:
            if self._structure is not None:
                passes.watcher.forget()
            self._structure = structure
            self._slow.clear()
        recording = self._record(passes)
        slow = self._slow.get(recording.way)
        if self._verify == "never" or (self._verify == "first" and slow is not None):
            shifted = self._by_replay(passes, recording, slow or frozenset())
            if shifted is not None and self._is_sound(passes, shifted, gradients):
                return shifted
        return self._prove(passes, gradients)

    def _record(self, passes: Passes) -> Recording:
        recording = replay.record(passes, self._habits)
        self._order = merged(self._order, recording.order, self.model)
        self._layers = select_layers(find_layers(self.model, self._order, self._params), self._wanted)
        return recording

    def _by_replay(self, passes: Passes, recording: Recording, slow: Collection[str]) -> Shifted | None:
        """Layers that are proven by replay, the slow ones by the definition; None if the model went another way."""
        try:
            fast = [layer for layer in self._layers if layer.name not in slow]
            found = dict(replay.shifted_gradients(passes, recording, fast))
        except ProbeError:
            raise
        except Exception:  # whatever a skip has broken, the definition does without it
            return None
        rest = [layer for layer in self._layers if layer.name in slow]
        found |= dict(definition.shifted_gradients(passes.start, passes.loss, rest))
        return {layer: found[layer] for layer in self._layers}

    def _prove(self, passes: Passes, gradients: Gradients) -> Shifted:
        """Every layer by the definition; and which of them replay gives the same bits for."""
        exact = check_repeats(passes, gradients)
        recording = self._record(passes)
        shifted = dict(definition.shifted_gradients(passes.start, passes.loss, self._layers))
        replayed: Shifted = {}
        with suppress(Exception):
            replayed.update(replay.shifted_gradients(passes, recording, self._layers))
        proven = {layer.name for layer, g in replayed.items() if agree(g, shifted[layer], exact)}
        slow = frozenset(layer.name for layer in self._layers) - proven
        if slow and slow != self._slow.get(recording.way):
            names = ", ".join(sorted(slow))
            warnings.warn(
                f"measured by the definition, at a full pass each, since a shorter way has other bits: {names}",
                stacklevel=5,
            )
        if passes.has_moved:  # an update of nothing proves nothing
            self._slow[recording.way] = slow
        return shifted

    def _origins(self, passes: Passes, pairs: Mapping[Layer, tuple[Tensor, Tensor]]) -> list[Origin]:
        recording = replay.record(passes, self._habits, moved=set())
        return find_origins(passes, self._layers, self._order, pairs, recording, self._slow.get(recording.way))

    def _is_sound(self, passes: Passes, shifted: Shifted, gradients: Gradients) -> bool:
        """Before the very first layer nothing has moved: G' must be G, or the passes were not the same."""
        first = next(iter(shifted))
        return self._fresh or not first.before.isdisjoint(passes.new) or agree(_g(first, gradients), shifted[first])


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
        return cls(
            (
                *((id(m), m.training) for m in modules),
                *map(id, hooks),
                *((id(p), p.requires_grad, p.shape, p.dtype, p in gradients) for p in parameters),
                *((leaf.ndim, leaf.dtype, leaf.layout) for leaf in tensors_in(x)),
            ),
            [modules, hooks, parameters],
        )


def _fill(observation: Observation, pairs: Mapping[Layer, tuple[Tensor, Tensor]], keep: bool) -> None:
    """Fetch all values from the device at once."""
    metrics = [compare(*pair) for pair in pairs.values()]
    table = torch.stack([values.to(metrics[0].device) for values in metrics]).tolist()
    observation.rows = [
        LayerShift(layer.index, layer.name, **dict(zip(METRICS, values, strict=True)))
        for layer, values in zip(pairs, table, strict=True)
    ]
    observation.gradients = {layer.name: pair for layer, pair in pairs.items()} if keep else {}


def _g(layer: Layer, gradients: Gradients) -> Tensor | None:
    """G_i as it was when `observe` was entered; None where the layer took no part in the loss."""
    return flat_gradient(layer, [gradients.get(p) for p in layer.parameters])


def _or_zeros(layer: Layer, gradient: Tensor | None) -> Tensor:
    """A gradient; zeros of its shape where there is none."""
    if gradient is None:
        gradient = flat_gradient(layer, [torch.zeros_like(p) for p in layer.parameters])
        assert gradient is not None
    return gradient


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
