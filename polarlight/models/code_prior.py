"""A small model of a tokenizer's codes: how many nats each digit costs, given the cells before it and the digits before it.

It trains beside the tokenizer, whose loss counts those nats, as learned compression does (Minnen et al., arXiv 1809.02736): codes
then say what a picture holds and leave out what nobody sees, and the image model has less to learn. Nothing ships with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..ops.fsq import quantise, squash


class CausalConv(nn.Conv2d):
    """A k x k convolution that sees the cells before its own in raster order, and its own cell if `own`."""

    def __init__(self, inputs: int, outputs: int, kernel: int, own: bool) -> None:
        super().__init__(inputs, outputs, kernel, padding=kernel // 2)
        before = torch.arange(kernel * kernel) < kernel * kernel // 2 + own
        self.before: Tensor
        self.register_buffer("before", before.view(1, 1, kernel, kernel).float(), persistent=False)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h w"]:
        assert self.bias is not None
        weight = (self.weight * self.before).to(x.dtype)
        return F.conv2d(x, weight, self.bias.to(x.dtype), padding=self.padding)


class CodePrior(nn.Module):
    """Costs of digits under a causal convolutional model; differentiable in the latents, not only in its weights."""

    def __init__(self, levels: Sequence[int], width: int = 96, blocks: int = 2) -> None:
        super().__init__()
        digits = len(levels)
        self.levels, self.values = tuple(levels), max(levels)
        self.stem = CausalConv(2 * digits, width, 5, own=False)
        self.blocks = nn.ModuleList(CausalConv(width, width, 3, own=True) for _ in range(blocks))
        self.mix = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(blocks))
        self.out = nn.Conv2d(width, digits * self.values, 1)
        self.same = nn.Conv2d(2 * digits, digits * self.values, 1)  # from earlier digits of the same cell
        index = torch.arange(digits)
        earlier = index.repeat(2)[None] < index.repeat_interleave(self.values)[:, None]
        self.earlier: Tensor
        self.impossible: Tensor
        self.register_buffer("earlier", earlier[..., None, None].float(), persistent=False)
        impossible = torch.arange(self.values) >= torch.tensor(levels)[:, None]
        self.register_buffer("impossible", impossible, persistent=False)

    def costs(self, values: Float[Tensor, "b p q d"]) -> Float[Tensor, "b p q d v"]:
        """Nats of every value of every digit, given the digits `values` (in (-1, 1)) that come before it."""
        x = values.permute(0, 3, 1, 2)
        x = torch.cat((x, x.square()), 1)
        y = self.stem(x)
        for conv, mix in zip(self.blocks, self.mix, strict=True):
            y = y + mix(F.silu(conv(F.silu(y))))
        assert self.same.bias is not None
        logits = self.out(F.silu(y)) + F.conv2d(x, self.same.weight * self.earlier, self.same.bias)
        logits = logits.unflatten(1, (len(self.levels), self.values)).permute(0, 3, 4, 1, 2)
        return -logits.masked_fill(self.impossible, -1e4).log_softmax(-1)

    def forward(self, latents: Float[Tensor, "b p q d"]) -> tuple[Float[Tensor, "b p q"], Float[Tensor, "b p q"]]:
        """Nats a cell: (differentiable, exact). Between two bins' centres the first mixes the nats of both."""
        latents = latents.float()
        values, digits = quantise(latents, self.levels)
        costs = self.costs(values)
        size = torch.tensor(self.levels, dtype=torch.float32, device=latents.device)
        place = ((squash(latents) + 1) * (size / 2) - 0.5).clamp_min(0).minimum(size - 1)
        low = place.detach().floor().minimum(size - 2)
        share = (place - low)[..., None]
        first, second = (costs.gather(-1, (low + step).long()[..., None]) for step in (0, 1))
        soft = first * (1 - share) + second * share
        return soft.sum((-2, -1)), costs.detach().gather(-1, digits.long()[..., None]).sum((-2, -1))
