"""The image model's language: how text and pictures line up in one sequence.

    <bos><draw|caption|edit|reference|control> text [layout] [<h:8><w:8><img> cells </img>]* <h:8><w:8><img> cells
    <bos><plan> text <h:8><w:8><plan> plan </plan>

A plan is written as text, and then drawn from as a layout: the words and letters of its items, each lying at its place in the
picture to draw, so that what belongs in a cell lies beside it in rotary positions and spelling is copying what is near.

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
from ..text.plan import Box, Plan, letters
from ..text.vocabulary import Vocabulary

OPENING = 3  # tokens before a picture's cells: its height, its width, <img>
GAP = 8.0  # RoPE distance between the text's end and a picture's centre line, in positions
IGNORE = -100


class Role(IntEnum):
    """What a token belongs to; each has an embedding."""

    TEXT = 0
    TARGET = 1
    SOURCE = 2
    REFERENCE = 3
    EDGES = 4
    DEPTH = 5
    MASK = 6
    LAYOUT = 7


@dataclass(frozen=True, kw_only=True)
class Text:
    """Tokens; `learn` puts the next-token loss on them (plans and captions)."""

    ids: Sequence[int]
    learn: bool = False


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Packed codes of a picture: digits [rows, columns, g]. A context picture, or with `order` the one to draw."""

    digits: UInt8[Tensor, "rows columns g"]
    role: Role = Role.TARGET
    order: Int64[Tensor, " n"] | None = None
    kept: int = 0
    weight: Float[Tensor, "rows columns"] | None = None


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The plan of the picture to draw; stands before that picture and moves nothing after it."""

    plan: Plan
    rows: int
    columns: int


@dataclass(kw_only=True)
class Tokens:
    """A batch of sequences, left-padded. own/asked: (row, column, row share, column share) of the token's own cell and of the
    one it asks for, centred; lies/asks: the RoPE positions of the two. A word of a layout has the centre and the far corner of
    its box there."""

    valid: Bool[Tensor, "b s"]
    ids: Int64[Tensor, "b s"]  # text token, 0 where the token is a cell
    is_cell: Bool[Tensor, "b s"]
    digits: UInt8[Tensor, "b s g"]
    role: Int64[Tensor, "b s"]
    own: Float[Tensor, "b s 4"]
    asked: Float[Tensor, "b s 4"]
    lies: Float[Tensor, "b s 2"]
    asks: Float[Tensor, "b s 2"]
    text_target: Int64[Tensor, "b s"]  # IGNORE where there is none
    cell_target: UInt8[Tensor, "b s g"]
    cell_weight: Float[Tensor, "b s"]  # 0 where there is no target

    @property
    def is_layout(self) -> Bool[Tensor, "b s"]:
        """Which tokens are words of a layout."""
        return (self.role == Role.LAYOUT) & ~self.is_cell

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
        text_target=torch.full((batch, length), IGNORE),
        cell_target=torch.zeros(batch, length, digits, dtype=torch.uint8),
        cell_weight=torch.zeros(batch, length),
    )


def frame(rows: int, columns: int) -> Float[Tensor, "n 4"]:
    """(row, column, row / rows, column / columns) of every position of a picture, measured from its centre."""
    centred = grid(rows, columns) + 0.5 - torch.tensor([rows / 2, columns / 2])
    return torch.cat((centred, centred / torch.tensor([rows, columns])), -1)


def write(segments: Sequence[Text | Layout | Picture], vocabulary: Vocabulary, digits: int = 0) -> Tokens:
    """One sequence [1, s] of segments; the drawn picture, if any, must be the last. digits: of a position, where there is no
    picture to tell."""
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
        if isinstance(segment, Layout):
            parts.append(_layout(segment, cursor + OPENING + GAP, digits, vocabulary))
            continue
        rows, columns = segment.digits.shape[:2]
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


def layout_words(plan: Plan, vocabulary: Vocabulary) -> list[tuple[int, Box]]:
    """Tokens of a layout, each with its box: an object's or a text's colour, material and name at the whole box, then every
    letter of a text at its own."""
    words: list[tuple[int, Box]] = []
    for thing in plan.objects:
        said = " ".join(word for word in (thing.colour, thing.material, thing.name) if word)
        words += [(token, thing.box) for token in vocabulary.encode(said)]
    for text in plan.texts:
        said = " ".join(word for word in (text.colour, text.kind) if word)
        words += [(token, text.box) for token in vocabulary.encode(said)]
        for letter, box in letters(text):
            words += [(token, box) for token in vocabulary.spell(letter) if letter != " "]
    return words


def layout_places(boxes: Float[Tensor, "n 4"], rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """(own, asked) of words with such boxes x0 y0 x1 y1: [n, 4] each, centre and far corner."""
    corners = boxes.view(-1, 2, 2).flip(-1) - 0.5  # (row, column) shares of the first and the last corner
    shares = torch.stack((corners.mean(1), corners[:, 1]))
    own, asked = torch.cat((shares * torch.tensor([rows, columns], device=boxes.device), shares), -1)
    return own, asked


def _layout(layout: Layout, cursor: float, digits: int, vocabulary: Vocabulary) -> Tokens:
    words = layout_words(layout.plan, vocabulary)
    part = blank(1, len(words), digits)
    part.ids[0] = torch.tensor([token for token, _ in words], dtype=torch.long)
    part.role[:] = int(Role.LAYOUT)
    boxes = torch.tensor([box for _, box in words]).view(-1, 4)
    part.own[0], part.asked[0] = layout_places(boxes, layout.rows, layout.columns)
    part.lies = part.own[..., :2] + cursor
    part.asks = part.lies.clone()
    return part


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
