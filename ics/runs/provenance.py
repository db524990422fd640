"""Where a result comes from: the command, the code, the versions, the machine."""

import platform
import shlex
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("torch", "torchvision", "numpy", "hydra-core")


def provenance(command: list[str], device: torch.device, data_label: str) -> dict[str, Any]:
    """What `provenance.json` says; `data_label` is what the data really are."""
    return {
        "command": shlex.join(command),
        "commit": _commit(),
        "data_label": data_label,
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "platform": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "threads": torch.get_num_threads(),
    }


def _commit() -> str | None:
    """The checkout's commit, with "+changes" where files differ from it; None outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.check_output(["git", *words], cwd=here, text=True, stderr=subprocess.DEVNULL, timeout=10)

    try:
        changes = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD").strip() + ("+changes" if changes else "")
    except (OSError, subprocess.SubprocessError):
        return None
