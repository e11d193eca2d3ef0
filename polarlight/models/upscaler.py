"""The upscaler: a picture at twice its size.

Residual blocks at the small size, a pixel shuffle, and what they say is added to a bilinear enlargement, as in EDSR (Lim et al.,
arXiv 1707.02921) and, for the long skip, VDSR (Kim et al., arXiv 1511.04587). The head starts at zero: a new model is the bilinear
one. Norms are per pixel, so a pixel depends on nothing further away than `receptive_field`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..nn.conv import Conv, ResBlock
from ..ops.edges import edges
from .cost import Cost

SCALE = 2
EDGE_WEIGHT = 0.5


@dataclass(frozen=True, kw_only=True)
class UpscalerConfig:
    """The shipped one has 0.26M parameters and takes 0.5 MFLOP a pixel given."""

    channels: int = 48
    blocks: int = 6

    @property
    def receptive_field(self) -> int:
        """Pixels of the given picture, to each side, that a pixel made can depend on: one for the first and the last convolution
        each, two a block. Bilinear enlargement looks no further than one."""
        return 2 + 2 * self.blocks


class UpscalerModel(nn.Module):
    """Pictures in [-1, 1] at twice their size."""

    def __init__(self, config: UpscalerConfig) -> None:
        super().__init__()
        self.config = config
        self.stem = Conv(3, config.channels, 3)
        self.blocks = nn.Sequential(*(ResBlock(config.channels) for _ in range(config.blocks)))
        self.head = Conv(config.channels, 3 * SCALE**2, 3)
        nn.init.zeros_(self.head.weight)
        assert self.head.bias is not None
        nn.init.zeros_(self.head.bias)

    def forward(self, pixels: Float[Tensor, "b 3 h w"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "b 3 y x"]:
        """fp32 in and out; the convolutions run in `dtype`. The sum stays in fp32: near white bf16 steps by a whole grey level."""
        x = pixels.to(dtype, memory_format=torch.channels_last)
        detail = F.pixel_shuffle(self.head(self.blocks(self.stem(x))), SCALE)
        return bilinear(pixels) + detail.float()

    def cost(self, pictures: int, height: int, width: int) -> Cost:
        """Forward cost of enlarging pictures of height x width px, counted on a shape-only copy."""
        with torch.device("meta"), FlopCounterMode(display=False) as counter:
            UpscalerModel(self.config)(torch.empty(1, 3, height, width))
        weights = sum(p.numel() * p.element_size() for p in self.parameters())
        return Cost(flops=pictures * counter.get_total_flops(), weight_bytes=weights)


def bilinear(pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 y x"]:
    """Twice the size by bilinear interpolation: where the model starts from, and the least it must beat."""
    return F.interpolate(pixels, scale_factor=SCALE, mode="bilinear")


def upscaler_loss(
    model: nn.Module, small: Float[Tensor, "b 3 h w"], large: Float[Tensor, "b 3 y x"], dtype: torch.dtype
) -> tuple[Tensor, dict[str, Tensor]]:
    """L1 and L1 of edges on the [-1, 1] scale, in fp32. Metrics: the loss, PSNR in dB over the whole batch, that of bilinear
    enlargement, and the gain over it."""
    made = model(small, dtype)
    edge = (edges(made) - edges(large)).abs().mean()
    loss = (made - large).abs().mean() + EDGE_WEIGHT * edge
    with torch.no_grad():
        ours, plain = psnr(made, large), psnr(bilinear(small), large)
    metrics = {"loss": loss.detach(), "psnr": ours, "bilinear_psnr": plain, "gain": ours - plain, "edge": edge.detach()}
    return loss, metrics


def psnr(made: Float[Tensor, "b 3 y x"], truth: Float[Tensor, "b 3 y x"]) -> Float[Tensor, ""]:
    """Of all pixels of a batch in [-1, 1], dB; at most 100, so that blank crops have one too."""
    return 10 * torch.log10(4 / (made - truth).square().mean().clamp(min=4e-10))
