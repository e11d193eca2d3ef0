"""Convolution blocks for pictures, channels last in memory."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..ops.norm import rms_norm


class Conv(nn.Conv2d):
    """A convolution that casts its weights to the activation's dtype; odd kernels keep the size."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, padding=kernel // 2 if stride == 1 else 0)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o p q"]:
        weight = self.weight.to(x.dtype, memory_format=torch.channels_last)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.conv2d(x, weight, bias, self.stride, self.padding)


class ChannelNorm(nn.Module):
    """RMS norm over the channels of each pixel: unlike a group norm it sees no neighbour, so a picture's size, a crop or a
    chunk of frames changes nothing."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return rms_norm(x.permute(0, 2, 3, 1), self.weight).permute(0, 3, 1, 2)


class ResBlock(nn.Module):
    """x + conv(silu(conv(silu(norm(x))))); the last convolution starts small."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.first = Conv(channels, channels, 3)
        self.second = Conv(channels, channels, 3)
        with torch.no_grad():
            self.second.weight.mul_(0.1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return x + self.second(F.silu(self.first(F.silu(self.norm(x)))))
