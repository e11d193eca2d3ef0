"""Scaled dot-product attention: the one place where its implementation is chosen."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


class _MatmulAttention(torch.autograd.Function):
    """Softmax attention as two batched matmuls, with the textbook backward.

    On CPU the fused kernel's backward is about four times slower than this at image lengths (measured: 83 against 21 ms for
    96 x 5 heads x 112 x 64 in bf16), because batched matmuls run on the matrix units and it does not.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
        scale = query.shape[-1] ** -0.5
        weights = torch.matmul(query, key.transpose(-1, -2)).mul_(scale).add_(bias).softmax(-1)
        ctx.save_for_backward(query, key, value, weights)
        return torch.matmul(weights, value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        query, key, value, weights = ctx.saved_tensors
        grad_value = torch.matmul(weights.transpose(-1, -2), grad)
        grad_weights = torch.matmul(grad, value.transpose(-1, -2))
        grad_scores = torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype).mul_(
            query.shape[-1] ** -0.5
        )
        return torch.matmul(grad_scores, key), torch.matmul(grad_scores.transpose(-1, -2), query), grad_value, None


def attention(
    query: Float[Tensor, "b heads q k"],
    key: Float[Tensor, "b heads s k"],
    value: Float[Tensor, "b heads s k"],
    mask: Bool[Tensor, "b 1 q s"] | None,
) -> Float[Tensor, "b heads q k"]:
    """softmax(query key^T / sqrt(k)) value. mask: True where a query may look; None = everywhere."""
    if query.device.type == "cpu" and torch.is_grad_enabled() and query.requires_grad:
        shape = (query.shape[0], 1, query.shape[2], key.shape[2])
        bias = torch.zeros(shape, dtype=query.dtype)
        if mask is not None:
            bias = bias.masked_fill(~mask, torch.finfo(query.dtype).min)
        if torch.compiler.is_compiling():
            weights = torch.matmul(query, key.transpose(-1, -2)) * query.shape[-1] ** -0.5 + bias
            return torch.matmul(weights.softmax(-1), value)
        return _MatmulAttention.apply(query.contiguous(), key.contiguous(), value.contiguous(), bias)
    return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
