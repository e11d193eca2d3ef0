"""Finite scalar quantisation (Mentzer et al., arXiv 2309.15505) with the iFSQ squashing (arXiv 2601.17124).

A code is d digits; digit i has `levels[i]` values, each the centre of one of `levels[i]` equal bins of (-1, 1). The logistic
squashing makes a roughly normal latent fill the bins evenly, so no codebook loss, restarts or balancing is needed.
All arithmetic is fp32 or integer: in bf16 neighbouring codes merge.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor


def squash(latents: Float[Tensor, "*n d"]) -> Float[Tensor, "*n d"]:
    """Map reals to (-1, 1): 2 sigmoid(1.6 x) - 1, in fp32."""
    return 2 * torch.sigmoid(1.6 * latents.float()) - 1


def quantise(
    latents: Float[Tensor, "*n d"], levels: Sequence[int]
) -> tuple[Float[Tensor, "*n d"], UInt8[Tensor, "*n d"]]:
    """Quantise latents; returns (values in (-1, 1) with straight-through gradient, digits 0 .. levels-1)."""
    squashed = squash(latents)
    size = torch.tensor(levels, dtype=torch.float32, device=latents.device)
    digits = ((squashed.detach() + 1) * (size / 2)).floor().clamp_min(0).minimum(size - 1)
    values = (2 * digits + 1) / size - 1
    return squashed + (values - squashed).detach(), digits.to(torch.uint8)


def digit_values(digits: UInt8[Tensor, "*n d"], levels: Sequence[int]) -> Float[Tensor, "*n d"]:
    """Bin centres in (-1, 1) of digits."""
    size = torch.tensor(levels, dtype=torch.float32, device=digits.device)
    return (2 * digits.float() + 1) / size - 1


def pack_digits(digits: UInt8[Tensor, "*n d"], levels: Sequence[int]) -> Int64[Tensor, "*n"]:
    """Digits to one code index in [0, prod(levels)), first digit least significant."""
    place = torch.tensor([prod(levels[:i]) for i in range(len(levels))], device=digits.device)
    return (digits.long() * place).sum(-1)


def unpack_digits(codes: Int64[Tensor, "*n"], levels: Sequence[int]) -> UInt8[Tensor, "*n d"]:
    """Inverse of `pack_digits`."""
    place = torch.tensor([prod(levels[:i]) for i in range(len(levels))], device=codes.device)
    size = torch.tensor(levels, device=codes.device)
    return (codes[..., None] // place % size).to(torch.uint8)
