"""What a composed config asks for: the settings of a run, its folder, and what to do with it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ics.runs.naming import run_folder


@dataclass(frozen=True)
class Request:
    """A run that was asked for.

    Attributes:
        settings: as `ics.runs.parse` takes them.
        folder: where the run goes.
        name: the folder below the root of all runs.
        overwrite: start anew, whatever the folder holds.
        plan: only say what would be done.
    """

    settings: dict[str, Any]
    folder: Path
    name: str
    overwrite: bool
    plan: bool


def read_request(config: DictConfig, hydra: DictConfig) -> Request:
    """Take a composed config apart.

    Args:
        config: with or without its `hydra` node.
        hydra: that node.
    """
    keys = [str(key) for key in config if key != "hydra"]
    settings: Any = OmegaConf.to_container(OmegaConf.masked_copy(config, keys), resolve=True, throw_on_missing=True)
    runs, overwrite, plan = (settings.pop(key) for key in ("runs", "overwrite", "plan"))
    name = run_folder(hydra.runtime.choices, settings, hydra.overrides.task)
    return Request(settings, Path(runs) / name, str(name), overwrite, plan)
