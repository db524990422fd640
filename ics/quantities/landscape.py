"""The loss and its gradient along a line from the present point: the table behind Figures 4 and 10 to 13.

At step t, with θ the trainable parameters, L the loss of the step's batch and g = ∇L(θ), for every step length η and
every direction d (Santurkar et al. 2018, section 3.1):

    loss                    L(θ − ηd)                            (a) its range over η
    gradient predictiveness ‖∇L(θ − ηd) − g‖₂                    (b) its range over η
    "effective" β           ‖∇L(θ − ηd) − g‖₂ / (η‖d‖₂)          (c) its largest value over η

The paper's (b) is larger than that norm by one factor, whatever the network: it is Σ ‖·‖₂ over the parameter tensors,
which stands beside it.

Nothing is trained on the way, and the next length starts from θ again.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat
from torch import Tensor, nn

from ics.quantities.base import QUANTITIES, STEP, LossFunction, Row, Step
from ics.quantities.passes import PassQuantity
from ics.quantities.vectors import gaussian, norm, norms
from ics.shift.passes import Passes
from ics.tables import Table, columns

Direction = Literal["gradient", "random"]


@QUANTITIES.register("landscape")
class Landscape(PassQuantity):
    """The landscape around the point that the update starts from.

    θ is every trainable parameter that takes part in the loss; g is what the training pass left in `.grad`: the
    gradient of the batch's loss, before weight decay and momentum. The passes at θ − ηd are the training pass again,
    with the same batch, random draws, buffers and modes. Each pair (direction, factor) costs one forward and one
    backward pass; the row of θ itself costs none.

    Args:
        factors: η = factor · reference. The paper's VGG: from ½ to 4 (0.05, 0.1, 0.2, 0.4 at a rate of 0.1), its deep
            linear network: from 1/100 to 30.
        relative_to: the reference: "lr": the learning rate of the step; "one": 1.
        directions: "gradient": d = g; "random": a Gaussian direction, another at each step, scaled to ‖d‖ = ‖g‖ so that
            equal factors are equal distances.
        seed: of the random directions, which depend on it and on the step alone.
        penalty: whether L holds the optimizer's penalty, Σ λ/2·‖W‖², as the paper's does.
    """

    table = Table(
        "landscape",
        columns(
            STEP,
            ("direction", "str", "what d is: gradient, random; origin: the row is about θ itself, η = 0"),
            ("factor", "float", "step length η in units of the reference (the learning rate, unless chosen otherwise)"),
            ("loss", "float", "L(θ − ηd), same batch, with penalty where asked for; inf or nan on overflow", True),
            ("gradient_norm", "float", "‖∇L(θ − ηd)‖₂, loss per unit of weight", True),
            ("gradient_distance", "float", "‖∇L(θ − ηd) − g‖₂ with g = ∇L(θ), loss per unit of weight", True),
            ("gradient_distance_sum", "float", "Σ ‖∇L(θ − ηd) − g‖₂ over the parameter tensors, same unit", True),
            ("weight_distance_sum", "float", "the same over tensors of two dimensions and more: the weights", True),
            ("effective_beta", "float", "gradient_distance / (η‖d‖₂), loss per squared unit of weight; nan at θ", True),
        ),
        key=("step", "direction", "factor"),
    )

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFunction,
        factors: Annotated[tuple[PositiveFloat, ...], Field(min_length=1)] = (0.5, 1.0, 2.0, 4.0),
        relative_to: Literal["lr", "one"] = "lr",
        directions: Annotated[tuple[Direction, ...], Field(min_length=1)] = ("gradient",),
        seed: NonNegativeInt = 0,
        penalty: bool | None = None,
    ) -> None:
        super().__init__(model, loss_fn)
        self._factors = list(dict.fromkeys(factors))
        self._relative_to = relative_to
        self._directions = list(dict.fromkeys(directions))
        self._seed = seed
        self._penalty = bool(penalty)

    def rows(self, step: Step) -> list[Row]:
        gradients = self.gradients()
        parameters = list(gradients)
        decay = [step.decay.get(p, 0.0) if self._penalty else 0.0 for p in parameters]
        g = _add_decay(list(gradients.values()), parameters, decay)
        g_norm = norm(g)
        loss = step.loss + _penalty(parameters, decay)
        keys, found = [("origin", 0.0)], [_row(loss, g_norm, 0.0, 0.0, 0.0, torch.nan)]

        start = [p.detach().clone() for p in parameters]
        with self.again(self.last, step.x, step.y) as passes:
            for name in self._directions:
                d = g if name == "gradient" else self._random(g, g_norm, step.number)
                for factor in self._factors:
                    eta = factor * (step.lr if self._relative_to == "lr" else 1.0)
                    passes.start()
                    for p, θ, part in zip(parameters, start, d, strict=True):
                        torch.sub(θ, part, alpha=eta, out=p.data)  # θ − ηd
                    keys.append((name, factor))
                    found.append(self._compare(passes, parameters, decay, g, eta * g_norm))
        values = torch.stack(found).tolist()
        return [
            {"direction": direction, "factor": factor} | dict(zip(self.table.header[3:], row, strict=True))
            for (direction, factor), row in zip(keys, values, strict=True)
        ]

    def _compare(
        self, passes: Passes, parameters: list[nn.Parameter], decay: list[float], g: list[Tensor], length: Tensor
    ) -> Tensor:
        """A row's numbers, from the loss on, where the parameters stand now; `length` is η‖d‖₂."""
        loss = passes.loss()
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
        gradient = [torch.zeros_like(h) if part is None else part for part, h in zip(found, g, strict=True)]
        gradient = _add_decay(gradient, parameters, decay)
        change = torch._foreach_sub(gradient, g)
        each, distance = norms(change), norm(change)
        of_weights = each[[p.ndim > 1 for p in parameters]].sum()
        height = loss.detach() + _penalty(parameters, decay)
        return _row(height, norm(gradient), distance, each.sum(), of_weights, distance / length)

    def _random(self, g: list[Tensor], g_norm: Tensor, step: int) -> list[Tensor]:
        u = gaussian(g, self._seed, step)
        scale = g_norm / norm(u)
        return [part * scale.to(part) for part in u]  # ‖d‖ = ‖g‖


def _add_decay(gradient: Sequence[Tensor], parameters: Sequence[nn.Parameter], decay: Sequence[float]) -> list[Tensor]:
    """∇L + λW, the gradient of the loss with the penalty Σ λ/2·‖W‖²."""
    pairs = zip(gradient, parameters, decay, strict=True)
    return [torch.add(part, p.detach(), alpha=λ) if λ else part for part, p, λ in pairs]


def _penalty(parameters: Sequence[nn.Parameter], decay: Sequence[float]) -> Tensor:
    """Σ λ/2·‖W‖², a float64 scalar."""
    λ = torch.tensor(decay, dtype=torch.float64, device=parameters[0].device)
    return (λ / 2 * norms(parameters).square()).sum()


def _row(*values: Tensor | float) -> Tensor:
    """Loss and norms as one tensor, so that all rows come from the device at once."""
    device = next(value.device for value in values if isinstance(value, Tensor))
    return torch.stack([torch.as_tensor(value, dtype=torch.float64, device=device) for value in values])
