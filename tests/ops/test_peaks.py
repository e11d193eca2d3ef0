"""Measured peaks are plausible."""

import pytest
import torch

from polarlight.ops.peaks import copy_bandwidth, gemm_peak


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_matrix_product_runs_at_a_rate_a_processor_can_have(dtype: torch.dtype) -> None:
    assert 1e8 < gemm_peak(dtype, size=256, seconds=0.02) < 1e15


def test_copying_counts_bytes_read_and_bytes_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polarlight.ops.peaks._best_time", lambda work, seconds: 0.5)
    assert copy_bandwidth(size=1000) == 4000


def test_a_matrix_product_counts_a_multiplication_and_an_addition_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polarlight.ops.peaks._best_time", lambda work, seconds: 1.0)
    assert gemm_peak(torch.float32, size=10) == 2000
