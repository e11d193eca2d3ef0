"""The letterer: an adapter that makes the image model write what a sketch says.

It changes what the image model knows of a position (its state, before the digits are drawn) by what is sketched in and around that
position, as ControlNet's branches (arXiv 2302.05543) change features; the image model stays as it is. A position with nothing
sketched near is left alone, so that pictures without texts are the same with it as without.

A sketch is the letters in their faces, white where they are to stand, on boards, dark, on a ground that says nothing: type and
place, and nothing of colour (as the glyph pictures of AnyText, arXiv 2311.03054, and in the face that is wanted, as those of
GlyphControl, arXiv 2305.18259). It is seen through the tokenizer's own encoder, which knows what letters become in codes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from ..nn.layers import Linear, RMSNorm, SwiGLU
from ..text.lettering import BASELINE, CANVAS, CAP, PEN
from ..text.plan import PlanText
from ..text.typesetting import Face, Setting, typeset
from .image_grammar import CELL
from .visual_tokenizer import Encoder, to_signed
from .weights import read_card, revive

NAME = "letterer.safetensors"
MARGIN = 8  # px: a position is written on where there is something within so many
GROUND, BOARD, INK = 128, 48, 255  # levels of a sketch


@dataclass(frozen=True, kw_only=True)
class LettererConfig:
    """width: of the image model's states; seen: features of a position; faces: those that it has glyphs of, in the order in which
    they are tried, each with its letters; strokes: features made of what is seen; hidden: of each of `blocks`."""

    width: int
    seen: int
    faces: dict[str, str]
    strokes: int = 384
    hidden: int = 768
    blocks: int = 2


class Letterer(nn.Module):
    """States and what is seen in, states out. The last matrix of every block is zero at first."""

    def __init__(self, config: LettererConfig) -> None:
        super().__init__()
        c = self.config = config
        self.see = Linear(c.seen, 2 * c.strokes)
        self.norms = nn.ModuleList(RMSNorm(c.width + c.strokes) for _ in range(c.blocks))
        blocks = [SwiGLU(c.width + c.strokes, c.hidden, out=c.width) for _ in range(c.blocks)]
        for block in blocks:
            nn.init.zeros_(block.down.weight)
        self.blocks = nn.ModuleList(blocks)
        count = sum(map(len, c.faces.values()))
        self.glyphs: Tensor
        self.advances: Tensor
        self.spaces: Tensor
        self.register_buffer("glyphs", torch.zeros(count, *CANVAS))  # coverage, 0..255
        self.register_buffer("advances", torch.zeros(count))  # cap heights
        self.register_buffer("spaces", torch.zeros(len(c.faces)))

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

    @cached_property
    def places(self) -> dict[tuple[str, str], int]:
        """The number of every face's letter."""
        pairs = ((face, letter) for face, letters in self.config.faces.items() for letter in letters)
        return {pair: number for number, pair in enumerate(pairs)}

    @cached_property
    def faces(self) -> dict[str, Face]:
        """Advances of every face's letters."""
        found = {face: {" ": float(space)} for face, space in zip(self.config.faces, self.spaces, strict=True)}
        for (face, letter), number in self.places.items():
            found[face][letter] = float(self.advances[number])
        return found

    def sketch(self, texts: Sequence[PlanText], size: tuple[int, int]) -> UInt8[Tensor, "h w"]:
        """What `texts` are to look like in a picture of `size` (height, width) px."""
        return paint(
            typeset(texts, size, self.faces), size, lambda face, letter: self.glyphs[self.places[face, letter]]
        )

    def strokes(self, seen: Float[Tensor, "n k"]) -> Float[Tensor, "n e"]:
        """What is made of what is seen."""
        gate, value = self.see(seen).chunk(2, -1)
        return F.silu(gate) * value

    def forward(self, states: Float[Tensor, "n d"], strokes: Float[Tensor, "n e"]) -> Float[Tensor, "n d"]:
        """The states by which the strokes are drawn."""
        for norm, block in zip(self.norms, self.blocks, strict=True):
            states = states + block(norm(torch.cat((states, strokes.to(states.dtype)), -1)))
        return states


def paint(
    setting: Setting, size: tuple[int, int], glyph: Callable[[str, str], Float[Tensor, "y x"]]
) -> UInt8[Tensor, "h w"]:
    """A sketch. glyph: coverage of a face's letter, 0..255, in the canvas of `text.lettering`."""
    high, wide = size
    boards, letters = torch.zeros(size), torch.zeros(size)
    for x0, y0, x1, y1 in setting.boards:
        boards = torch.maximum(boards, resampling(y0, y1 - y0, 1, high) @ resampling(x0, x1 - x0, 1, wide).T)
    for one in setting.letters:
        down = resampling(one.baseline - BASELINE / CAP * one.cap, one.cap / CAP, CANVAS[0], high)
        across = resampling(one.x - PEN / CAP * one.across, one.across / CAP, CANVAS[1], wide)
        letters += down @ glyph(one.face, one.letter) @ across.T
    letters = (letters / 255).clamp(0, 1)
    ground = GROUND + (BOARD - GROUND) * boards
    return (ground + (INK - ground) * letters + 0.5).to(torch.uint8)


def resampling(start: float, step: float, cells: int, size: int) -> Float[Tensor, "size cells"]:
    """The share of each of `size` pixels that each of `cells` cells covers, the first from `start` on, each `step` px long."""
    edges = start + step * torch.arange(cells + 1)
    pixels = torch.arange(size)[:, None]
    return (torch.minimum(edges[1:], pixels + 1) - torch.maximum(edges[:-1], pixels)).clamp_min(0)


@torch.no_grad()
def look(encoder: Encoder, sketches: UInt8[Tensor, "b h w"], dtype: torch.dtype) -> Float[Tensor, "b n k"]:
    """What the tokenizer's encoder sees at each position of sketches, zeros where nothing is near."""
    pictures = to_signed(sketches[..., None].expand(-1, -1, -1, 3)).to(dtype)
    features = encoder.features(pictures)
    cells = CELL * features.shape[-1] // sketches.shape[-1]
    seen = F.pixel_unshuffle(features, cells).flatten(2).transpose(1, 2)
    return seen * inked(sketches)[..., None]


def inked(sketches: UInt8[Tensor, "b h w"]) -> Bool[Tensor, "b n"]:
    """Whether there is anything in or near each position."""
    drawn = F.pad((sketches != GROUND).float(), (MARGIN,) * 4)[:, None]
    return (F.max_pool2d(drawn, CELL + 2 * MARGIN, CELL) > 0).flatten(1)
