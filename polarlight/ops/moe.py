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


class _SortedExperts(torch.autograd.Function):
    """SwiGLU experts on rows that lie expert by expert, with its backward written out.

    Elementwise work is the cost of experts on a CPU: here all experts' rows are activated in one pass, the gate multiplies the
    hidden layer (narrower than the output), and a token's rows are added by index, without a sum over an axis.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, share: Tensor, up: Tensor, down: Tensor, source: Tensor, slots: Tensor, counts: list[int]
    ) -> Tensor:
        rows = x.index_select(0, source)
        hidden = rows.new_empty(rows.shape[0], up.shape[1])
        for part, out, matrix in zip(rows.split(counts), hidden.split(counts), up, strict=True):
            torch.mm(part, matrix.T, out=out)
        gate, value = hidden.chunk(2, -1)
        active = F.silu(gate).mul_(value).mul_(share)
        result = torch.empty_like(rows)
        for part, out, matrix in zip(active.split(counts), result.split(counts), down, strict=True):
            torch.mm(part, matrix.T, out=out)
        ctx.save_for_backward(rows, share, up, down, source, slots, hidden, active)
        ctx.counts = counts
        return total(result, slots)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        rows, share, up, down, source, slots, hidden, active = ctx.saved_tensors
        counts = ctx.counts
        grad = grad.index_select(0, source)  # filling rows repeat a token's, and have a share of zero
        grad_active, grad_up, grad_down = torch.empty_like(active), torch.empty_like(up), torch.empty_like(down)
        for part, out, matrix, into, seen in zip(
            grad.split(counts), grad_active.split(counts), down, grad_down, active.split(counts), strict=True
        ):
            torch.mm(part, matrix, out=out)
            torch.mm(part.T, seen, out=into)
        gate, value = hidden.chunk(2, -1)
        signal = torch.sigmoid(gate)
        swish = gate * signal
        grad_share = (grad_active * swish * value).sum(-1, keepdim=True, dtype=torch.float32).to(share.dtype)
        grad_active.mul_(share)
        grad_hidden = torch.empty_like(hidden)
        to_gate, to_value = grad_hidden.chunk(2, -1)
        torch.mul(grad_active, swish, out=to_value)
        torch.mul(grad_active.mul_(value), signal + swish * (1 - signal), out=to_gate)
        grad_rows = grad  # its memory is free now
        for part, out, matrix, into, seen in zip(
            grad_hidden.split(counts), grad_rows.split(counts), up, grad_up, rows.split(counts), strict=True
        ):
            torch.mm(part, matrix, out=out)
            torch.mm(part.T, seen, out=into)
        return total(grad_rows, slots), grad_share, grad_up, grad_down, None, None, None


def total(rows: Float[Tensor, "r d"], slots: Int64[Tensor, "n k"]) -> Float[Tensor, "n d"]:
    """Sum of each token's rows."""
    first, *others = slots.unbind(1)
    result = rows.index_select(0, first)
    for other in others:
        result += rows.index_select(0, other)
    return result


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
    sizes, slots = padded.tolist(), slots.view(-1, top_k)
    source = torch.zeros(sum(sizes), dtype=torch.long, device=x.device)
    source[slots] = torch.arange(x.shape[0], device=x.device)[:, None]
    share = x.new_zeros(sum(sizes), 1).index_put((slots,), gates.to(x.dtype)[..., None])
    return _SortedExperts.apply(x, share, up.to(x.dtype), down.to(x.dtype), source, slots, sizes)


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
