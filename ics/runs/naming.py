"""Where a run's folder lies: readable, decided by what was asked for, the seed last."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from ics.errors import UserError

# What a folder's name says anyway, and what does not change a result.
NAMED = {"experiment", "scale", "seed", "model", "data", "norm", "optimizer.lr"}
SILENT = {"steps", "runs", "overwrite", "plan", "device", "threads", "plugin"}


def run_folder(choices: Mapping[str, Any], settings: Mapping[str, Any], overrides: Sequence[str]) -> PurePosixPath:
    """The folder of a run below the root of all runs.

    Args:
        choices: config group → the chosen option (model → "vgg16", …).
        settings: the composed settings.
        overrides: the command line's `key=value`s; those that the name would not show otherwise are added to it.

    Returns:
        experiment[/scale]/model_data_norm_lr[_key=value…]/seed.

    Raises:
        UserError: a setting that the name shows is missing.

    Example:
        >>> run_folder({"model": "vgg16", "data": "cifar10", "norm": "batch"},
        ...            {"experiment": "fig3_vgg", "seed": 0, "optimizer": {"lr": 0.1}}, ["model.width=0.25"])
        PurePosixPath('fig3_vgg/vgg16_cifar10_batch_lr0.1_model.width=0.25/seed0')
    """
    for key in ("model", "data", "norm", "optimizer", "experiment", "seed"):
        if key not in settings:
            raise UserError(f"setting {key} is missing")
    parts = [*(choices.get(group) for group in ("model", "data", "norm")), f"lr{_rate(settings['optimizer'])}"]
    for override in sorted(overrides):
        key, _, value = override.lstrip("+~").partition("=")
        silent = key in NAMED | SILENT or key.startswith(("hydra", "checkpoint."))
        if not silent:
            parts.append(f"{key}={value}")
    label = re.sub(r"[^A-Za-z0-9_.,=+-]+", "-", "_".join(map(str, parts)))
    scale = [str(settings["scale"])] if settings.get("scale") else []
    return PurePosixPath(str(settings["experiment"]), *scale, label, f"seed{settings['seed']}")


def _rate(optimizer: Any) -> str:
    """The learning rate as people write it; what is none is told when the settings are checked."""
    rate = optimizer.get("lr") if isinstance(optimizer, Mapping) else None
    return f"{rate:g}" if isinstance(rate, int | float) else str(rate)
