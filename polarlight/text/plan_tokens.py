"""Plans as a model writes them: as short as they can be, so that few tokens stand between a prompt and its picture.

An object is its name, then `,` and a colour, then `/` and a material; a text is its kind, then `,` and a colour, then its quoted
letters. Four tokens of the picture-size kind end an item: <w:x0+1> <h:y0+1> <w:x1+1> <h:y1+1>, in the 1/32 of `plan`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from ..base.errors import UserError
from .plan import GRID, Plan, PlanObject, PlanText, box_cells, cell_box
from .vocabulary import Vocabulary

COLOUR, MATERIAL = b",/"
CORNERS = "whwh"


def encode_plan(plan: Plan, v: Vocabulary) -> list[int]:
    """Tokens of a plan; `decode_plan` gives it back with its boxes moved to the nearest 1/32."""
    ids: list[int] = []
    for thing in plan.objects:
        ids += [*v.encode(thing.name), *_marked(COLOUR, thing.colour, v), *_marked(MATERIAL, thing.material, v)]
        ids += _corners(thing.box, v)
    for text in plan.texts:
        ids += [*v.encode(text.kind), *_marked(COLOUR, text.colour, v)]
        ids += [v["<quote>"], *v.spell(text.text), v["</quote>"], *_corners(text.box, v)]
    return ids


def decode_plan(ids: Sequence[int], v: Vocabulary) -> Plan:
    """Read a plan.

    Raises:
        UserError: an item has no name, a box that ends before it begins, or is cut short.
    """
    objects: list[PlanObject] = []
    texts: list[PlanText] = []
    for words, corners in _items(ids, v):
        box = _box(corners)
        quote, end = ((words.index(v[mark]) if v[mark] in words else None) for mark in ("<quote>", "</quote>"))
        head = words if quote is None else words[:quote]
        name, colour, material = _fields(head, v)
        if not name or (quote is None) != (end is None) or (end is not None and end != len(words) - 1):
            raise UserError("An item of the plan has no name, or letters that do not end.")
        if quote is None:
            objects.append(PlanObject(name=name, colour=colour, material=material, box=box))
        else:
            texts.append(PlanText(text=v.read(words[quote + 1 : end]), kind=name, colour=colour, box=box))
    return Plan(objects=tuple(objects), texts=tuple(texts))


def allowed_next(ids: Sequence[int], texts: Sequence[Sequence[int]], v: Vocabulary) -> tuple[int, ...]:
    """What may follow the tokens of a plan that `decode_plan` shall be able to read, `</plan>` among it.

    texts: spelled; if there are any, only these may be written, and the plan may not end before each is. A line may end at a space.
    """
    written, words, corners = _under_way(ids, v)
    if corners:
        return _corner(v, len(corners), corners[-2] if len(corners) > 1 else 0)
    if v["</quote>"] in words:
        return _corner(v, 0, 0)
    if v["<quote>"] in words:
        letters = words[words.index(v["<quote>"]) + 1 :]
        return _letters(letters, texts, v) if texts else _free_letters(v, bool(letters))
    if any(token != v.first_byte + ord(" ") for token in words):
        return _after_name(v)
    if words:
        return _words(v)
    return _begin(v, all(any(_same(text, other, v) for other in written) for text in texts))


def _under_way(ids: Sequence[int], v: Vocabulary) -> tuple[list[list[int]], list[int], list[int]]:
    """(letters of the texts in finished items, words and corners of the item that is not finished)."""
    written, words, corners, first = list[list[int]](), list[int](), list[int](), v["<h:1>"]
    for token in ids:
        if not first <= token < first + 2 * GRID:
            words.append(token)
            continue
        corners.append((token - first) % GRID)
        if len(corners) == len(CORNERS):
            if v["<quote>"] in words:
                written.append(words[words.index(v["<quote>"]) + 1 : -1])
            words, corners = [], []
    return written, words, corners


def _letters(letters: list[int], texts: Sequence[Sequence[int]], v: Vocabulary) -> tuple[int, ...]:
    """What may follow the first letters of one of the texts."""
    space, line = v.first_byte + ord(" "), v.first_byte + ord("\n")
    follow = set[int]()
    for text in texts:
        if _same(text[: len(letters)], letters, v):
            token = text[len(letters)] if len(letters) < len(text) else v["</quote>"]
            follow |= {space, line} if token == space else {token}
    return tuple(sorted(follow))


def _same(text: Sequence[int], letters: Sequence[int], v: Vocabulary) -> bool:
    """Whether they are equal, spaces and ends of lines being alike."""
    space, line = v.first_byte + ord(" "), v.first_byte + ord("\n")
    return list(text) == [space if token == line else token for token in letters]


@cache
def _words(v: Vocabulary) -> tuple[int, ...]:
    """Tokens that names are made of."""
    forbidden = {v.first_byte + mark for mark in (*range(32), *b'@;"_', COLOUR, MATERIAL)}
    return tuple(token for token in range(v.first_byte, len(v)) if token not in forbidden)


@cache
def _begin(v: Vocabulary, may_end: bool) -> tuple[int, ...]:
    return (*_words(v), *((v["</plan>"],) if may_end else ()))


@cache
def _after_name(v: Vocabulary) -> tuple[int, ...]:
    return (*_words(v), v.first_byte + COLOUR, v.first_byte + MATERIAL, v["<quote>"], *_corner(v, 0, 0))


@cache
def _free_letters(v: Vocabulary, may_end: bool) -> tuple[int, ...]:
    return (*range(v.first_byte, len(v)), *((v["</quote>"],) if may_end else ()))


@cache
def _corner(v: Vocabulary, number: int, lowest: int) -> tuple[int, ...]:
    first = v[f"<{CORNERS[number]}:1>"]
    return tuple(range(first + lowest, first + GRID))


def _marked(mark: int, word: str | None, v: Vocabulary) -> list[int]:
    return [] if word is None else [v.first_byte + mark, *v.encode(word)]


def _corners(box: tuple[float, float, float, float], v: Vocabulary) -> list[int]:
    return [v[f"<{axis}:{cell + 1}>"] for axis, cell in zip(CORNERS, box_cells(box), strict=True)]


def _items(ids: Sequence[int], v: Vocabulary) -> Iterator[tuple[list[int], list[int]]]:
    """(words, corners 0..31) of every item."""
    first = v["<h:1>"]
    words: list[int] = []
    corners: list[int] = []
    for token in ids:
        if not first <= token < first + 2 * GRID:
            words.append(token)
            if corners:
                break
            continue
        axis, cell = divmod(token - first, GRID)
        if "hw"[axis] != CORNERS[len(corners)]:
            break
        corners.append(cell)
        if len(corners) == len(CORNERS):
            yield words, corners
            words, corners = [], []
    if words or corners:
        raise UserError("The plan's last item is cut short.")


def _box(corners: Sequence[int]) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = corners
    if x1 < x0 or y1 < y0:
        raise UserError("A box of the plan ends before it begins.")
    return cell_box(x0, y0, x1, y1)


def _fields(words: list[int], v: Vocabulary) -> tuple[str, str | None, str | None]:
    """Name, colour and material."""
    parts: dict[int | None, list[int]] = {None: []}
    mark: int | None = None
    for token in words:
        if token - v.first_byte in (COLOUR, MATERIAL):
            mark = token - v.first_byte
            parts[mark] = []
        else:
            parts[mark].append(token)
    said = {mark: v.decode(part).strip() or None for mark, part in parts.items()}
    return said[None] or "", said.get(COLOUR), said.get(MATERIAL)
