"""G' of every layer: the gradients of the hybrid networks of Definition 2.1.

One pass for each hybrid, by *replay*: what lies before its layer is not computed again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ics.shift.errors import ProbeError
from ics.shift.layers import Layer, flat
from ics.shift.replay import NEVER, Interceptor, Plan, PlanMismatch, Recording, Replay, Survey
from ics.shift.state import RandomState, SwappedParameters

LossFunction = Callable[[Any, Any], Tensor]

SURVEYS = 3  # a model whose control flow changes at random is surveyed anew this many times before giving up


class Hybrids:
    """The hybrid networks of a model.

    Args:
        model: called as `model(x)`.
        loss_fn: `loss_fn(model(x), y)` → scalar tensor.
        layers: those whose G' is wanted, in order of execution.
        devices: that the model lives on.
    """

    def __init__(
        self, model: nn.Module, loss_fn: LossFunction, layers: Sequence[Layer], devices: Sequence[torch.device]
    ) -> None:
        self._model = model
        self._loss_fn = loss_fn
        self._layers = layers
        self._devices = devices
        self._plan: Plan | None = None

    def is_first(self, layer: Layer) -> bool:
        """Whether no parameter is used before this layer; known after the first measurement."""
        assert self._plan is not None
        first_use = self._plan.first_use
        return first_use.get(layer.parameters[0]) == min(first_use.values())

    def shifted_gradients(
        self, x: Any, y: Any, start_pass: Callable[[], None], parameters: SwappedParameters
    ) -> Iterator[tuple[Layer, Tensor | None]]:
        """G' of every layer, deepest first; None where the loss does not depend on the layer.

        Args:
            x: the batch, as the model takes it.
            y: its targets, as the loss takes them.
            start_pass: puts random state and buffers to the start of the training pass.
            parameters: the model's, old and new.

        Raises:
            ProbeError: the loss is not a scalar, or the model does not repeat its own forward pass.
        """
        interceptor = Interceptor(self._model)
        parameters.use_old(set())
        recording = self._record(x, interceptor, start_pass)
        first_use = recording.plan.first_use
        places = {layer: min(first_use.get(p, NEVER) for p in layer.parameters) for layer in self._layers}
        # Deepest first, since what lies beyond a layer can be forgotten.
        for layer, place in sorted(places.items(), key=lambda item: item[1], reverse=True):
            held = {p for p in parameters if first_use.get(p, NEVER) >= place}
            start = min((first_use.get(p, NEVER) for p in held), default=NEVER)
            recording.forget_from(start)
            parameters.use_old(held)
            start_pass()
            with interceptor.route(Replay(recording, start).handle):
                shifted = self._gradient(layer, x, y)
            yield layer, shifted

    def _record(self, x: Any, interceptor: Interceptor, start_pass: Callable[[], None]) -> Recording:
        """The forward pass with the new weights, remembered call by call."""
        for _ in range(SURVEYS + 1):
            if self._plan is None:
                start_pass()
                survey = Survey(list(self._model.parameters()), self._snapshot)
                with interceptor.route(survey.handle), survey:
                    self._forward(x)
                self._plan = survey.plan()
            start_pass()
            recording = Recording(self._plan, self._snapshot)
            try:
                with interceptor.route(recording.handle):
                    self._forward(x)
                recording.finish()
                return recording
            except PlanMismatch:
                self._plan = None
        raise ProbeError(
            "the model does not repeat its own forward pass: the same input and random state led through "
            "different modules each time; make its control flow depend on these alone"
        )

    def _gradient(self, layer: Layer, x: Any, y: Any) -> Tensor | None:
        """G'_i from the hybrid network that stands in the model's place right now."""
        try:
            loss = self._loss(self._forward(x), y)
        except PlanMismatch:
            raise ProbeError(
                f"the model took another way through its modules for the gradient of {layer.name!r}; its "
                "control flow must not depend on the weights"
            ) from None
        if not loss.requires_grad:
            return None
        parts = torch.autograd.grad(loss, layer.parameters, allow_unused=True)
        if all(part is None for part in parts):
            return None
        return flat(
            [torch.zeros_like(p) if part is None else part for p, part in zip(layer.parameters, parts, strict=True)]
        )

    def _loss(self, outputs: Any, y: Any) -> Tensor:
        loss = self._loss_fn(outputs, y)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            what = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"{type(loss).__name__}"
            raise ProbeError(f"loss_fn must return a scalar tensor, not {what}; reduce it, say with .mean()")
        return loss

    def _forward(self, x: Any) -> Any:
        if isinstance(x, Mapping):
            return self._model(**x)
        return self._model(*x) if isinstance(x, tuple) else self._model(x)

    def _snapshot(self) -> RandomState:
        return RandomState(self._devices)
