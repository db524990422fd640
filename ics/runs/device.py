"""The device of a run and the precision it computes with."""

import os

import torch

from ics.errors import UserError


def choose_device(name: str) -> torch.device:
    """The device called `name`; "auto" is CUDA where there is one, otherwise the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]
        raise UserError(f"device={name!r} cannot be used ({reason}); use auto, cpu or cuda") from None
    return device


def prepare(device: torch.device, threads: int, deterministic: bool | None) -> None:
    """Set this process's threads, precision and choice of algorithms.

    TF32 stays off: its 10-bit mantissa would drown gradient differences. Deterministic algorithms are the default on
    the CPU (None). On CUDA they are slower, and the memory for cuBLAS has to be fixed before its first use.
    """
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    chosen = device.type == "cpu" if deterministic is None else deterministic
    if chosen and device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(chosen)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing here reads memory before writing it
    torch.backends.cudnn.benchmark = not chosen and device.type == "cuda"
