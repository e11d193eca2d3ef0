"""What this machine can do at most: read bandwidth, matrix products, matrix times vector, and the price of an empty operation.

    python bench/ceiling.py

About 20 seconds. Every other benchmark states its speed as a share of these.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from harness.ledger import prepare, record
from harness.timing import Usage, timed
from torch import Tensor

WORKING_SETS = (2 << 20, 32 << 20, 256 << 20, 1 << 30)
GEMM_SHAPES = ((4096, 960, 320), (1024, 1024, 1024), (2048, 2048, 2048))  # rows, outputs, inputs
GEMV_SIDE = 4096
SECONDS = 0.5


def fastest(work: Callable[[], object]) -> float:
    """The shortest of the runs that fit into SECONDS, at least three."""
    work()
    end, times = time.perf_counter() + SECONDS, []
    while len(times) < 3 or time.perf_counter() < end:
        times.append(timed(work))
    return min(times)


def reading(size: int) -> dict[str, float]:
    """Bytes a second of summing `size` bytes of fp32."""
    data = torch.ones(size // 4)
    repeat = max(1, (8 << 20) // size)  # long enough for the clock

    def work() -> None:
        for _ in range(repeat):
            data.sum()

    return {"bytes": size, "bytes_per_second": size * repeat / fastest(work)}


def gemm(shape: tuple[int, int, int], dtype: torch.dtype) -> dict[str, object]:
    """Floating-point operations a second of one linear layer."""
    rows, outputs, inputs = shape
    x, weight = torch.randn(rows, inputs).to(dtype), torch.randn(outputs, inputs).to(dtype)
    seconds = fastest(lambda: F.linear(x, weight))
    return {
        "shape": shape,
        "dtype": str(dtype).removeprefix("torch."),
        "flops_per_second": 2 * rows * outputs * inputs / seconds,
    }


def gemv(dtype: torch.dtype) -> float:
    """Weight bytes a second of a linear layer on one row."""
    weight = torch.randn(GEMV_SIDE, GEMV_SIDE).to(dtype)
    x = torch.randn(1, GEMV_SIDE).to(dtype)
    return weight.numel() * weight.element_size() / fastest(lambda: F.linear(x, weight))


def dispatch(x: Tensor, calls: int = 1000) -> float:
    """Median seconds of an operation on next to no data."""

    def work() -> None:
        for _ in range(calls):
            x.neg()

    return statistics.median(timed(work) for _ in range(20)) / calls


@torch.inference_mode()
def main() -> None:
    prepare(__doc__ or "")
    start = Usage.now()
    result = {
        "read": [reading(size) for size in WORKING_SETS],
        "gemm": [gemm(shape, dtype) for dtype in (torch.bfloat16, torch.float32) for shape in GEMM_SHAPES],
        "gemv_bytes_per_second": {"bfloat16": gemv(torch.bfloat16), "float32": gemv(torch.float32)},
        "dispatch_seconds": dispatch(torch.zeros(8)),
    }
    result["gemm_peak"] = {
        dtype: max(row["flops_per_second"] for row in result["gemm"] if row["dtype"] == dtype)
        for dtype in ("bfloat16", "float32")
    }
    _, others = Usage.now().since(start)
    record("ceiling", result, others)


if __name__ == "__main__":
    main()
