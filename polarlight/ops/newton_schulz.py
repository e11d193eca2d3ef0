"""Orthogonalisation for Muon (Jordan et al., 2024; kellerjordan.github.io/posts/muon)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def orthogonalise(
    matrix: Float[Tensor, "*batch m n"], steps: int = 5, dtype: torch.dtype = torch.bfloat16
) -> Float[Tensor, "*batch m n"]:
    """Push all singular values towards 1 (they end in about 0.7 .. 1.2) by a quintic Newton-Schulz iteration in `dtype`.

    A leading axis is a batch of matrices (experts), orthogonalised independently.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrix.shape[-2] <= matrix.shape[-1]
    x = (matrix if wide else matrix.transpose(-1, -2)).to(dtype)
    x = (x / (torch.linalg.matrix_norm(x.float(), keepdim=True) + 1e-7).to(x.dtype)).contiguous()
    x = x.flatten(0, -3) if x.ndim > 2 else x[None]
    for _ in range(steps):
        gram = x @ x.transpose(-1, -2)
        gram = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, gram, x, beta=a)
    return (x if wide else x.transpose(-1, -2)).reshape(matrix.shape)
