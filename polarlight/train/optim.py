"""Muon for hidden matrices, AdamW for everything else, and the warm-up / stable / decay schedule."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from ..ops.newton_schulz import orthogonalise


class Muon(Optimizer):
    """Momentum, orthogonalised (Jordan et al., 2024). 3-D parameters are stacks of matrices (experts), one by one; 4-D ones are
    convolutions: one matrix from all inputs of a place to all outputs.

    The update is scaled by 0.2 sqrt(max(m, n)), which gives it the RMS of an AdamW step (Liu et al., arXiv 2502.16982), so both
    optimizers share one learning rate and one schedule. dtype: of the matrix products; bf16 is exact enough, but
    where it is emulated (0.8 GFLOP/s against 100 in fp32) it takes nine tenths of a training's time.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                ahead = p.grad.lerp(state["momentum"], group["momentum"])
                update = orthogonalise(ahead.flatten(1) if p.ndim == 4 else ahead, dtype=self.dtype)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.add_(update.view_as(p), alpha=-group["lr"] * 0.2 * max(update.shape[-2:]) ** 0.5)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Warm-up, constant, then linear to zero over the last part of `steps` (WSD, arXiv 2404.06395)."""

    steps: int
    warmup: int = 100
    decay: float = 0.35  # share of the steps

    def __call__(self, step: int) -> float:
        """Factor on the learning rate at a step, in (0, 1]."""
        left = (self.steps - step) / max(1.0, self.steps * self.decay)
        return max(0.0, min(1.0, (step + 1) / self.warmup, left))


def optimizers(
    model: nn.Module,
    *,
    lr: float,
    adam_lr: float,
    weight_decay: float = 0.1,
    muon: bool = True,
    exclude: tuple[str, ...] = (),
    dtype: torch.dtype = torch.bfloat16,
) -> list[Optimizer]:
    """Muon (in `dtype`) on matrices and convolutions (2-D to 4-D) whose name holds none of `exclude`; AdamW, without decay, on the
    rest.

    With muon=False the matrices too go to AdamW, at `lr`, with decay.
    """
    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        hidden = parameter.ndim in (2, 3, 4) and not any(part in name for part in exclude)
        (matrices if hidden else rest).append(parameter)
    adam = {"betas": (0.9, 0.95), "eps": 1e-8, "fused": True}
    if muon:
        return [
            Muon(matrices, lr=lr, weight_decay=weight_decay, dtype=dtype),
            AdamW(rest, lr=adam_lr, weight_decay=0.0, **adam),
        ]
    groups = [
        {"params": matrices, "lr": lr, "weight_decay": weight_decay},
        {"params": rest, "lr": adam_lr, "weight_decay": 0.0},
    ]
    return [AdamW([g for g in groups if g["params"]], **adam)]
