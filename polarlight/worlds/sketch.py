"""Sketches: the letters of planned texts in one plain font, where they are to stand.

A sketch says which letters and where, and nothing of type, colour or ground (as the glyph pictures of AnyText, arXiv 2311.03054).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import UInt8
from torch import Tensor

from ..text.plan import PlanText
from .atlas import LINE, MONO, fonts, index, place_glyphs, rise_and_fall, text_width
from .composite import Layer, composite, glyph_layer


def sketches(pictures: Sequence[Sequence[PlanText]], size: tuple[int, int]) -> UInt8[Tensor, "b h w"]:
    """Coverage by ink, 0..255, of the texts of each picture of `size` (height, width) px. A text with a letter that no font has is
    left out."""
    layers = [[layer for text in texts for layer in letter_layers(text, size)] for texts in pictures]
    canvas = composite(torch.zeros(3, len(pictures), *size), layers)
    return (canvas[0].clamp(0, 1) * 255 + 0.5).to(torch.uint8)


def letter_layers(text: PlanText, size: tuple[int, int]) -> Iterator[Layer]:
    """The letters of a text, stretched so that its ink fills its box."""
    lines, font = text.text.split("\n"), plain_font(text.text)
    longest = max((text_width(line, font) for line in lines), default=0.0) if font else 0.0
    if font is None or not longest:
        return
    x0, y0, x1, y1 = (side * length for side, length in zip(text.box, (*size[::-1], *size[::-1]), strict=True))
    rise, fall = rise_and_fall(lines, "latin" if text.text.isascii() else "hangul")
    cap = (y1 - y0) / (rise + fall + LINE * (len(lines) - 1))
    wide = (x1 - x0) / (longest * cap)  # how much wider than the font's own letters
    for number, line in enumerate(lines):
        left = (x0 + x1) / 2 - text_width(line, font) * cap * wide / 2
        for glyph, pen in place_glyphs(line, font):
            layer = glyph_layer(glyph, 0.0, y0 + (rise + LINE * number) * cap, cap, colour=(1.0, 1.0, 1.0))
            layer.x = left + (pen * cap + layer.x) * wide
            layer.half_width *= wide
            yield layer


def plain_font(text: str) -> str | None:
    """The monospaced font, else the first that has every letter; None where none has."""
    letters = set(text) - {" ", "\n"}
    known = index()["fonts"]
    return next((name for name in (MONO, *fonts("hangul")) if letters <= known[name]["glyphs"].keys()), None)
