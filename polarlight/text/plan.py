"""The layout plan as text: what stands where, written before anything is drawn, read and edited by people and models.

    cat red @ 3 10 11 27; ice_cream /glass @ 20 4 24 9; sign white "OPEN" @ 4 2 19 7

One item per thing, objects first, separated by semicolons. An object is `name colour/material`, a text is
`kind colour "the text"` with the text as a JSON string, its lines parted by \\n; colour and material may be missing, and a space
inside a name or a kind is written `_`. After `@` come x0 y0 x1 y1: the first and the last of the 32 columns and rows that the box
covers, each 0..31, y down. So every plan costs few characters, and a box is kept to 1/64 of the canvas.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..base.errors import UserError

GRID = 32
AUTO = "auto"  # in place of a plan: have one written first
Box = tuple[float, float, float, float]

_FIX = 'Write items like: cat red @ 3 10 11 27; sign white "OPEN" @ 4 2 19 7'
_ITEM = re.compile(r'\s*(?P<words>[^@;"]*)(?P<text>"(?:[^"\\]|\\.)*")?\s*@(?P<box>[^@;"]*)(?:;|$)')
_FORBIDDEN = re.compile(r'[@;"/_]|^\s|\s$|\s\s|[^\S ]')


@dataclass(frozen=True, kw_only=True)
class PlanObject:
    """One object. `box` is x0, y0, x1, y1 in fractions of width and height, 0..1, y down."""

    name: str
    box: Box
    colour: str | None = None
    material: str | None = None


@dataclass(frozen=True, kw_only=True)
class PlanText:
    """One written text, its lines parted by newlines, and the box of its letters; `kind` is what carries it (sign, label,
    title ...), `colour` that of the letters."""

    text: str
    box: Box
    kind: str = "sign"
    colour: str | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    objects: tuple[PlanObject, ...] = ()
    texts: tuple[PlanText, ...] = ()


def format_plan(plan: Plan) -> str:
    """Write a plan; `parse_plan` gives it back with its boxes moved to the nearest 1/32.

    Raises:
        UserError: a name, colour, material or kind is empty or holds one of `@ ; " / _` or irregular spaces.
    """
    items = []
    for thing in plan.objects:
        colour = f" {_word(thing.colour)}" if thing.colour is not None else ""
        material = ("/" if colour else " /") + _word(thing.material) if thing.material is not None else ""
        items.append(f"{_word(thing.name)}{colour}{material} @ {_cells(thing.box)}")
    for text in plan.texts:
        colour = f" {_word(text.colour)}" if text.colour is not None else ""
        quoted = json.dumps(text.text, ensure_ascii=False)
        items.append(f"{_word(text.kind)}{colour} {quoted} @ {_cells(text.box)}")
    return "; ".join(items)


def parse_plan(text: str) -> Plan:
    """Read a plan; the empty text is the empty plan.

    Raises:
        UserError: names the item that cannot be read and says why.
    """
    objects: list[PlanObject] = []
    texts: list[PlanText] = []
    end = len(text.rstrip().removesuffix(";").rstrip())
    position = 0
    while position < end:
        match = _ITEM.match(text, position, end)
        if match is None:
            raise UserError(f'The plan cannot be read from "{text[position : position + 40].strip()}".', fix=_FIX)
        item = match.group().strip(" ;")
        words = match["words"].split()
        box = _box(match["box"], item)
        if match["text"] is None:
            objects.append(_object(words, box, item))
        else:
            texts.append(_text(words, match["text"], box, item))
        position = match.end()
    return Plan(objects=tuple(objects), texts=tuple(texts))


def is_open(plan: str) -> bool:
    """Whether a plan is still to be written."""
    return plan.strip() == AUTO


def given(plan: str | None) -> str:
    """The plan that somebody wrote; empty where there is none, or it is still to be written."""
    return "" if plan is None or is_open(plan) else plan


def snapped(plan: Plan) -> Plan:
    """The plan with its boxes as a written plan gives them."""
    return parse_plan(format_plan(plan))


def plan_words(plan: Plan) -> list[str]:
    """What a plan says without its places: "red glass ice cream", "white sign", then each text in one line."""
    things = [" ".join(word for word in (t.colour, t.material, t.name) if word) for t in plan.objects]
    kinds = [" ".join(word for word in (text.colour, text.kind) if word) for text in plan.texts]
    return [*things, *kinds, *(" ".join(text.text.split()) for text in plan.texts)]


def letters(text: PlanText) -> Iterator[tuple[str, Box]]:
    """Every letter of a text with the box that it takes if all are equally wide: lines share the height, the longest line takes
    the whole width, and shorter ones stand in its middle."""
    x0, y0, x1, y1 = text.box
    lines = text.text.split("\n")
    longest = max(map(len, lines))
    width, height = (x1 - x0) / max(1, longest), (y1 - y0) / len(lines)
    for row, line in enumerate(lines):
        left, top = x0 + (longest - len(line)) / 2 * width, y0 + row * height
        for number, letter in enumerate(line):
            yield letter, (left + number * width, top, left + (number + 1) * width, top + height)


def _object(words: list[str], box: Box, item: str) -> PlanObject:
    if len(words) not in (1, 2) or "/" in words[0]:
        raise UserError(
            f'The plan item "{item}" is not a name with at most a colour and a material.',
            fix="Write it like: ice_cream red/glass @ 3 10 11 27",
        )
    colour, _, material = words[1].partition("/") if len(words) == 2 else ("", "", "")
    return PlanObject(
        name=_spaced(words[0]), box=box, colour=_spaced(colour) or None, material=_spaced(material) or None
    )


def _text(words: list[str], quoted: str, box: Box, item: str) -> PlanText:
    if len(words) not in (1, 2):
        raise UserError(f'The plan item "{item}" does not say what carries the text, with at most a colour.', fix=_FIX)
    try:
        content = json.loads(quoted)
    except json.JSONDecodeError as error:
        raise UserError(f'The text in the plan item "{item}" is not a JSON string.', fix=_FIX) from error
    colour = _spaced(words[1]) if len(words) == 2 else None
    return PlanText(text=content, box=box, kind=_spaced(words[0]), colour=colour)


def _box(numbers: str, item: str) -> Box:
    parts = numbers.split()
    if len(parts) != 4 or not all(re.fullmatch("[0-9]{1,2}", part) and int(part) < GRID for part in parts):
        raise UserError(f'The plan item "{item}" needs four whole numbers from 0 to {GRID - 1} after the @.', fix=_FIX)
    x0, y0, x1, y1 = (int(part) for part in parts)
    if x1 < x0 or y1 < y0:
        raise UserError(f'The box of the plan item "{item}" ends before it begins.', fix="Write x0 y0 x1 y1.")
    return cell_box(x0, y0, x1, y1)


def cell_box(x0: int, y0: int, x1: int, y1: int) -> Box:
    """The box that covers columns x0..x1 and rows y0..y1."""
    return x0 / GRID, y0 / GRID, (x1 + 1) / GRID, (y1 + 1) / GRID


def area(box: Sequence[float]) -> float:
    """Share of the canvas that x0, y0, x1, y1 take."""
    return (box[2] - box[0]) * (box[3] - box[1])


def box_cells(box: Box) -> list[int]:
    """First column, first row, last column, last row, each 0..31; a box outside or without extent keeps one cell."""
    first = [min(max(round(value * GRID), 0), GRID - 1) for value in box[:2]]
    return first + [min(max(round(value * GRID) - 1, low), GRID - 1) for value, low in zip(box[2:], first, strict=True)]


def _cells(box: Box) -> str:
    return " ".join(map(str, box_cells(box)))


def _word(field: str) -> str:
    if not field or _FORBIDDEN.search(field):
        raise UserError(
            f"{field!r} cannot be a name, colour, material or kind in a plan.", fix='Leave out @ ; " / and _.'
        )
    return field.replace(" ", "_")


def _spaced(word: str) -> str:
    return word.replace("_", " ")
