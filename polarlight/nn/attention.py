"""Self-attention with QK-norm and rotary positions, whole or against a static cache."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..ops.attention import attention
from ..ops.rope import rotate
from .layers import Linear, RMSNorm


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """RoPE tables. A token asks from where it predicts (`query`) and is found where it lies (`key`).

    The two differ for image tokens: a token's content lies in its own cell, and what it predicts is the next cell of the order.
    """

    query: tuple[Float[Tensor, "b s f"], Float[Tensor, "b s f"]]
    key: tuple[Float[Tensor, "b s f"], Float[Tensor, "b s f"]]


class LayerCache:
    """Static keys and values of one layer: [b, heads, capacity, head dim]."""

    def __init__(self, batch: int, heads: int, capacity: int, head_dim: int, dtype: torch.dtype) -> None:
        self.key = torch.zeros(batch, heads, capacity, head_dim, dtype=dtype)
        self.value = torch.zeros(batch, heads, capacity, head_dim, dtype=dtype)

    def write(
        self, start: int, key: Float[Tensor, "b heads s k"], value: Float[Tensor, "b heads s k"]
    ) -> tuple[Float[Tensor, "b heads n k"], Float[Tensor, "b heads n k"]]:
        """Put s new tokens at `start`; returns everything up to their end (views, no copy)."""
        end = start + key.shape[2]
        self.key[:, :, start:end] = key
        self.value[:, :, start:end] = value
        return self.key[:, :, :end], self.value[:, :, :end]


class SelfAttention(nn.Module):
    """Multi-head self-attention; queries and keys are RMS-normalised per head (arXiv 2302.05442)."""

    def __init__(self, width: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim
        self.qkv = Linear(width, 3 * heads * head_dim)
        self.out = Linear(heads * head_dim, width)
        self.query_norm = RMSNorm(head_dim)
        self.key_norm = RMSNorm(head_dim)

    def forward(
        self,
        x: Float[Tensor, "b s d"],
        rotation: Rotation,
        mask: Bool[Tensor, "b 1 s n"],
        cache: LayerCache | None = None,
        start: int = 0,
    ) -> Float[Tensor, "b s d"]:
        query, key, value = self.qkv(x).unflatten(-1, (3, -1, self.head_dim)).unbind(2)
        query = rotate(self.query_norm(query), *rotation.query).transpose(1, 2)
        key = rotate(self.key_norm(key), *rotation.key).transpose(1, 2)
        value = value.transpose(1, 2)
        if cache is not None:
            key, value = cache.write(start, key, value)
        return self.out(attention(query, key, value, mask).transpose(1, 2).flatten(2))
