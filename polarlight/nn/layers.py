"""Linear, RMSNorm, SwiGLU: weights in fp32, arithmetic in the activation's dtype."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..ops.norm import rms_norm


class Linear(nn.Linear):
    """A linear map without bias that casts its weight to the activation's dtype, so that precision is written and not ambient."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=self.in_features**-0.5)

    def forward(self, x: Float[Tensor, "*n i"]) -> Float[Tensor, "*n o"]:
        return F.linear(x, self.weight.to(x.dtype))


class RMSNorm(nn.Module):
    """Root-mean-square norm over the last axis; statistics in fp32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
        return rms_norm(x, self.weight)


class SwiGLU(nn.Module):
    """down(silu(gate(x)) * value(x)) (Shazeer, arXiv 2002.05202); gate and value are one matrix."""

    def __init__(self, width: int, hidden: int, out: int | None = None) -> None:
        """out: width of what comes out, that of what goes in where left out."""
        super().__init__()
        self.up = Linear(width, 2 * hidden)
        self.down = Linear(hidden, out or width)

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n o"]:
        gate, value = self.up(x).chunk(2, -1)
        return self.down(F.silu(gate) * value)
