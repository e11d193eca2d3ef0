"""How the lines of a written text stand, in cap heights, whatever draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .plan import Box

LINE = 1.6  # from baseline to baseline, about


def rise_and_fall(lines: Sequence[str], script: str) -> tuple[float, float]:
    """How far ink reaches above the first line's and below the last line's baseline. script: "latin" or "hangul"."""
    if script == "hangul":
        return 1.16, 0.2
    tall = any(letter in "bdfhklijt'$&%" for letter in lines[0])
    low = any(letter in "gjpqyQ,$" for letter in lines[-1])
    return (1.08 if tall else 1.02), (0.32 if low else 0.04)


@dataclass(frozen=True, kw_only=True)
class Stand:
    """Where a line of a text stands, in px: its baseline, and the cap height that fits its box."""

    line: str
    baseline: float
    cap: float


def stands(text: str, box: Box, high: float) -> list[Stand]:
    """Every line of a text whose ink fills a box of a picture that is `high` px high."""
    lines = text.split("\n")
    rise, fall = rise_and_fall(lines, "latin" if text.isascii() else "hangul")
    cap = (box[3] - box[1]) * high / (rise + fall + LINE * (len(lines) - 1))
    first = box[1] * high + rise * cap
    return [Stand(line=line, baseline=first + LINE * row * cap, cap=cap) for row, line in enumerate(lines)]


# a plain glyph: coverage in a canvas, its pen on the baseline
CAP = 16  # px
CANVAS = (28, 30)  # height and width, px
PEN, BASELINE = 4, 20  # px from the left and from the top
