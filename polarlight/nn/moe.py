"""Mixture-of-experts feed-forward layer with a shared expert."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..ops.moe import expert_load, experts_dense, experts_gathered, experts_sorted, load_balance_loss, route
from .layers import SwiGLU

GATHER_BELOW = (
    3  # tokens; measured on CPU: reading only the chosen experts wins up to two tokens, sorting from three on
)


ROUND_ROWS = 128  # rows of an expert in training; 21,504 pairs on 8 experts gain 2 % of padding


class MoE(nn.Module):
    """Routed SwiGLU experts plus one shared expert that every token passes.

    The router is a sigmoid with a selection bias that is nudged towards balance after each step (auxiliary-loss-free, arXiv
    2408.15664); the training loop calls `balance`. Router arithmetic is fp32.
    """

    def __init__(self, width: int, experts: int, top_k: int, hidden: int, shared: int, scale: float = 1.0) -> None:
        super().__init__()
        self.top_k = top_k
        self.scale = scale
        self.router = nn.Parameter(torch.randn(experts, width) * width**-0.5)
        self.up = nn.Parameter(torch.randn(experts, 2 * hidden, width) * width**-0.5)
        self.down = nn.Parameter(torch.randn(experts, width, hidden) * hidden**-0.5)
        self.shared = SwiGLU(width, shared)
        self.bias: Tensor
        self.load: Tensor
        self.register_buffer("bias", torch.zeros(experts))
        self.register_buffer("load", torch.zeros(experts), persistent=False)

    def forward(self, x: Float[Tensor, "b s d"]) -> tuple[Float[Tensor, "b s d"], Float[Tensor, " two"]]:
        """Returns (output, [balance loss, router z-loss]); the losses are zero outside training."""
        flat = x.flatten(0, 1)
        logits = flat.float() @ self.router.float().T
        gates, chosen, scores = route(logits, self.bias, self.top_k)
        few = flat.shape[0] < GATHER_BELOW and not torch.is_grad_enabled()
        if few:
            routed = experts_gathered(flat, gates * self.scale, chosen, self.up, self.down)
        elif flat.is_cuda and torch.is_grad_enabled():
            routed = experts_dense(flat, gates * self.scale, chosen, self.up, self.down)
        else:
            multiple = ROUND_ROWS if torch.is_grad_enabled() else 1
            routed = experts_sorted(flat, gates * self.scale, chosen, self.up, self.down, multiple)
        losses = logits.new_zeros(2)
        if self.training:
            self.load += expert_load(chosen, self.load.numel())
            losses = torch.stack((load_balance_loss(scores, chosen), logits.logsumexp(-1).square().mean()))
        return (routed + self.shared(flat)).view_as(x), losses

    @torch.no_grad()
    def balance(self, rate: float) -> float:
        """Nudge the selection bias by `rate` against the load since the last call; returns the largest expert's load / mean."""
        mean = self.load.mean().clamp_min(1)
        step = rate * torch.sign(mean - self.load)
        self.bias += step - step.mean()
        worst = float(self.load.max() / mean)
        self.load.zero_()
        return worst


class DenseMLP(nn.Module):
    """A SwiGLU with the MoE layer's signature, for the first layers."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.mlp = SwiGLU(width, hidden)

    def forward(self, x: Float[Tensor, "b s d"]) -> tuple[Float[Tensor, "b s d"], Float[Tensor, " two"]]:
        return self.mlp(x), x.new_zeros(2, dtype=torch.float32)
