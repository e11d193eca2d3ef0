"""The reader: what a picture shows, position by position, read from the generator's own codes.

A small vision transformer says of every 16 px position which object it shows, in which colour and material, whether an object's
centre lies there, and which letters stand in it. `infer.choosing` compares that with what a prompt claims; since it reads codes,
pictures that are not chosen need not be decoded.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor, nn

from ..nn.conv import ChannelNorm, Conv, ResBlock
from ..nn.layers import Linear, RMSNorm, SwiGLU
from ..ops.attention import attention
from .image_grammar import IGNORE, frame

SIDE = 2  # cells a side of a position
WAVES = 4  # sines and cosines for each coordinate
# weights of the losses; most letters and centres are nowhere, so the means of theirs are tiny
NAMES, COLOURS, MATERIALS, CENTRES, LETTERS = 1.0, 0.3, 0.3, 2.0, 20.0


@dataclass(frozen=True, kw_only=True)
class ReaderConfig:
    """levels: of the tokenizer's digits; names, colours, materials, letters: what output i of a position means."""

    levels: tuple[int, ...]
    names: tuple[str, ...]
    colours: tuple[str, ...]
    materials: tuple[str, ...]
    letters: str
    width: int = 192
    heads: int = 6
    stem: int = 96
    layers: int = 4

    @property
    def outputs(self) -> tuple[int, ...]:
        """Lengths of the fields of `Seen`."""
        return len(self.names) + 1, len(self.colours), len(self.materials), 1, len(self.letters)


class Seen(NamedTuple):
    """What positions say of themselves: logits, fp32."""

    names: Float[Tensor, "b n names"]  # a softmax; the last class is "no object"
    colours: Float[Tensor, "b n colours"]  # a softmax
    materials: Float[Tensor, "b n materials"]  # a softmax
    centres: Float[Tensor, "b n 1"]  # each its own logit
    letters: Float[Tensor, "b n letters"]  # each its own logit


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What positions show in truth: class indices, IGNORE where nothing is to be learnt; where centres and which letters are."""

    names: Int64[Tensor, "*b n"]
    colours: Int64[Tensor, "*b n"]
    materials: Int64[Tensor, "*b n"]
    centres: Bool[Tensor, "*b n"]
    letters: Bool[Tensor, "*b n l"]


class Attention(nn.Module):
    """Every position looks at every other; queries and keys are RMS-normalised."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = Linear(width, 3 * width), Linear(width, width)
        self.query_norm, self.key_norm = RMSNorm(width // heads), RMSNorm(width // heads)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        query, key, value = rearrange(self.qkv(x), "b n (three h k) -> three b h n k", three=3, h=self.heads)
        mixed = attention(self.query_norm(query), self.key_norm(key), value, None)
        return self.out(rearrange(mixed, "b h n k -> b n (h k)"))


class Block(nn.Module):
    """Attention and SwiGLU, each behind a norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm, self.attention = RMSNorm(width), Attention(width, heads)
        self.feed_norm, self.feed = RMSNorm(width), SwiGLU(width, width * 8 // 3 // 32 * 32)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        x = x + self.attention(self.attention_norm(x))
        return x + self.feed(self.feed_norm(x))


class Reader(nn.Module):
    """Codes in, what every position says of itself out."""

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__()
        c = self.config = config
        self.stem = nn.Sequential(Conv(len(c.levels), c.stem, 3), ResBlock(c.stem), ChannelNorm(c.stem))
        self.down = Conv(c.stem, c.width, SIDE, stride=SIDE)
        self.place = Linear(4 * WAVES, c.width)
        self.blocks = nn.ModuleList(Block(c.width, c.heads) for _ in range(c.layers))
        self.norm = RMSNorm(c.width)
        self.says = Linear(c.width, sum(c.outputs))

    def forward(self, digits: UInt8[Tensor, "b h w d"], dtype: torch.dtype = torch.float32) -> Seen:
        """digits: of cells, height and width multiples of SIDE."""
        levels = torch.tensor(self.config.levels, device=digits.device)
        latents = digits.float() / (levels - 1) * 2 - 1
        x = self.down(self.stem(rearrange(latents, "b h w d -> b d h w").to(dtype)))
        rows, columns = x.shape[2:]
        x = rearrange(x, "b c h w -> b (h w) c") + self.place(waves(rows, columns).to(x))
        for block in self.blocks:
            x = block(x)
        return Seen(*self.says(self.norm(x)).float().split(self.config.outputs, -1))


def waves(rows: int, columns: int) -> Float[Tensor, "n f"]:
    """Sines and cosines of every position's place in the picture, from half a wave over it upwards."""
    shares = frame(rows, columns)[:, 2:] * math.pi  # -pi/2 .. pi/2
    angles = (shares[..., None] * 2.0 ** torch.arange(WAVES)).flatten(1)
    return torch.cat((angles.sin(), angles.cos()), -1)


def reader_loss(seen: Seen, shown: Shown) -> tuple[Tensor, dict[str, Tensor]]:
    """Cross-entropy of all that is said, and each part for the log; `named`: share of the objects' positions that name theirs."""

    def classes(logits: Tensor, truth: Tensor) -> Tensor:
        counted = (truth != IGNORE).sum().clamp(min=1)
        total = F.cross_entropy(logits.flatten(0, 1), truth.flatten(), ignore_index=IGNORE, reduction="sum")
        return total / counted

    def flags(logits: Tensor, truth: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, truth.float())

    names, colours = classes(seen.names, shown.names), classes(seen.colours, shown.colours)
    materials = classes(seen.materials, shown.materials)
    centres, letters = flags(seen.centres[..., 0], shown.centres), flags(seen.letters, shown.letters)
    loss = NAMES * names + COLOURS * colours + MATERIALS * materials + CENTRES * centres + LETTERS * letters
    things = (shown.names != IGNORE) & (shown.names < seen.names.shape[-1] - 1)
    named = (seen.names.argmax(-1) == shown.names)[things].float().mean()
    parts = {"named": named, "names": names, "colours": colours, "materials": materials}
    parts |= {"centres": centres, "letters": letters}
    return loss, {name: value.detach() for name, value in parts.items()}
