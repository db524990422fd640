"""`ShiftProbe`: internal covariate shift (Santurkar et al. 2018, Definition 2.1) in anyone's training loop.

For every layer i, with the same batch (x, y):

    G_i  = ∇_{W_i} L(W_1ᵗ, …, W_kᵗ; x, y)
    G'_i = ∇_{W_i} L(W_1ᵗ⁺¹, …, W_{i−1}ᵗ⁺¹, W_iᵗ, W_{i+1}ᵗ, …, W_kᵗ; x, y)

G_i is what the training pass left in `.grad`. G'_i takes a forward pass in which all that comes before layer i has its
updated value and all the rest its old value, and a backward pass that goes no deeper than layer i. The definition costs
k full passes; `ics.shift.hybrids` computes the same bits in about a third of that.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ics.shift.errors import ProbeError
from ics.shift.hybrids import Hybrids, LossFunction
from ics.shift.layers import Layer, ParameterUse, Params, find_layers, flat, select_layers
from ics.shift.metrics import METRICS, compare
from ics.shift.state import PassWatcher, SwappedParameters, TrainingPass, devices_of, undisturbed

Noise = Literal["same", "fresh"]

UNREPEATED = 1e-3  # relative ‖G − G'‖ of a layer with nothing before it, beyond what rounding can explain


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

    Measuring changes nothing: parameters, buffers, `.grad`, optimizer state and torch's random state are afterwards,
    bit for bit, what they would have been without it.

    Args:
        model: any `nn.Module` that is called as `model(x)`. Convolutions and linear modules with a trainable weight are
            its measurable layers; all other parameters count where the forward pass first uses them.
        loss_fn: `loss_fn(model(x), y)` → scalar tensor.
        layers: which layers to measure, by 1-based index in order of execution or by qualified name; None means all.
        noise: "same": G' sees the random draws (dropout, noise) that G saw; "fresh": those that the next forward pass
            will see.
        params: W_i is the module's "weight", or "all" of its parameters together.

    Raises:
        ProbeError: the model is compiled, scripted or wrapped for parallel training, an option is unknown, or (at the
            first forward pass) there is no measurable layer or a wanted layer does not exist.

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
    ) -> None:
        _refuse_wrapped(model)
        _one_of("noise", noise, ("same", "fresh"))
        _one_of("params", params, ("weight", "all"))
        self.model = model
        self.loss_fn = loss_fn
        self._wanted = layers
        self._noise = noise
        self._params: Params = params
        self._roots = [model, loss_fn] if isinstance(loss_fn, nn.Module) else [model]
        self._devices = devices_of(self._roots)
        self._layers: list[Layer] | None = None
        self._hybrids: Hybrids | None = None
        self._watcher: PassWatcher | None = PassWatcher.of(model, self._devices)
        self._first_pass: ParameterUse | None = None
        self._first_pass_hooks = [
            model.register_forward_pre_hook(self._before_first_pass),
            model.register_forward_hook(self._after_first_pass, always_call=True),
        ]

    @property
    def layers(self) -> list[Layer]:
        """The measured layers, each with `.index` and `.name`; known after the model's first forward pass."""
        if self._layers is None:
            raise ProbeError("the layers are known after the first forward pass; call model(x) first")
        return self._layers

    def close(self) -> None:
        """Remove every hook from the model."""
        self._close_first_pass()
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
            ProbeError: no forward pass or no gradients came before, the loss is not a scalar, or the model does not
                repeat its own forward pass.
        """
        watcher = self._watcher
        if watcher is None:
            raise ProbeError("the probe is closed; make a new one")
        if watcher.last is None:
            raise ProbeError(
                "the probe has seen no forward pass with gradients; call model(x) before probe.observe(x, y)"
            )
        training_pass = watcher.last
        gradients = {layer: self._gradient(layer) for layer in self.layers}
        if all(gradient is None for gradient in gradients.values()):
            raise ProbeError("no measured layer has a gradient; call loss.backward() before probe.observe(x, y)")
        old = {p: p.detach().clone() for root in self._roots for p in root.parameters()}
        observation = Observation()
        with watcher.pause():  # an update may run passes of its own
            yield observation
            self._measure(x, y, training_pass, gradients, old, observation, keep_gradients)

    # --- the training pass ---------------------------------------------------------------------------------------

    def _before_first_pass(self, model: nn.Module, args: Any) -> None:
        self._first_pass = ParameterUse(model.parameters())
        self._first_pass.__enter__()  # type: ignore[no-untyped-call]

    def _after_first_pass(self, model: nn.Module, args: Any, output: Any) -> None:
        first_pass, self._first_pass = self._first_pass, None
        if first_pass is None:
            return
        first_pass.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        if output is None:  # the pass raised: its error goes to the caller, and the next pass is watched instead
            return
        if torch.is_grad_enabled():
            self._close_first_pass()
            self._layers = select_layers(find_layers(model, first_pass.order, self._params), self._wanted)
        else:  # an evaluation may leave layers out, so that the first pass with gradients has the last word
            with suppress(ProbeError):
                self._layers = select_layers(find_layers(model, first_pass.order, self._params), self._wanted)

    def _close_first_pass(self) -> None:
        for hook in self._first_pass_hooks:
            hook.remove()
        self._first_pass_hooks.clear()

    def _gradient(self, layer: Layer) -> Tensor | None:
        """A copy of G_i: the update may well overwrite `.grad`. None where the layer took no part in the loss."""
        parts = [p.grad for p in layer.parameters]
        if all(part is None for part in parts):
            return None
        return flat(
            [
                torch.zeros_like(p) if part is None else part.detach().clone()
                for p, part in zip(layer.parameters, parts, strict=True)
            ]
        )

    # --- the measurement -----------------------------------------------------------------------------------------

    def _measure(
        self,
        x: Any,
        y: Any,
        training_pass: TrainingPass,
        gradients: dict[Layer, Tensor | None],
        old: dict[nn.Parameter, Tensor],
        observation: Observation,
        keep_gradients: bool,
    ) -> None:
        if self._hybrids is None:
            self._hybrids = Hybrids(self.model, self.loss_fn, self.layers, self._devices)
        hybrids = self._hybrids
        results: dict[Layer, Tensor] = {}
        with (
            undisturbed(self._roots, training_pass, fresh_noise=self._noise == "fresh") as start_pass,
            SwappedParameters(old) as parameters,
        ):
            for layer, shifted in hybrids.shifted_gradients(x, y, start_pass, parameters):
                gradient = gradients[layer]
                if gradient is None:
                    if shifted is not None:
                        raise ProbeError(
                            f"layer {layer.name!r} had no gradient when observe was entered, yet the loss "
                            "depends on it; call loss.backward() and do not clear .grad before"
                        )
                    gradient = torch.zeros_like(flat(layer.parameters))
                shifted = torch.zeros_like(gradient) if shifted is None else shifted
                results[layer] = compare(gradient, shifted)
                if keep_gradients:
                    observation.gradients[layer.name] = (gradient, shifted)
        self._fill(observation, results)
        observation.gradients = {
            layer.name: observation.gradients[layer.name] for layer in self.layers if keep_gradients
        }
        if self._noise == "same":
            self._check_repeated(observation.rows[0], hybrids)

    def _fill(self, observation: Observation, results: dict[Layer, Tensor]) -> None:
        """Fetch all values from the device at once."""
        first = results[self.layers[0]].device
        table = torch.stack([results[layer].to(first) for layer in self.layers]).tolist()
        observation.rows = [
            LayerShift(layer.index, layer.name, **dict(zip(METRICS, values, strict=True)))
            for layer, values in zip(self.layers, table, strict=True)
        ]

    def _check_repeated(self, row: LayerShift, hybrids: Hybrids) -> None:
        """Before the very first layer nothing has moved: G' must be G, or the two passes were not the same."""
        layer = self.layers[0]
        if hybrids.is_first(layer) and row.relative_l2 > UNREPEATED:
            warnings.warn(
                f"layer {layer.name!r} has nothing before it, yet its gradient moved by {row.relative_l2:.2g} of "
                "its norm: observe was not given the batch of the last training pass, or .grad was clipped, scaled or "
                "accumulated",
                stacklevel=5,
            )


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
