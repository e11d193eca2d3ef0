"""The letterer: an adapter that makes the image model write what a sketch says.

It changes what the image model knows of a position (its state, before the digits are drawn) by the strokes in and around that
position, as ControlNet's branches (arXiv 2302.05543) change features; the image model stays as it is. A position without strokes
near is left alone, so that pictures without texts are the same with it as without.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn

from ..base.errors import UserError
from ..nn.layers import Linear, RMSNorm, SwiGLU
from .image_grammar import CELL
from .weights import load_into, read_card

NAME = "letterer.safetensors"
MARGIN = 8  # px around a position that are seen


@dataclass(frozen=True, kw_only=True)
class LettererConfig:
    """width: of the image model's states; strokes: features of a window; hidden: of each of `blocks`."""

    width: int
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

    @classmethod
    def find(cls, folder: Path, image: str) -> Letterer | None:
        """The letterer in a folder; None where there is none, or one for another image model than that of this hash.

        Raises:
            UserError: there is one, and it is damaged.
        """
        path = folder / NAME
        if not path.exists():
            return None
        card = read_card(path)
        if card.get("image") != image:
            return None
        try:
            with torch.random.fork_rng(devices=[]):
                letterer = cls(LettererConfig(**card["config"]))
        except (KeyError, TypeError) as error:
            raise UserError(
                f"The card beside {path} does not describe a letterer of this version: {error}",
                fix="Use the release that it came with, or train it again.",
            ) from error
        load_into(letterer, path)
        return letterer

    def strokes(self, windows: UInt8[Tensor, "n k"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "n e"]:
        """What is seen in windows."""
        gate, value = self.see(windows.to(dtype) * (3 / 255)).chunk(2, -1)
        return F.silu(gate) * value

    def forward(self, states: Float[Tensor, "n d"], strokes: Float[Tensor, "n e"]) -> Float[Tensor, "n d"]:
        """The states by which the strokes are drawn."""
        for norm, block in zip(self.norms, self.blocks, strict=True):
            states = states + block(norm(torch.cat((states, strokes.to(states.dtype)), -1)))
        return states


def windows(sketches: UInt8[Tensor, "b h w"]) -> UInt8[Tensor, "b n k"]:
    """What is sketched in and around each position of pictures whose sides are multiples of CELL."""
    side = CELL + 2 * MARGIN
    padded = F.pad(sketches, (MARGIN,) * 4)
    return padded.unfold(1, side, CELL).unfold(2, side, CELL).flatten(3).flatten(1, 2)


def inked(windows: UInt8[Tensor, "*n k"]) -> Bool[Tensor, "*n"]:
    """Whether there are any strokes."""
    return windows.amax(-1) > 0
