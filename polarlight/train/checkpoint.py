"""Exact resume: everything that the next step depends on, in one atomic file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from ..base.errors import UserError
from ..base.files import atomic_path


class EMA:
    """Exponential moving average of parameters, in fp32; the average warms up so that early steps do not linger."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.average = {name: p.detach().clone() for name, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.average.values()), [p.detach() for p in model.parameters()], 1 - decay)

    @torch.no_grad()
    def swap(self, model: nn.Module) -> None:
        """Exchange the model's parameters with the average (call again to undo)."""
        for name, parameter in model.named_parameters():
            average = self.average[name].clone()
            self.average[name].copy_(parameter)
            parameter.copy_(average)


def save_state(
    path: Path, model: nn.Module, optimizers: list[Optimizer], ema: EMA, step: int, extra: dict[str, Any]
) -> None:
    """Write weights, optimizer state, average and counters, whole or not at all."""
    state = {
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "ema": ema.average,
        "step": step,
        "extra": extra,
    }
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def load_state(path: Path, model: nn.Module, optimizers: list[Optimizer], ema: EMA) -> tuple[int, dict[str, Any]]:
    """Restore a state; returns (steps done, extra).

    Raises:
        UserError: the file is damaged, or belongs to a model of another shape.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        for name, value in state["ema"].items():
            ema.average[name].copy_(value)
    except (RuntimeError, ValueError, KeyError, EOFError, OSError, pickle.UnpicklingError) as error:
        raise UserError(
            f"The training state {path} cannot be resumed: {(str(error) or 'it ends early').splitlines()[0]}",
            fix="Start afresh with --no-resume.",
        ) from error
    return state["step"], state["extra"]
