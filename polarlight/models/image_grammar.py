"""The image model's language: how text and pictures line up in one sequence.

    <bos><draw|caption|edit|reference|control> text [regions] [<h:8><w:8><img> cells </img>]* <h:8><w:8><img> cells
    <bos><plan> text <h:8><w:8><plan> plan </plan>

A plan is written as text, and then drawn by: each of its things is a region with words of its own, "a red cat", that lie where
the text lies. Who asks for a position inside sees those instead of the text and all other words (regional attention).

Context pictures run row by row and carry no loss. The drawn picture comes last, in any order: the token of a drawn position
carries its code and lies in its own place, and asks for the next position of the order (double position encoding, as in
sigma-GPT, arXiv 2404.09562), so one sequence trains every prefix of that order, and at inference several positions can be
asked for at once from the same prefix. Kept positions (inpainting, masked edits) go first and carry no loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import IntEnum

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from ..ops.orders import grid
from ..text.plan import Plan, PlanObject
from ..text.vocabulary import Vocabulary

CELL = 16  # px a side of a position
HEAD = 2  # tokens before a text: <bos> and the task
OPENING = 3  # tokens before a picture's cells: its height, its width, <img>
GAP = 8.0  # RoPE distance between the text's end and a picture's centre line, in positions
IGNORE = -100
EVERYBODYS, PROMPTS, FIRST_REGION = 0, 1, 2  # whose words a token is one of
REGIONS = 14  # of a plan at most; what is more is left to the text
MARGIN = 0.25  # positions around a thing's box that are of its region


class Role(IntEnum):
    """What a token belongs to; each has an embedding."""

    TEXT = 0
    TARGET = 1
    SOURCE = 2
    REFERENCE = 3
    EDGES = 4
    DEPTH = 5
    MASK = 6
    UNUSED = 7  # of earlier weights


@dataclass(frozen=True, kw_only=True)
class Text:
    """Tokens; `learn` puts the next-token loss on them (plans and captions)."""

    ids: Sequence[int]
    learn: bool = False


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Packed codes of a picture: digits [rows, columns, g]. A context picture, or with `order` the one to draw, by `plan` if there
    is one."""

    digits: UInt8[Tensor, "rows columns g"]
    role: Role = Role.TARGET
    order: Int64[Tensor, " n"] | None = None
    kept: int = 0
    weight: Float[Tensor, "rows columns"] | None = None
    plan: Plan | None = None


@dataclass(kw_only=True)
class Tokens:
    """A batch of sequences, left-padded. own/asked: (row, column, row share, column share) of the token's own cell and of the
    one it asks for, centred; lies/asks: the RoPE positions of the two; whose: whom a token's words are for (EVERYBODYS, PROMPTS, a
    region's number), sees: whose words it sees beside everybody's."""

    valid: Bool[Tensor, "b s"]
    ids: Int64[Tensor, "b s"]  # text token, 0 where the token is a cell
    is_cell: Bool[Tensor, "b s"]
    digits: UInt8[Tensor, "b s g"]
    role: Int64[Tensor, "b s"]
    own: Float[Tensor, "b s 4"]
    asked: Float[Tensor, "b s 4"]
    lies: Float[Tensor, "b s 2"]
    asks: Float[Tensor, "b s 2"]
    whose: Int64[Tensor, "b s"]
    sees: Int64[Tensor, "b s"]
    text_target: Int64[Tensor, "b s"]  # IGNORE where there is none
    cell_target: UInt8[Tensor, "b s g"]
    cell_weight: Float[Tensor, "b s"]  # 0 where there is no target

    def rows(self, index: slice) -> Tokens:
        """Some rows of the batch."""
        return Tokens(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def columns(self, index: slice | Int64[Tensor, " n"]) -> Tokens:
        """Some positions of every row."""
        return Tokens(**{f.name: getattr(self, f.name)[:, index] for f in fields(self)})


def blank(batch: int, length: int, digits: int) -> Tokens:
    """Tokens with nothing in them."""
    return Tokens(
        valid=torch.ones(batch, length, dtype=torch.bool),
        ids=torch.zeros(batch, length, dtype=torch.long),
        is_cell=torch.zeros(batch, length, dtype=torch.bool),
        digits=torch.zeros(batch, length, digits, dtype=torch.uint8),
        role=torch.zeros(batch, length, dtype=torch.long),
        own=torch.zeros(batch, length, 4),
        asked=torch.zeros(batch, length, 4),
        lies=torch.zeros(batch, length, 2),
        asks=torch.zeros(batch, length, 2),
        whose=torch.full((batch, length), EVERYBODYS),
        sees=torch.full((batch, length), PROMPTS),
        text_target=torch.full((batch, length), IGNORE),
        cell_target=torch.zeros(batch, length, digits, dtype=torch.uint8),
        cell_weight=torch.zeros(batch, length),
    )


def frame(rows: int, columns: int) -> Float[Tensor, "n 4"]:
    """(row, column, row / rows, column / columns) of every position of a picture, measured from its centre."""
    centred = grid(rows, columns) + 0.5 - torch.tensor([rows / 2, columns / 2])
    return torch.cat((centred, centred / torch.tensor([rows, columns])), -1)


def write(segments: Sequence[Text | Picture], vocabulary: Vocabulary, digits: int = 0) -> Tokens:
    """One sequence [1, s] of segments; the drawn picture, if any, must be the last, and where it has a plan the first segment is
    the text behind <bos> and the task. digits: of a position, where there is no picture to tell."""
    digits = next((s.digits.shape[-1] for s in segments if isinstance(s, Picture)), digits)
    parts: list[Tokens] = []
    cursor = 0.0
    for segment in segments:
        if isinstance(segment, Text):
            part = _text(list(segment.ids), cursor, digits)
            if segment.learn and parts:
                parts[-1].text_target[:, -1] = segment.ids[0]
                part.text_target[0, :-1] = torch.tensor(segment.ids[1:])
            parts.append(part)
            cursor += len(segment.ids)
            continue
        rows, columns = segment.digits.shape[:2]
        if segment.plan is not None:
            parts[0].whose[:, HEAD:] = PROMPTS
            parts += _regions(segment.plan, digits, vocabulary)
        opening = [vocabulary[f"<h:{rows}>"], vocabulary[f"<w:{columns}>"], vocabulary["<img>"]]
        parts.append(_text(opening, cursor, digits))
        cursor += len(opening) + GAP
        if segment.order is None:
            parts.append(_context(segment, cursor))
            cursor += GAP
            parts.append(_text([vocabulary["</img>"]], cursor, digits))
            cursor += 1
        else:
            assert segment is segments[-1], "the drawn picture comes last"
            parts.append(_drawn(segment, cursor, parts[-1]))
    return Tokens(**{f.name: torch.cat([getattr(part, f.name) for part in parts], 1) for f in fields(Tokens)})


def _text(ids: list[int], cursor: float, digits: int) -> Tokens:
    part = blank(1, len(ids), digits)
    part.ids[0] = torch.tensor(ids, dtype=torch.long)
    part.lies[0] = (torch.arange(len(ids)) + cursor)[:, None]
    part.asks = part.lies.clone()
    return part


def plan_opening(v: Vocabulary, words: str, rows: int, columns: int) -> list[int]:
    """The tokens that ask for the plan of a picture."""
    return [v["<bos>"], v["<plan>"], *v.encode(words), v[f"<h:{rows}>"], v[f"<w:{columns}>"], v["<plan>"]]


def region_words(plan: Plan) -> list[str]:
    """What is said of each region of a plan: "a red glass bottle with 'TEA' on the label"."""
    return [_said(thing, plan) for thing in plan.objects[:REGIONS]]


def _said(thing: PlanObject, plan: Plan) -> str:
    words = " ".join(word for word in (thing.colour, thing.material, thing.name) if word)
    x0, y0, x1, y1 = thing.box
    borne = [
        f" with '{' '.join(text.text.split())}' on the {text.kind}"
        for text in plan.texts
        if x0 <= (text.box[0] + text.box[2]) / 2 <= x1 and y0 <= (text.box[1] + text.box[3]) / 2 <= y1
    ]
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}{''.join(borne)}"


def region_map(plan: Plan, rows: int, columns: int) -> Int64[Tensor, " n"]:
    """Whose words are seen by who asks for each position: of the regions there that of the smallest thing, else the prompt's."""
    seen = torch.full((rows * columns,), PROMPTS)
    size = torch.tensor([rows, columns])
    places = grid(rows, columns) + 0.5
    boxes = torch.tensor([thing.box for thing in plan.objects[:REGIONS]]).view(-1, 2, 2).flip(-1) * size
    for number in (boxes[:, 1] - boxes[:, 0]).prod(-1).argsort(descending=True, stable=True).tolist():
        first, last = boxes[number]
        inside = ((places > first - MARGIN) & (places < last + MARGIN)).all(-1)
        if not inside.any():
            inside[(places - (first + last) / 2).square().sum(-1).argmin()] = True
        seen[inside] = FIRST_REGION + number
    return seen


def _regions(plan: Plan, digits: int, vocabulary: Vocabulary) -> list[Tokens]:
    """The words of a plan's things, each lying where the text lies."""
    parts = []
    for number, words in enumerate(region_words(plan), FIRST_REGION):
        part = _text(vocabulary.encode(words), HEAD, digits)
        part.whose[:], part.sees[:] = number, number
        parts.append(part)
    return parts


def _context(picture: Picture, cursor: float) -> Tokens:
    rows, columns, digits = picture.digits.shape
    part = blank(1, rows * columns, digits)
    part.is_cell[:] = True
    part.digits[0] = picture.digits.flatten(0, 1)
    part.role[:] = int(picture.role)
    part.own[0] = frame(rows, columns)
    part.lies = part.own[..., :2] + cursor
    part.asks = part.lies.clone()
    return part


def _drawn(picture: Picture, cursor: float, opening: Tokens) -> Tokens:
    """Cells in drawing order, all but the last; `opening` ends in <img>, which asks for the first."""
    rows, columns, digits = picture.digits.shape
    order = picture.order
    assert order is not None
    assert len(order) == rows * columns
    place, codes = frame(rows, columns)[order], picture.digits.flatten(0, 1)[order]
    weight = (torch.ones(rows * columns) if picture.weight is None else picture.weight.flatten())[order]
    weight = weight.masked_fill(torch.arange(len(order)) < picture.kept, 0.0)
    part = blank(1, rows * columns - 1, digits)
    part.is_cell[:] = True
    part.digits[0] = codes[:-1]
    part.own[0], part.asked[0] = place[:-1], place[1:]
    part.lies, part.asks = part.own[..., :2] + cursor, part.asked[..., :2] + cursor
    part.role[:] = int(picture.role)
    part.cell_target[0], part.cell_weight[0] = codes[1:], weight[1:]
    opening.asked[0, -1], opening.asks[0, -1] = place[0], place[0, :2] + cursor
    opening.role[0, -1] = int(picture.role)
    opening.cell_target[0, -1], opening.cell_weight[0, -1] = codes[0], weight[0]
    if picture.plan is not None:
        sees = region_map(picture.plan, rows, columns)[order]
        opening.sees[0, -1], part.sees[0] = sees[0], sees[1:]
    return part


def collate(sequences: Sequence[Tokens], multiple: int = 16) -> Tokens:
    """Left-pad sequences to the longest, rounded up so that shapes recur."""
    longest = max(sequence.ids.shape[1] for sequence in sequences)
    length = -(-longest // multiple) * multiple
    batch = blank(len(sequences), length, sequences[0].digits.shape[-1])
    batch.valid[:] = False
    for row, sequence in enumerate(sequences):
        for f in fields(Tokens):
            getattr(batch, f.name)[row, length - sequence.ids.shape[1] :] = getattr(sequence, f.name)[0]
    return batch


def pack(digits: UInt8[Tensor, "*b h w d"], side: int = 2) -> UInt8[Tensor, "*b p q g"]:
    """Group side x side cells into one position: g = side * side * d, cells row by row."""
    *lead, h, w, d = digits.shape
    x = digits.reshape(*lead, h // side, side, w // side, side, d).transpose(-3, -4)
    return x.reshape(*lead, h // side, w // side, side * side * d)


def unpack(digits: UInt8[Tensor, "*b p q g"], side: int = 2) -> UInt8[Tensor, "*b h w d"]:
    """Inverse of `pack`."""
    *lead, p, q, g = digits.shape
    x = digits.reshape(*lead, p, q, side, side, g // side**2).transpose(-3, -4)
    return x.reshape(*lead, p * side, q * side, g // side**2)
