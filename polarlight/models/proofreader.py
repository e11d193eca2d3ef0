"""The proofreader: how likely a picture says a text where a plan has it.

A small convolutional network reads lines of letters in pictures, as CRNN (arXiv 1507.05717) does without its recurrent layers,
and is trained by connectionist temporal classification (Graves et al. 2006): it need not know where in the line each letter stands,
so a text that was drawn a little beside its place is still read. A line is cut out so that its letters are of about one size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from ..nn.conv import ChannelNorm, Conv
from ..nn.layers import Linear
from ..text.lettering import stands
from ..text.plan import Box
from .weights import read_card, revive

NAME = "proofreader.safetensors"
HIGH, LETTER = 32, 12  # px of a strip, and of each of its letters if all are equally wide
RISE, FALL = 1.5, 0.7  # cap heights above and below the baseline that a strip shows
AROUND = 1.25  # letters that it shows left and right of the line
STEP = 2  # px of a strip for which it says one letter or none


@dataclass(frozen=True, kw_only=True)
class ProofreaderConfig:
    """letters: what output i means, and one more says "none"; width: channels of the last convolution; context: along a line."""

    letters: str
    width: int = 128
    context: int = 160


@dataclass(frozen=True, kw_only=True)
class Strip:
    """A line, what the picture shows there, and where that is: x0, y0, x1, y1 in px, as wide as the strip and from the baseline to
    the cap height."""

    line: str
    pixels: Float[Tensor, "3 h w"]
    ink: tuple[float, float, float, float]


class Sideways(nn.Module):
    """x + conv(silu(norm(x))) along a line."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(channels)
        self.mix = nn.Conv2d(channels, channels, (1, 5), padding=(0, 2))
        with torch.no_grad():
            self.mix.weight.mul_(0.3)

    def forward(self, x: Float[Tensor, "b c 1 n"]) -> Float[Tensor, "b c 1 n"]:
        return x + self.mix(F.silu(self.norm(x)))


class Proofreader(nn.Module):
    """Strips in, letters out."""

    def __init__(self, config: ProofreaderConfig) -> None:
        super().__init__()
        c = self.config = config
        sides = (c.width // 4, c.width // 2, c.width)
        self.convs = nn.ModuleList(Conv(i, o, 3) for i, o in zip((3 * STEP**2, *sides), sides, strict=False))
        self.norms = nn.ModuleList(ChannelNorm(side) for side in sides)
        self.flat = Linear(sides[-1] * HIGH // STEP // 2 ** len(sides), c.context)
        self.around = nn.Sequential(*(Sideways(c.context) for _ in range(2)))
        self.norm, self.says = ChannelNorm(c.context), Linear(c.context, len(c.letters) + 1)

    @classmethod
    def find(cls, folder: Path, tokenizer: str) -> Proofreader | None:
        """The proofreader in a folder; None where there is none, or one for another tokenizer's pictures.

        Raises:
            UserError: there is one, and it is damaged.
        """
        path = folder / NAME
        if not path.exists() or read_card(path).get("tokenizer") != tokenizer:
            return None
        return revive(path, "a proofreader", lambda config: cls(ProofreaderConfig(**config)))

    def forward(self, strips: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b n l"]:
        """Log-probability of each letter, and last of none, at every STEP px of strips."""
        x = F.pixel_unshuffle(strips, STEP)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(F.silu(F.max_pool2d(conv(x), (2, 1))))
        x = self.flat(x.flatten(1, 2).transpose(1, 2)).transpose(1, 2)[:, :, None]
        return self.says(self.norm(self.around(x))[:, :, 0].transpose(1, 2)).float().log_softmax(-1)

    def numbers(self, line: str) -> Int64[Tensor, " n"] | None:
        """What is to be read, as outputs; None where a letter is not known."""
        known = [self.config.letters.find(letter) for letter in line]
        return None if -1 in known else torch.tensor(known)

    @torch.inference_mode()
    def likelihood(self, picture: UInt8[Tensor, "h w 3"], text: str, box: Box) -> float | None:
        """Log-probability of a text, the mean of its letters, in a box of a picture; None if a letter is not known."""
        total, count = 0.0, 0
        for each in strips(picture, text, box):
            target = self.numbers(each.line)
            if target is None:
                return None
            total, count = total - float(misread(self(each.pixels[None]), target[None])), count + len(target)
        return total / max(1, count)

    @torch.inference_mode()
    def read(self, picture: UInt8[Tensor, "h w 3"], text: str, box: Box) -> str:
        """What stands where a text was to stand, the likeliest letter or none at each step."""
        lines = []
        for each in strips(picture, text, box):
            said = self(each.pixels[None])[0].argmax(-1).unique_consecutive().tolist()
            lines.append("".join(self.config.letters[one] for one in said if one < len(self.config.letters)))
        return "\n".join(lines)


def misread(says: Float[Tensor, "b n l"], lines: Int64[Tensor, "b k"]) -> Float[Tensor, ""]:
    """Minus the log-probability of lines of one length, summed."""
    count, steps, outputs = says.shape
    return F.ctc_loss(
        says.transpose(0, 1),
        lines,
        torch.full((count,), steps),
        torch.full((count,), lines.shape[1]),
        blank=outputs - 1,
        reduction="sum",
        zero_infinity=True,
    )


def strips(picture: UInt8[Tensor, "h w 3"], text: str, box: Box) -> list[Strip]:
    """Every line that has letters, cut out of a picture, mean 0 and variance 1."""
    high, wide, _ = picture.shape
    letter = (box[2] - box[0]) * wide / max(1, *map(len, text.split("\n")))
    middle, cut = (box[0] + box[2]) / 2 * wide, []
    for each in stands(text, box, high):
        if each.line.strip():
            half = (len(each.line) / 2 + AROUND) * letter
            across = round((len(each.line) + 2 * AROUND) * LETTER / STEP) * STEP
            place = (middle - half, each.baseline - RISE * each.cap, middle + half, each.baseline + FALL * each.cap)
            ink = (place[0], each.baseline - 0.95 * each.cap, place[2], each.baseline - 0.05 * each.cap)
            cut.append(Strip(line=each.line, pixels=normal(cut_out(picture, place, across)), ink=ink))
    return cut


def cut_out(picture: UInt8[Tensor, "h w 3"], place: Sequence[float], across: int) -> Float[Tensor, "3 y x"]:
    """The part of a picture between x0, y0, x1 and y1 px, HIGH px high and `across` px wide; beyond the picture its edge."""
    high, wide, _ = picture.shape
    x0, y0, x1, y1 = place
    matrix = [[(x1 - x0) / wide, 0.0, (x0 + x1) / wide - 1], [0.0, (y1 - y0) / high, (y0 + y1) / high - 1]]
    grid = F.affine_grid(torch.tensor([matrix]), [1, 3, HIGH, across], align_corners=False)
    pixels = picture.permute(2, 0, 1)[None].float()
    return F.grid_sample(pixels, grid, padding_mode="border", align_corners=False)[0]


def normal(strip: Float[Tensor, "3 h w"]) -> Float[Tensor, "3 h w"]:
    """Whatever the colours: mean 0 in each, variance 1 in all."""
    strip = strip - strip.mean((1, 2), keepdim=True)
    return strip / strip.square().mean().sqrt().clamp(min=1.0)
