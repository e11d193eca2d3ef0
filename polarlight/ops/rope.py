"""Two-dimensional rotary position embedding, generalised to text on the diagonal (as in HunyuanImage-3.0).

Frequencies alternate between the row and the column axis. A text token at (i, i) is then rotated exactly as by ordinary
one-dimensional RoPE with the same frequencies, and an image cell at (row, column) by both of its coordinates.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def rope_table(
    positions: Float[Tensor, "*n 2"], head_dim: int, base: float = 1000.0
) -> tuple[Float[Tensor, "*n f"], Float[Tensor, "*n f"]]:
    """Cosines and sines of head_dim/2 angles for (row, column) positions, in fp32."""
    frequencies = base ** (-torch.arange(0, head_dim, 2, device=positions.device).float() / head_dim)
    axis = torch.arange(head_dim // 2, device=positions.device) % 2
    angles = positions.float()[..., axis] * frequencies
    return angles.cos(), angles.sin()


def rotate(
    x: Float[Tensor, "b s heads k"], cosine: Float[Tensor, "b s f"], sine: Float[Tensor, "b s f"]
) -> Float[Tensor, "b s heads k"]:
    """Rotate the pairs (x[i], x[i + k/2]) by the tables' angles (the half-split convention of Hugging Face)."""
    first, second = x.chunk(2, -1)
    cosine, sine = cosine[:, :, None].to(x.dtype), sine[:, :, None].to(x.dtype)
    return torch.cat((first * cosine - second * sine, second * cosine + first * sine), -1)
