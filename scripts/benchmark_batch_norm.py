"""Time of batch normalisation by hand against PyTorch's: `OMP_NUM_THREADS=1 python scripts/benchmark_batch_norm.py`."""

import time
from collections.abc import Sequence
from statistics import median

import torch
from torch import Tensor, nn

from ics.nets.batch_norm_by_hand import BatchNormByHand

SHAPE = (128, 64, 32, 32)


def benchmark_batch_norm(shape: Sequence[int] = SHAPE, repeats: int = 15) -> tuple[float, float]:
    """Median seconds of one forward and one backward pass on the CPU, in training mode, on one thread.

    The two take turns, so that whatever else the machine does hits both alike.

    Args:
        shape: of the input, (N, C, H, W).
        repeats: of each, after one that does not count.

    Returns:
        (by hand, PyTorch's).
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        x = torch.randn(*shape, requires_grad=True)
        dy = torch.randn(*shape)
        norms = (BatchNormByHand(shape[1]), nn.BatchNorm2d(shape[1]))
        seconds = [[_seconds(norm, x, dy) for norm in norms] for _ in range(repeats + 1)][1:]
    finally:
        torch.set_num_threads(before)
    by_hand, pytorch = zip(*seconds, strict=True)
    return median(by_hand), median(pytorch)


def _seconds(norm: nn.Module, x: Tensor, dy: Tensor) -> float:
    x.grad = None
    began = time.perf_counter()
    norm(x).backward(dy)
    return time.perf_counter() - began


if __name__ == "__main__":
    by_hand, pytorch = benchmark_batch_norm()
    size = "x".join(map(str, SHAPE))
    print(f"batch normalisation of {size}, forward and backward, one CPU thread, medians")
    print(f"by hand {1e3 * by_hand:.1f} ms   nn.BatchNorm2d {1e3 * pytorch:.1f} ms   ratio {by_hand / pytorch:.2f}")
