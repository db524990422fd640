"""The settings of a run: typed, in range, complete, and the same for everyone who reads them."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError, model_serializer

from ics.errors import UserError
from ics.registry import Count, first_problem, suggestion

Component = Annotated[dict[str, Any], Field(min_length=1)]
"""A component's `name` and its options, which its registry checks."""


COMPONENTS = ("model", "norm", "data", "optimizer")
"""The settings that are components."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=False)


class Schedule(BaseModel):
    """The steps at which a quantity is measured: every so many from step 0 on, and `also` these.

    Its other keys are the quantity's own options, which its registry checks.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    every: Annotated[Count, Field(strict=True)]
    also: list[Annotated[int, Field(ge=0, strict=True)]] = []

    def is_due(self, step: int) -> bool:
        """Whether the quantity is measured at the update after so many."""
        return step % self.every == 0 or step in self.also

    @property
    def options(self) -> dict[str, Any]:
        """The quantity's own."""
        return dict(self.model_extra or {})

    @model_serializer
    def _as_set(self) -> dict[str, Any]:
        return {key: value for key, value in self if key in self.model_fields_set}


class Evaluation(_Settings):
    """The test set, with `train` also the training set, in eval mode: every so many steps and at the end."""

    every: Count | None
    batch_size: Count
    train: bool


class Checkpointing(_Settings):
    """How much work a crash may cost (null: no such limit), and whether the last state is kept, to lengthen the run."""

    every_steps: Count | None
    every_minutes: PositiveFloat | None
    keep: bool


class RunConfig(_Settings):
    """Everything that decides a run's results, and how the run looks after itself.

    Attributes:
        plugin: a module of one's own that is imported first; see `ics.registry.import_plugin`.
        experiment: what the run belongs to.
        scale: of an experiment that exists at several; null otherwise.
        seed: of the initial weights, the order of the batches, augmentation, noise and made-up data.
        steps: number of updates.
        batch_size: samples per step; null for the full training set.
        augment: crop and flip training images at random.
        model: network, with its `init`.
        norm: normalisation layer.
        data: data set.
        optimizer: with its `lr`.
        measure: quantity → when it is due, as in `Schedule`, and its options; or a name of one's own → the same with
            its `quantity`, so that one run can hold a quantity more than once.
        record_every: steps between rows of training.csv.
        evaluation: see `Evaluation`.
        checkpoint: see `Checkpointing`.
        device: "auto" takes an accelerator where there is one.
        threads: CPU threads of this run.
        deterministic: use deterministic algorithms only; null means on the CPU, where it costs nothing.
    """

    plugin: str | None = None
    experiment: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    scale: str | None
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    steps: Count
    batch_size: Count | None
    augment: bool
    model: Component
    norm: Component
    data: Component
    optimizer: Component
    measure: dict[str, Schedule]
    record_every: Count
    evaluation: Evaluation
    checkpoint: Checkpointing
    device: Annotated[str, Field(min_length=1)]
    threads: Annotated[int, Field(ge=1, le=1024)]
    deterministic: bool | None


def parse(settings: dict[str, Any]) -> RunConfig:
    """Check settings and make them a `RunConfig`.

    Raises:
        UserError: a key is unknown or missing, or a value is of the wrong type or out of range.
    """
    _check_keys(settings, RunConfig)
    try:
        config = RunConfig(**settings)
    except ValidationError as error:
        raise UserError(f"setting {first_problem(error)}") from None
    from ics.runs.train import typed  # imports torch

    return typed(config)


def _check_keys(settings: dict[str, Any], kind: type[_Settings], above: str = "") -> None:
    inside = [f"{key}.{option}" for key, value in settings.items() if isinstance(value, dict) for option in value]
    for key, value in settings.items():
        field = kind.model_fields.get(key)
        if field is None:
            raise UserError(f"unknown setting '{above}{key}'; {suggestion(str(key), list(kind.model_fields), inside)}")
        if isinstance(value, dict) and isinstance(field.annotation, type) and issubclass(field.annotation, _Settings):
            _check_keys(value, field.annotation, f"{key}.")
