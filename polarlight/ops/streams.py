"""torch generators for the named random streams of `base.seeds`, always on the CPU."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..base.seeds import stream_seed


def stream(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """The generator of stream (seed, purpose, index)."""
    return torch.Generator().manual_seed(stream_seed(seed, purpose, index))


def uniform(shape: tuple[int, ...], seed: int, purpose: str, index: int = 0) -> Float[Tensor, "..."]:
    """Uniform numbers in [0, 1) of the named stream, fp32."""
    return torch.rand(shape, generator=stream(seed, purpose, index))
