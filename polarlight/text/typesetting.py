"""Setting type: where every letter of a planned text stands, and the board below, as the posters of the worlds set it.

Type comes in sizes, baselines stand on the rows of the tokenizer's cells and pens on whole pixels: then a letter has few
positions in which it is to be known. A box that no size fits is filled all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .lettering import LINE, rise_and_fall
from .plan import Box, PlanText

MONO = "mono"
ADVANCES = (10.0, 12.0, 16.0, 20.0, 24.0)  # px a letter of the monospaced face
CAPS = (11.0, 12.0, 14.5, 17.0, 20.0, 24.0, 29.0, 34.0)  # px: cap heights of the others
CELL, STEP = 8, 4  # px: baselines stand on the first, pens and lines on the second
NEAR = 2.5  # px by which a line is moved to a row of cells
LOOSE, RESIZED = 1.15, 0.12  # a text may be so much wider than its box; its letters so much larger or smaller
EDGE = 8  # px that stay free at the sides of a picture where a text can be so narrow
BARE = ("title",)  # carriers without a board
PAD = (7.0, 6.0)  # px between ink and a board's edge, across and down


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A letter of a face, its pen at x on a baseline, px. cap: cap height; across: the same sideways, less in condensed type."""

    face: str
    letter: str
    x: float
    baseline: float
    cap: float
    across: float


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Letters, and boards as x0, y0, x1, y1 in px."""

    letters: tuple[Letter, ...] = ()
    boards: tuple[Box, ...] = ()


Face = Mapping[str, float]  # advances in cap heights by letter, that of the space as well


def typeset(texts: Sequence[PlanText], size: tuple[int, int], faces: Mapping[str, Face]) -> Setting:
    """Every text in the first of the faces that has its letters and lets it fit its box, else in the narrowest; a text whose
    letters no face has is left out. size: height and width of the picture in px."""
    parts = [_set(text, size, faces) for text in texts]
    return Setting(
        letters=tuple(one for part in parts for one in part.letters),
        boards=tuple(one for part in parts for one in part.boards),
    )


def width(line: str, face: Face) -> float:
    """Advance of a line in cap heights."""
    return sum(face[letter] for letter in line)


def pitch(cap: float) -> float:
    """Px from one baseline to the next: whole half cells."""
    return float(round(LINE * cap / STEP) * STEP)


def sizes(name: str, face: Face) -> list[float]:
    """Cap heights that a face comes in, px."""
    return [step / face["0"] for step in ADVANCES] if name == MONO else list(CAPS)


def _set(text: PlanText, size: tuple[int, int], faces: Mapping[str, Face]) -> Setting:
    lines, script = text.text.split("\n"), "latin" if text.text.isascii() else "hangul"
    able = {name: face for name, face in faces.items() if set(text.text) - {"\n"} <= set(face)}
    if not able or not text.text.strip():
        return Setting()
    x0, y0, x1, y1 = (side * length for side, length in zip(text.box, (size[1], size[0]) * 2, strict=True))
    rise, fall = rise_and_fall(lines, script)
    cap = (y1 - y0) / (rise + fall + LINE * (len(lines) - 1))
    free = max(size[1] - 2 * EDGE, 1)
    baseline, room = y0 + rise * cap, min(LOOSE * (x1 - x0), free)
    units = {name: max(width(line, face) for line in lines) for name, face in able.items()}
    name = next((one for one in able if units[one] * cap <= room), min(able, key=units.__getitem__))
    across, down = min(cap, room / units[name]), LINE * cap
    fits = [one for one in sizes(name, able[name]) if abs(one / cap - 1) <= RESIZED and one * units[name] <= free]
    if fits and across == cap:
        cap = across = min(fits, key=lambda one: abs(one - cap))
        down = pitch(cap)
    row = round(baseline / CELL) * CELL
    baseline = row if abs(row - baseline) <= NEAR else baseline
    letters = list[Letter]()
    for number, line in enumerate(lines):
        long = width(line, able[name]) * across
        left = min(max((x0 + x1 - long) / 2, EDGE), size[1] - EDGE - long)
        start, pen = round(left / STEP) * STEP, 0.0
        for letter in line:
            if letter != " ":
                place = {"x": float(start + round(pen * across)), "baseline": baseline + number * down}
                letters.append(Letter(face=name, letter=letter, cap=cap, across=across, **place))
            pen += able[name][letter]
    if text.kind in BARE:
        return Setting(letters=tuple(letters))
    half, middle = units[name] * across / 2 + PAD[0], (x0 + x1) / 2
    last = baseline + (len(lines) - 1) * down
    board = (middle - half, baseline - rise * cap - PAD[1], middle + half, last + fall * cap + PAD[1])
    return Setting(letters=tuple(letters), boards=(board,))
