"""What this machine can do at most, measured: the ceiling that every other speed is divided by."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

GEMM_SIZE = 1024  # large enough for the peak of a few cores, 20 ms in fp32 on two of them
COPY_BYTES = 256 << 20  # beyond the second-level cache of any core


def gemm_peak(dtype: torch.dtype, size: int = GEMM_SIZE, seconds: float = 0.4) -> float:
    """Floating-point operations per second of a square matrix product on the CPU, the best of the runs in `seconds`."""
    left, right = torch.ones(size, size, dtype=dtype), torch.ones(size, size, dtype=dtype)
    out = torch.empty(size, size, dtype=dtype)
    return 2 * size**3 / _best_time(lambda: torch.mm(left, right, out=out), seconds)


def copy_bandwidth(size: int = COPY_BYTES, seconds: float = 0.4) -> float:
    """Bytes per second read plus written when one block of memory of `size` bytes is copied to another."""
    source = torch.ones(size, dtype=torch.uint8)
    target = torch.empty_like(source)
    return 2 * size / _best_time(lambda: target.copy_(source), seconds)


def _best_time(work: Callable[[], object], seconds: float) -> float:
    """The shortest of the runs that fit into `seconds`, after two that warm the machine up."""
    work(), work()
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best
