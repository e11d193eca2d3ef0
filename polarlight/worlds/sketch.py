"""Plain glyphs, one of each letter, for who is to learn what letters look like apart from fonts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..text.lettering import BASELINE, CANVAS, CAP, PEN
from .atlas import GLYPH_CAP, MONO, fonts, glyph_levels, index

SHRINK = GLYPH_CAP // CAP


def plain_letters() -> str:
    """Every letter that a font has."""
    return "".join(sorted({letter for font in index()["fonts"].values() for letter in font["glyphs"]}))


def plain_glyphs(letters: str) -> tuple[Float[Tensor, "n h w"], Float[Tensor, " n"]]:
    """Coverage 0..255 of letters in the canvas of `text.lettering`, and how far the pen goes in cap heights; from the monospaced
    font, else the first that has the letter."""
    sheet, known = glyph_levels("cpu")[0][0, 0], index()["fonts"]
    canvas = torch.zeros(len(letters), *(SHRINK * side for side in CANVAS))
    advances = torch.zeros(len(letters))
    for number, letter in enumerate(letters):
        font = next(name for name in (MONO, *fonts("hangul")) if letter in known[name]["glyphs"])
        x, y, width, height, left, top, advance = known[font]["glyphs"][letter]
        top, left = SHRINK * BASELINE + top, SHRINK * PEN + left
        canvas[number, top : top + height, left : left + width] = sheet[y : y + height, x : x + width]
        advances[number] = advance / GLYPH_CAP
    return (F.avg_pool2d(canvas, SHRINK) * 255).round(), advances
