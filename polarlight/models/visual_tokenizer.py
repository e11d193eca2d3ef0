"""The visual tokenizer: pictures to FSQ codes (or continuous latents) and back.

Convolutional, 8 x 8 pixels to one cell. A 4 x 4 pixel unshuffle, residual blocks at 1/4, one strided convolution, residual
blocks at 1/8, then the latent; the decoder mirrors it. All norms are per pixel, so any size works and crops agree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import log2

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..nn.conv import ChannelNorm, Conv, ResBlock
from ..ops.fsq import digit_values, quantise
from .cost import Cost


@dataclass(frozen=True, kw_only=True)
class VisualTokenizerConfig:
    """levels: values of each digit of a cell's code; an empty tuple means a continuous latent of `latent_channels`."""

    levels: tuple[int, ...] = (4,) * 8
    latent_channels: int = 8
    spatial_factor: int = 8  # pixels a cell side: 8, or 16 with one more strided stage
    fine_channels: int = 96  # at 1/4 of the size
    coarse_channels: int = 192  # at 1/8 (and 1/16)
    fine_blocks: int = 2
    coarse_blocks: int = 2
    decoder_extra: int = 1  # blocks more in the decoder at each size

    @property
    def channels(self) -> int:
        """Numbers a cell: one per digit, or the continuous latent's channels."""
        return len(self.levels) or self.latent_channels

    @property
    def bits(self) -> float:
        """Bits a cell can hold."""
        return sum(log2(level) for level in self.levels)


class Encoder(nn.Module):
    """uint8 pictures to latents before quantisation."""

    def __init__(self, config: VisualTokenizerConfig) -> None:
        super().__init__()
        fine, coarse = config.fine_channels, config.coarse_channels
        self.stem = Conv(48, fine, 3)
        self.fine = nn.Sequential(*(ResBlock(fine) for _ in range(config.fine_blocks)))
        self.down = Conv(fine, coarse, 2, stride=2)
        self.coarse = nn.Sequential(*(ResBlock(coarse) for _ in range(config.coarse_blocks)))
        self.deeper = (
            nn.Sequential(Conv(coarse, coarse, 2, stride=2), ResBlock(coarse))
            if config.spatial_factor == 16
            else nn.Identity()
        )
        self.head = nn.Sequential(ChannelNorm(coarse), Conv(coarse, config.channels, 1))

    def features(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b k p q"]:
        """What the latents are read from."""
        x = self.fine(self.stem(F.pixel_unshuffle(x, 4).contiguous(memory_format=torch.channels_last)))
        return self.head[0](self.deeper(self.coarse(self.down(x))))

    def forward(self, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b p q c"]:
        return self.head[1](self.features(x)).permute(0, 2, 3, 1)


class Decoder(nn.Module):
    """Latents to pictures in [-1, 1]."""

    def __init__(self, config: VisualTokenizerConfig) -> None:
        super().__init__()
        fine, coarse, extra = config.fine_channels, config.coarse_channels, config.decoder_extra
        self.stem = Conv(config.channels, coarse, 3)
        self.deeper = (
            nn.Sequential(ResBlock(coarse), Upsample(coarse, coarse)) if config.spatial_factor == 16 else nn.Identity()
        )
        self.coarse = nn.Sequential(*(ResBlock(coarse) for _ in range(config.coarse_blocks + extra)))
        self.up = Upsample(coarse, fine)
        self.fine = nn.Sequential(*(ResBlock(fine) for _ in range(config.fine_blocks + extra)))
        self.head = nn.Sequential(ChannelNorm(fine), Conv(fine, 48, 3))

    def forward(self, latents: Float[Tensor, "b p q c"]) -> Float[Tensor, "b 3 h w"]:
        x = self.stem(latents.permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last))
        x = self.fine(self.up(self.coarse(self.deeper(x))))
        return F.pixel_shuffle(self.head(x), 4)


class Upsample(nn.Module):
    """A 1 x 1 convolution to four times the channels, shuffled to twice the size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = Conv(inputs, 4 * outputs, 1)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o p q"]:
        return F.pixel_shuffle(self.conv(x), 2).contiguous(memory_format=torch.channels_last)


class VisualTokenizer(nn.Module):
    """Pictures <-> cells. `encode` and `decode` speak uint8 pixels and uint8 digits; `forward` is the training pass."""

    @dataclass(frozen=True, kw_only=True)
    class Output:
        pixels: Float[Tensor, "b 3 h w"]
        latents: Float[Tensor, "b p q c"] = field(repr=False)
        raw: Float[Tensor, "b p q c"] = field(repr=False)  # before quantisation

    def __init__(self, config: VisualTokenizerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Output:
        """Reconstruct pictures in [-1, 1]; gradients pass the quantiser straight through."""
        latents = raw = self.encoder(pixels).float()
        if self.config.levels:
            latents, _ = quantise(latents, self.config.levels)
        return self.Output(pixels=self.decoder(latents.to(pixels.dtype)), latents=latents, raw=raw)

    @torch.no_grad()
    def encode(self, pixels: UInt8[Tensor, "b h w 3"], dtype: torch.dtype = torch.float32) -> UInt8[Tensor, "b p q c"]:
        """Digits of every cell. h and w must be multiples of the spatial factor."""
        latents = self.encoder(to_signed(pixels).to(dtype))
        return quantise(latents, self.config.levels)[1]

    @torch.no_grad()
    def decode(self, digits: UInt8[Tensor, "b p q c"], dtype: torch.dtype = torch.float32) -> UInt8[Tensor, "b h w 3"]:
        """Pictures of digits."""
        return to_uint8(self.decoder(digit_values(digits, self.config.levels).to(dtype)))

    def cost(self, pictures: int, height: int, width: int) -> Cost:
        """Forward cost of encoding and decoding pictures, counted on a shape-only copy."""
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            VisualTokenizer(self.config)(torch.empty(1, 3, height, width))
        weights = sum(p.numel() * p.element_size() for p in self.parameters())
        return Cost(flops=pictures * counter.get_total_flops(), weight_bytes=weights)


def to_signed(pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b 3 h w"]:
    """uint8 to [-1, 1], channels first."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_uint8(pixels: Float[Tensor, "b 3 h w"]) -> UInt8[Tensor, "b h w 3"]:
    """[-1, 1] to uint8, channels last."""
    return ((pixels.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()
