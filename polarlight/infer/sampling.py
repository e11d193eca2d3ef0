"""One picture's job, and how the digits of its positions are drawn from the model's states."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from ..models.image_grammar import Tokens
from ..ops.sampling import draw, guide
from .packed import PackedHead

ROWS = 8  # small fp32 products give a row the same bits in any batch when the rows are a whole multiple of this


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How digits are drawn. guidance runs linearly from `guidance_start` at the first position to `guidance` at the last."""

    guidance: float = 3.0
    guidance_start: float = 3.0
    temperature: float = 1.0
    top_p: float = 1.0

    @property
    def guided(self) -> bool:
        """Whether the sequence without the prompt has a say."""
        return self.guidance != 1 or self.guidance_start != 1

    def scale(self, done: int, positions: int) -> float:
        """Guidance for the position that comes after `done` of `positions`."""
        return self.guidance_start + (self.guidance - self.guidance_start) * done / max(1, positions - 1)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One picture to draw: its sequences with and without the prompt (both end in the full target, see `image_grammar.write`), the
    order of its positions, how many of them are given, its own uniform noise, one number a digit, and for a letterer what it sees
    at each position (`models.letterer.look`)."""

    conditional: Tokens
    free: Tokens
    order: Int64[Tensor, " n"]
    kept: int
    noise: Float[Tensor, "n g"]
    rows: int
    columns: int
    seen: Float[Tensor, "n k"] | None = None


def sample_digits(
    head: PackedHead,
    state: Float[Tensor, "sides n d"],
    noise: Float[Tensor, "n g"],
    scale: float,
    sampling: Sampling,
) -> UInt8[Tensor, "n g"]:
    """Draw the digits of positions one after another. With two sides `scale` guides the first away from the second."""
    sides, n = state.shape[:2]
    extra = -n % (ROWS // sides)
    inputs = head.inputs(F.pad(state, (0, 0, 0, extra)))
    uniform = F.pad(noise, (0, 0, 0, extra)).T.contiguous()
    known = torch.zeros(n + extra, head.digits * head.values)
    drawn = []
    for i in range(head.digits):
        logits = head.logits(inputs[i], known, i)
        guided = guide(logits[0], logits[1], scale) if sides == 2 else logits[0]
        value = draw(guided, uniform[i], sampling.temperature, sampling.top_p)
        known.scatter_(1, (value + i * head.values)[:, None], 1.0)
        drawn.append(value)
    return torch.stack(drawn, -1)[:n].to(torch.uint8)
