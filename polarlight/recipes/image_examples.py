"""From coded scenes to sequences: the tasks of the image model and the orders it draws in."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from random import Random

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from ..models.image_grammar import Picture, Role, Text, Tokens, pack, plan_opening, write
from ..ops.orders import kept_first, raster, spread, wavefront
from ..ops.streams import uniform
from ..text.plan import snapped
from ..text.plan_tokens import encode_plan
from ..text.vocabulary import Vocabulary
from ..worlds.captions import caption, plan_of
from ..worlds.scene import Scene, Spec
from .scenes import CodedGroup

SPREADS = 8  # farthest-point orders of each shape: a small model has no room for all


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Shares of tasks and orders, and how hard the conditioning is dropped."""

    tasks: tuple[tuple[str, float], ...] = (("draw", 0.88), ("edit", 0.12))
    tabletop: float = 0.25  # share of drawn scenes
    subjects: float = 0.0  # another
    orders: tuple[tuple[str, float], ...] = (("raster", 0.5), ("spread", 0.33), ("wavefront", 0.02), ("hole", 0.15))
    planned: float = 0.85  # share of drawn scenes that are drawn by their plan
    styles: tuple[tuple[str, float], ...] = (("short", 0.8), ("structured", 0.1), ("long", 0.1))
    drop_text: float = 0.1  # and the plan with it
    text_weight: float = 2.0  # of cells under text boxes
    thing_weight: float = 1.0  # of positions under the boxes of things


def choose(random: Random, options: tuple[tuple[str, float], ...]) -> str:
    """One name by its share."""
    names, shares = zip(*options, strict=True)
    return random.choices(names, shares)[0]


def draw_order(kind: str, rows: int, columns: int, random: Random) -> tuple[Int64[Tensor, " n"], int]:
    """(order, kept positions) of one of the family."""
    if kind == "raster":
        return raster(rows, columns), 0
    if kind == "wavefront":
        return wavefront(rows, columns), 0
    order = spread_order(rows, columns, random.randrange(SPREADS))
    if kind == "spread":
        return order, 0
    kept = ~random_hole(rows, columns, random)
    if random.random() < 0.5:
        order = raster(rows, columns)
    return kept_first(order, kept), int(kept.sum())


@cache
def spread_order(rows: int, columns: int, number: int) -> Int64[Tensor, " n"]:
    """One of SPREADS farthest-point orders of a shape; the first is the one that drawing uses."""
    return spread(rows, columns, uniform((rows * columns,), number, "drawing order"))


def random_hole(rows: int, columns: int, random: Random) -> Bool[Tensor, " n"]:
    """A rectangle to fill anew, a sixth of the picture to nearly all."""
    height, width = random.randint(2, rows), random.randint(2, columns)
    top, left = random.randint(0, rows - height), random.randint(0, columns - width)
    hole = torch.zeros(rows, columns, dtype=torch.bool)
    hole[top : top + height, left : left + width] = True
    return hole.flatten()


def touched_cells(box: list[float], rows: int, columns: int) -> Bool[Tensor, " n"]:
    """Positions that a box in fractions touches."""
    x0, y0, x1, y1 = box
    row, column = torch.arange(rows), torch.arange(columns)
    inside_rows = (row + 1 > y0 * rows) & (row < y1 * rows)
    inside_columns = (column + 1 > x0 * columns) & (column < x1 * columns)
    return (inside_rows[:, None] & inside_columns).flatten()


def plan_sequence(
    v: Vocabulary, spec: Spec, rows: int, columns: int, style: str, random: Random, digits: int
) -> Tokens:
    """A caption and the picture's size in positions, then the plan, which is learned. digits: of a position."""
    words = plan_opening(v, caption(spec, random, style), rows, columns)
    plan = Text(ids=[*encode_plan(plan_of(spec), v), v["</plan>"]], learn=True)
    return write([Text(ids=words), plan], v, digits=digits)


class Examples:
    """Turns coded scenes into sequences."""

    def __init__(self, vocabulary: Vocabulary, mixture: Mixture, side: int = 2) -> None:
        self.vocabulary, self.mixture, self.side = vocabulary, mixture, side

    def draw(
        self, scene: Scene, digits: UInt8[Tensor, "h w d"], text: UInt8[Tensor, "h w"], style: str, random: Random
    ) -> Tokens:
        """One draw example."""
        m, v = self.mixture, self.vocabulary
        rows, columns = digits.shape[0] // self.side, digits.shape[1] // self.side
        dropped = random.random() < m.drop_text
        words = [] if dropped else v.encode(caption(scene.spec, random, style))
        plan = snapped(plan_of(scene.spec)) if not dropped and random.random() < m.planned else None
        order = draw_order(choose(random, m.orders), rows, columns, random)
        weight = torch.ones(rows, columns)
        for thing in scene.spec["objects"]:
            weight[touched_cells(thing["box"], rows, columns).view(rows, columns)] = m.thing_weight
        target = replace(self.target(digits, text, *order, weight), plan=plan)
        return write([Text(ids=[v["<bos>"], v["<draw>"], *words]), target], v)

    def plan(self, scene: Scene, digits: UInt8[Tensor, "h w d"], style: str, random: Random) -> Tokens:
        """One plan example: words and the picture's size, then the plan."""
        rows, columns = digits.shape[0] // self.side, digits.shape[1] // self.side
        return plan_sequence(self.vocabulary, scene.spec, rows, columns, style, random, self.side**2 * digits.shape[2])

    def caption(self, scene: Scene, digits: UInt8[Tensor, "h w d"], style: str, random: Random) -> Tokens:
        """One caption example: the picture, then its words."""
        v = self.vocabulary
        words = v.encode(caption(scene.spec, random, style))
        picture = Picture(digits=pack(digits, self.side), role=Role.SOURCE)
        return write([Text(ids=[v["<bos>"], v["<caption>"]]), picture, Text(ids=[*words, v["<eos>"]], learn=True)], v)

    def from_source(self, task: str, group: CodedGroup, row: int, style: str, random: Random) -> Tokens:
        """An edit, reference or control example: words, a source picture, then the picture to draw.

        Edits know the box of the change: half of them keep every position outside it, as an edit with a mask does.
        """
        v = self.vocabulary
        assert group.source is not None
        assert group.notes is not None
        note, digits = group.notes[row], group.digits[row]
        rows, columns = digits.shape[0] // self.side, digits.shape[1] // self.side
        order, kept = draw_order(choose(random, (("raster", 0.5), ("spread", 0.5))), rows, columns, random)
        weight = torch.ones(rows, columns)
        if "instruction" in note:
            sentence, changed = note["instruction"], touched_cells(note["box"], rows, columns)
            weight = torch.where(changed, 3.0, 1.0).view(rows, columns)
            if random.random() < 0.5 and changed.any():
                order, kept = kept_first(order, ~changed), int((~changed).sum())
        else:
            sentence = caption(group.scenes[row].spec, random, style)
        spoken = [] if random.random() < self.mixture.drop_text else v.encode(sentence)
        words = Text(ids=[v["<bos>"], v[f"<{task}>"], *spoken])
        source = Picture(digits=pack(group.source[row], self.side), role=Role[note["role"]])
        return write([words, source, self.target(digits, group.text[row], order, kept, weight)], v)

    def target(
        self,
        digits: UInt8[Tensor, "h w d"],
        text: UInt8[Tensor, "h w"],
        order: Int64[Tensor, " n"],
        kept: int,
        weight: Float[Tensor, "p q"] | None = None,
    ) -> Picture:
        """The drawn picture with its loss weights."""
        cover = torch.nn.functional.max_pool2d(text[None].float() / 255, self.side)[0]
        weights = 1 + (self.mixture.text_weight - 1) * cover
        return Picture(
            digits=pack(digits, self.side),
            order=order,
            kept=kept,
            weight=weights if weight is None else weights * weight,
        )
