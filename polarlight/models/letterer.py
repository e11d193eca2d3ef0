"""The letterer: an adapter that makes the image model write what a sketch says.

It changes what the image model knows of a position (its state, before the digits are drawn) by the strokes in and around that
position, as ControlNet's branches (arXiv 2302.05543) change features; the image model stays as it is. A position without strokes
near is left alone, so that pictures without texts are the same with it as without.

A sketch is the planned letters in one plain font where they are to stand: which and where, and nothing of type, colour or ground
(as the glyph pictures of AnyText, arXiv 2311.03054). The font lies in the letterer's own file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from ..nn.layers import Linear, RMSNorm, SwiGLU
from ..text.lettering import BASELINE, CANVAS, CAP, PEN, stands
from ..text.plan import PlanText
from .image_grammar import CELL
from .weights import read_card, revive

NAME = "letterer.safetensors"
MARGIN = 8  # px around a position that are seen


@dataclass(frozen=True, kw_only=True)
class LettererConfig:
    """width: of the image model's states; letters: those it has a glyph of; strokes: features of a window; hidden: of each of
    `blocks`."""

    width: int
    letters: str
    strokes: int = 256
    hidden: int = 512
    blocks: int = 2


class Letterer(nn.Module):
    """States and windows in, states out. The last matrix of every block is zero at first."""

    def __init__(self, config: LettererConfig) -> None:
        super().__init__()
        c = self.config = config
        self.see = Linear((CELL + 2 * MARGIN) ** 2, 2 * c.strokes)
        self.norms = nn.ModuleList(RMSNorm(c.width + c.strokes) for _ in range(c.blocks))
        blocks = [SwiGLU(c.width + c.strokes, c.hidden, out=c.width) for _ in range(c.blocks)]
        for block in blocks:
            nn.init.zeros_(block.down.weight)
        self.blocks = nn.ModuleList(blocks)
        self.glyphs: Tensor
        self.advances: Tensor
        self.register_buffer("glyphs", torch.zeros(len(c.letters), *CANVAS))  # coverage, 0..255
        self.register_buffer("advances", torch.zeros(len(c.letters)))  # cap heights

    @classmethod
    def find(cls, folder: Path, image: str) -> Letterer | None:
        """The letterer in a folder; None where there is none, or one for another image model than that of this hash.

        Raises:
            UserError: there is one, and it is damaged.
        """
        path = folder / NAME
        if not path.exists() or read_card(path).get("image") != image:
            return None
        return revive(path, "a letterer", lambda config: cls(LettererConfig(**config)))

    def sketch(self, texts: Sequence[PlanText], size: tuple[int, int]) -> UInt8[Tensor, "h w"]:
        """Coverage by the letters of texts, 0..255, in a picture of `size` (height, width) px, each text stretched so that its ink
        fills its box. A text with a letter that has no glyph is left out."""
        sketch = torch.zeros(size)
        for text in texts:
            if set(text.text) - {" ", "\n"} <= set(self.config.letters):
                self._sketch_text(sketch, text)
        return (sketch.clamp(0, 255) + 0.5).to(torch.uint8)

    def _sketch_text(self, sketch: Float[Tensor, "h w"], text: PlanText) -> None:
        high, wide = sketch.shape
        lines, (x0, _, x1, _) = stands(text.text, text.box, high), text.box
        numbers = {letter: self.config.letters.index(letter) for letter in set(text.text) - {" ", "\n"}}
        # as wide as the first letter of the alphabet that occurs: Latin ones, which come first, are all equally wide
        space = float(self.advances[min(numbers.values())]) if numbers else 0.0
        widths = [[float(self.advances[numbers[c]]) if c in numbers else space for c in each.line] for each in lines]
        longest = max(map(sum, widths))
        if not longest:
            return
        stretch = (x1 - x0) * wide / longest  # letters may be wider or narrower than the cap height says
        for each, steps in zip(lines, widths, strict=True):
            pen = (x0 + x1) / 2 * wide - sum(steps) * stretch / 2
            down = resampling(each.baseline - BASELINE / CAP * each.cap, each.cap / CAP, CANVAS[0], high)
            for letter, step in zip(each.line, steps, strict=True):
                if letter in numbers:
                    across = resampling(pen - PEN / CAP * stretch, stretch / CAP, CANVAS[1], wide)
                    sketch += down @ self.glyphs[numbers[letter]] @ across.T
                pen += step * stretch

    def strokes(self, windows: UInt8[Tensor, "n k"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "n e"]:
        """What is seen in windows."""
        gate, value = self.see(windows.to(dtype) * (3 / 255)).chunk(2, -1)
        return F.silu(gate) * value

    def forward(self, states: Float[Tensor, "n d"], strokes: Float[Tensor, "n e"]) -> Float[Tensor, "n d"]:
        """The states by which the strokes are drawn."""
        for norm, block in zip(self.norms, self.blocks, strict=True):
            states = states + block(norm(torch.cat((states, strokes.to(states.dtype)), -1)))
        return states


def resampling(start: float, step: float, cells: int, size: int) -> Float[Tensor, "size cells"]:
    """The share of each of `size` pixels that each of `cells` cells covers, the first from `start` on, each `step` px long."""
    edges = start + step * torch.arange(cells + 1)
    pixels = torch.arange(size)[:, None]
    return (torch.minimum(edges[1:], pixels + 1) - torch.maximum(edges[:-1], pixels)).clamp_min(0)


def windows(sketches: UInt8[Tensor, "b h w"]) -> UInt8[Tensor, "b n k"]:
    """What is sketched in and around each position of pictures whose sides are multiples of CELL."""
    side = CELL + 2 * MARGIN
    padded = F.pad(sketches, (MARGIN,) * 4)
    return padded.unfold(1, side, CELL).unfold(2, side, CELL).flatten(3).flatten(1, 2)


def inked(windows: UInt8[Tensor, "*n k"]) -> Bool[Tensor, "*n"]:
    """Whether there are any strokes."""
    return windows.amax(-1) > 0
