"""What every recipe is given, and small facts that all of them need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from .scenes import SHARD, SMOKE_SHARD


@dataclass(frozen=True, kw_only=True)
class Run:
    """One `polarlight train` call. folder: this run's own; its parent holds sibling runs and the scene shards."""

    folder: Path
    steps: int | None = None
    minutes: float | None = None
    resume: bool = True
    smoke: bool = False  # a tiny model on a handful of scenes: does everything hang together?
    peak_flops: float | None = None  # measured matmul peak of this machine, for MFU
    report: Callable[[dict[str, float]], None] = lambda metrics: None

    @property
    def scenes(self) -> Path:
        """Rendered shards, shared by all runs."""
        return self.folder.parent / ("scenes-smoke" if self.smoke else "scenes")

    @property
    def shard_size(self) -> int:
        """Scenes a shard."""
        return SMOKE_SHARD if self.smoke else SHARD

    def sibling(self, name: str) -> Path:
        """Folder of another run beside this one."""
        return self.folder.parent / name


def activation_dtype() -> torch.dtype:
    """bf16 where the CPU multiplies it in hardware (AMX or AVX512-BF16) or there is a GPU, else fp32."""
    fast = torch.cuda.is_available() or torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32
