"""What a composed config asks for: the settings of a run, its folder, and what to do with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hydra_plugins.ics_errors import in_one_line
from ics.errors import UserError
from ics.runs.naming import run_folder


@dataclass(frozen=True)
class Request:
    """A run that was asked for.

    Attributes:
        settings: as `ics.runs.parse` takes them.
        folder: where the run goes.
        name: the folder below the root of all runs.
        command: makes this one run, whatever started it.
        overwrite: start anew, whatever the folder holds.
        plan: only say what would be done.
    """

    settings: dict[str, Any]
    folder: Path
    name: str
    command: list[str]
    overwrite: bool
    plan: bool


def read_request(config: DictConfig, hydra: DictConfig) -> Request:
    """Take a composed config apart.

    Args:
        config: with or without its `hydra` node.
        hydra: that node.

    Raises:
        UserError: what decides the folder is missing or makes no sense; the rest is checked when the run starts.
    """
    keys = [str(key) for key in config if key != "hydra"]
    try:
        settings: Any = OmegaConf.to_container(OmegaConf.masked_copy(config, keys), resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(in_one_line(error)) from None
    runs, overwrite, plan = (settings.pop(key, None) for key in ("runs", "overwrite", "plan"))
    if not isinstance(runs, str) or not runs:
        raise UserError(f"runs must be a folder, not {runs!r}")
    for key, value in {"overwrite": overwrite, "plan": plan}.items():
        if not isinstance(value, bool):
            raise UserError(f"{key} must be true or false, not {value!r}")
    overrides: Any = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # as they were typed
    name = run_folder(hydra.runtime.choices, settings, overrides)
    return Request(settings, Path(runs) / name, str(name), ["scripts/train.py", *overrides], overwrite, plan)
