"""How the lines of a written text stand, in cap heights, whatever draws them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .plan import Box, PlanText
from .vocabulary import normalise, split_quotes

LINE = 1.6  # from baseline to baseline, about
ADVANCE = 0.8  # from letter to letter, about
# shares of a place, board and all, that letters fill where worlds change a text: medians
ACROSS, DOWN, DOWN_LINES = 0.8, 0.62, 0.8
MOST_LINES = 3
WRITES = ("to", "into", "with", "say", "says", "saying", "read", "reads", "reading", "write", "writes", "text", "words")
ADDS = ("add", "put", "place", "draw", "write", "print")
REMOVES = ("remove", "delete", "erase", "take", "get", "drop", "hide", "clear")


def to_write(instruction: str) -> str | None:
    """The words that an edit wants written: the last ones quoted, where "to", "says" and the like stand before them or the
    instruction adds something; None where nothing is to be written, or something goes.

    "change 'OPEN' to 'CLOSED'" -> CLOSED; "remove the sign 'OPEN'" -> None
    """
    parts, verb = split_quotes(normalise(instruction)), opening(instruction)
    if verb in REMOVES:
        return None
    before, words = "", None
    for quoted, part in parts:
        if quoted:
            words = part if before in WRITES else None
        before = "" if quoted else (part.lower().split() or [""])[-1].rstrip(":")
    words = words or (next((part for quoted, part in parts if quoted), None) if verb in ADDS else None)
    return words if words and words.strip() else None


def opening(instruction: str) -> str:
    """The first word of an instruction in lower case, a "please" apart; empty where there is none."""
    words = instruction.lower().split()
    return next((word.strip(",.:!") for word in words if word.strip(",.:!") != "please"), "")


def fitted(words: str, box: Box, size: tuple[int, int], kind: str = "sign") -> PlanText:
    """Words in the middle of a place, in as many lines as let them be largest. box: the place, in fractions of a picture of `size`
    (height, width) px."""
    script = "latin" if words.isascii() else "hangul"
    high, wide = (box[3] - box[1]) * size[0], (box[2] - box[0]) * size[1]

    def across(lines: Sequence[str]) -> float:
        return ADVANCE * max(map(len, lines))

    def down(lines: Sequence[str]) -> float:
        return sum(rise_and_fall(lines, script)) + LINE * (len(lines) - 1)

    def cap(lines: Sequence[str]) -> float:
        return min(wide * ACROSS / across(lines), high * (DOWN if len(lines) == 1 else DOWN_LINES) / down(lines))

    pieces = words.split()
    lines = max((parted(pieces, count) for count in range(1, min(MOST_LINES, len(pieces)) + 1)), key=cap)
    x, y = across(lines) * cap(lines) / size[1] / 2, down(lines) * cap(lines) / size[0] / 2
    middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    place = (middle[0] - x, middle[1] - y, middle[0] + x, middle[1] + y)
    return PlanText(text="\n".join(lines), box=place, kind=kind)


def parted(pieces: Sequence[str], count: int) -> list[str]:
    """Words in so many lines, the longest as short as can be."""
    if count == 1:
        return [" ".join(pieces)]
    ways = ([" ".join(pieces[:cut]), *parted(pieces[cut:], count - 1)] for cut in range(1, len(pieces) - count + 2))
    return min(ways, key=lambda lines: max(map(len, lines)))


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
