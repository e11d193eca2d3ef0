"""Orthogonalisation pushes singular values together."""

import pytest
import torch

from polarlight.ops.newton_schulz import orthogonalise


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8), (3, 8, 24)])
def test_singular_values_end_near_one(shape: tuple[int, ...]) -> None:
    out = orthogonalise(torch.randn(shape))
    assert out.shape == shape
    values = torch.linalg.svdvals(out.float())[..., : min(shape[-2:]) - 1]  # a square Gaussian's last one can be tiny
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_a_batch_of_matrices_equals_one_by_one() -> None:
    batch = torch.randn(4, 10, 6)
    together, alone = orthogonalise(batch), torch.stack([orthogonalise(matrix) for matrix in batch])
    torch.testing.assert_close(together, alone, rtol=0, atol=0.02)  # bf16 products may sum in another order


def test_the_scale_of_the_input_does_not_matter() -> None:
    matrix = torch.randn(6, 9)
    torch.testing.assert_close(orthogonalise(matrix * 1024), orthogonalise(matrix), rtol=0, atol=0.02)


def test_directions_are_kept() -> None:
    matrix = torch.randn(6, 30)
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    across = left.T @ orthogonalise(matrix).float() @ right.T
    assert (across - across.diag().diag()).abs().max() < 0.05


def test_a_zero_matrix_stays_zero() -> None:
    assert not orthogonalise(torch.zeros(4, 5)).any()


def test_the_dtype_of_the_products_is_the_callers() -> None:
    matrix = torch.randn(6, 9)
    exact = orthogonalise(matrix, dtype=torch.float32)
    assert exact.dtype == torch.float32
    torch.testing.assert_close(orthogonalise(matrix).float(), exact, rtol=0, atol=0.05)
