"""A small glyph classifier whose features tell the tokenizer which strokes matter.

It takes the place of a perceptual network: trained here from nothing on glyphs of the baked atlas, it is blind to everything but
letters (InsightTok, arXiv 2605.14333, found such features to be what small text needs). It is used in the tokenizer's loss, so it
never judges anything.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ..nn.conv import ChannelNorm, Conv

WINDOW = 32  # px, side of a training crop


@dataclass(frozen=True, kw_only=True)
class GlyphReaderConfig:
    glyphs: int
    channels: int = 48


class GlyphReader(nn.Module):
    """Crops [b 3 32 32] in [-1, 1] to glyph logits; `features` works on pictures of any size."""

    def __init__(self, config: GlyphReaderConfig) -> None:
        super().__init__()
        c = config.channels
        self.config = config
        self.stages = nn.ModuleList(
            nn.Sequential(
                Conv(inputs, outputs, 3), nn.SiLU(), ChannelNorm(outputs), Conv(outputs, outputs, 3), nn.SiLU()
            )
            for inputs, outputs in ((12, c), (c, 2 * c), (2 * c, 4 * c))
        )
        self.classify = nn.Linear(4 * c * 16, config.glyphs)

    def features(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b c p q"]]:
        """Activations at 1/2, 1/4 and 1/8 of the size."""
        x, kept = F.pixel_unshuffle(pixels, 2), []
        for number, stage in enumerate(self.stages):
            x = stage(F.avg_pool2d(x, 2) if number else x)
            kept.append(x)
        return kept

    def forward(self, pixels: Float[Tensor, "b 3 32 32"]) -> Float[Tensor, "b g"]:
        """Logits of the glyph in the middle of each crop."""
        return self.classify(self.features(pixels)[-1].flatten(1).float())
