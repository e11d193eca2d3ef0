"""Mixture-of-experts routing and dropless dispatch.

Routing follows DeepSeek-V3 (arXiv 2412.19437): sigmoid scores, selection by score + bias, gates from the unbiased scores.
Dispatch sorts the (token, choice) pairs by expert; nothing is dropped.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor


def route(
    logits: Float[Tensor, "n e"], bias: Float[Tensor, " e"], top_k: int
) -> tuple[Float[Tensor, "n k"], Int64[Tensor, "n k"], Float[Tensor, "n e"]]:
    """Choose top_k experts a token; returns (gates that sum to 1, expert indices, sigmoid scores), all fp32."""
    scores = torch.sigmoid(logits.float())
    chosen = (scores.detach() + bias).topk(top_k, dim=-1, sorted=False).indices
    gates = scores.gather(-1, chosen)
    return gates / gates.sum(-1, keepdim=True), chosen, scores


class _Scatter(torch.autograd.Function):
    """Each token's row to the slots of its choices (other slots repeat row 0); the backward sums a token's slots."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, source: Tensor, slots: Tensor, top_k: int) -> Tensor:
        ctx.save_for_backward(slots)
        ctx.top_k = top_k
        return x.index_select(0, source)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (slots,) = ctx.saved_tensors
        return grad.index_select(0, slots).unflatten(0, (-1, ctx.top_k)).sum(1), None, None, None


class _Collect(torch.autograd.Function):
    """Rows of the slots; the backward puts each back, where autograd would add into zeros."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slots: Tensor) -> Tensor:
        ctx.save_for_backward(slots)
        ctx.rows = x.shape[0]
        return x.index_select(0, slots)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (slots,) = ctx.saved_tensors
        return grad.new_zeros(ctx.rows, grad.shape[1]).index_copy_(0, slots, grad), None


def experts_sorted(
    x: Float[Tensor, "n d"],
    gates: Float[Tensor, "n k"],
    chosen: Int64[Tensor, "n k"],
    up: Float[Tensor, "e h d"],
    down: Float[Tensor, "e d f"],
    multiple: int = 1,
) -> Float[Tensor, "n d"]:
    """SwiGLU experts over tokens sorted by expert: one matmul per non-empty expert.

    up holds gate and value rows stacked (h = 2 f). Weights are cast to x's dtype. Each expert's rows are rounded up to `multiple`
    with rows that nothing reads: a CPU matmul of a shape never seen before costs a compilation, so training lets shapes recur.
    """
    top_k = chosen.shape[1]
    pairs = chosen.flatten()
    order = pairs.argsort(stable=True)
    counts = torch.bincount(pairs, minlength=up.shape[0])
    padded = (counts + multiple - 1) // multiple * multiple
    shift = (padded.cumsum(0) - padded) - (counts.cumsum(0) - counts)  # of an expert's rows, by the padding before them
    slots = torch.empty_like(order)
    slots[order] = torch.arange(order.numel(), device=order.device) + shift[pairs[order]]
    source = torch.zeros(int(padded.sum()), dtype=torch.long, device=order.device)
    source[slots] = torch.arange(order.numel(), device=order.device) // top_k
    outputs = []
    rows_of = _Scatter.apply(x, source, slots, top_k).split(padded.tolist())
    for rows, expert_up, expert_down in zip(rows_of, up.to(x.dtype).unbind(), down.to(x.dtype).unbind(), strict=True):
        if rows.shape[0]:
            gate, value = F.linear(rows, expert_up).chunk(2, -1)
            outputs.append(F.linear(F.silu(gate) * value, expert_down))
    spread = _Collect.apply(torch.cat(outputs), slots).unflatten(0, (-1, top_k))
    return (spread * gates[..., None].to(x.dtype)).sum(1)


def experts_dense(
    x: Float[Tensor, "n d"],
    gates: Float[Tensor, "n k"],
    chosen: Int64[Tensor, "n k"],
    up: Float[Tensor, "e h d"],
    down: Float[Tensor, "e d f"],
) -> Float[Tensor, "n d"]:
    """The same with every expert run on every token and unchosen ones gated by zero: for small experts on a GPU.

    There two large matmuls take less time than a sort, a wait for the counts and dozens of small launches.
    """
    experts = up.shape[0]
    shares = torch.zeros(x.shape[0], experts, dtype=x.dtype, device=x.device).scatter(1, chosen, gates.to(x.dtype))
    hidden = F.linear(x, up.to(x.dtype).flatten(0, 1)).unflatten(1, (experts, -1))
    gate, value = hidden.chunk(2, -1)
    weighted = F.silu(gate) * value * shares[..., None]
    return F.linear(weighted.flatten(1), down.to(x.dtype).transpose(0, 1).flatten(1))


def expert_load(chosen: Int64[Tensor, "n k"], experts: int) -> Float[Tensor, " e"]:
    """How many choices fell on each expert. Unlike bincount it makes no GPU wait."""
    return (chosen.flatten()[:, None] == torch.arange(experts, device=chosen.device)).sum(0).float()


def experts_gathered(
    x: Float[Tensor, "n d"],
    gates: Float[Tensor, "n k"],
    chosen: Int64[Tensor, "n k"],
    up: Float[Tensor, "e h d"],
    down: Float[Tensor, "e d f"],
) -> Float[Tensor, "n d"]:
    """The same for a handful of tokens: read only the chosen experts' weights (gpt-fast's decode form)."""
    out = torch.zeros_like(x)
    for row in range(x.shape[0]):
        for gate, expert in zip(gates[row], chosen[row].tolist(), strict=True):
            hidden, value = (up[expert] @ x[row]).chunk(2)
            out[row] += gate.to(x.dtype) * (down[expert] @ (F.silu(hidden) * value))
    return out


def load_balance_loss(scores: Float[Tensor, "n e"], chosen: Int64[Tensor, "n k"]) -> Float[Tensor, ""]:
    """Share of tokens times mean normalised score per expert, times e: 1 when balanced (Switch, arXiv 2101.03961)."""
    experts = scores.shape[-1]
    share = expert_load(chosen, experts) / chosen.numel()
    mean = (scores / scores.sum(-1, keepdim=True)).mean(0)
    return experts * (share * mean).sum()
