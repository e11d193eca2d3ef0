"""What the reader learns from: codes of scenes with what their positions show, and collages of them.

A scene holds two things on average, so a reader that sees scenes alone learns names slowly (19 % after 400 steps against 57 %). A
collage is a scene's codes with things of other scenes pasted where there is room; it costs no rendering.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from random import Random

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from ..models.image_grammar import IGNORE
from ..models.reader import SIDE, ReaderConfig, Shown
from ..text.plan import area, letters
from ..worlds.captions import plan_of
from ..worlds.nouns import plural, singular, synonyms
from ..worlds.scene import Scene

LARGEST = 10  # cells a side of what is pasted
OVERLAP = 0.1  # share of a thing's place that may hide others
Coded = tuple[Scene, UInt8[Tensor, "_ _ d"]]


class Canvas:
    """A picture's codes, and what its cells show while things are put on it."""

    def __init__(self, config: ReaderConfig, base: Coded) -> None:
        scene, digits = base
        self.config, self.digits = config, digits.clone()
        self.high, self.wide = digits.shape[:2]
        self.names = torch.full((self.high, self.wide), len(config.names))
        self.colours, self.materials = (torch.full_like(self.names, IGNORE) for _ in range(2))
        self.centres: list[tuple[int, int]] = []  # cells
        self.over = torch.zeros(self.high, self.wide, dtype=torch.bool)
        self.letters = torch.zeros(self.high // SIDE, self.wide // SIDE, len(config.letters), dtype=torch.bool)
        for thing in sorted(
            scene.spec["objects"], key=lambda thing: -area(thing["box"])
        ):  # smaller ones stand in front
            self.show(thing, self.cells(thing["box"]))
        for text in plan_of(scene.spec).texts:
            for letter, (x0, y0, x1, y1) in letters(text):
                row, column = int((y0 + y1) / 2 * self.high) // SIDE, int((x0 + x1) / 2 * self.wide) // SIDE
                if letter in config.letters and 0 <= row < len(self.letters) and 0 <= column < self.wide // SIDE:
                    self.letters[row, column, config.letters.index(letter)] = True

    def cells(self, box: Sequence[float]) -> tuple[slice, slice]:
        """Rows and columns of a box, at least one each."""
        return cells_of(box, self.high, self.wide)

    def show(self, thing: dict, place: tuple[slice, slice]) -> None:
        """Say that a thing stands there, before what stood there."""
        config = self.config
        inside = [(row, column) for row, column in self.centres if within(row, place[0]) and within(column, place[1])]
        self.centres = [centre for centre in self.centres if centre not in inside]
        self.centres.append(tuple((part.start + part.stop - 1) // 2 for part in place))  # type: ignore[arg-type]
        self.names[place] = config.names.index(thing["name"])
        self.colours[place] = config.colours.index(thing["colour"]) if thing.get("colour") else IGNORE
        self.materials[place] = config.materials.index(thing["material"]) if thing.get("material") else IGNORE

    def paste(self, thing: dict, part: UInt8[Tensor, "y x d"], random: Random) -> None:
        """Put a thing's codes somewhere, if there is room."""
        row, column = random.randint(0, self.high - part.shape[0]), random.randint(0, self.wide - part.shape[1])
        place = (slice(row, row + part.shape[0]), slice(column, column + part.shape[1]))
        if (self.names[place] < len(self.config.names)).float().mean() > OVERLAP:
            return
        self.digits[place], self.over[place] = part, True
        self.show(thing, place)

    def shown(self) -> Shown:
        """What the positions show; letters that something was pasted over are gone."""
        centres = torch.zeros(self.high // SIDE, self.wide // SIDE, dtype=torch.bool)
        for row, column in self.centres:
            centres[row // SIDE, column // SIDE] = True
        return Shown(
            names=agreed(self.names),
            colours=agreed(self.colours),
            materials=agreed(self.materials),
            centres=centres.flatten(),
            letters=self.letters.flatten(0, 1) & ~by_position(self.over).any(-1)[:, None],
        )


def collage(config: ReaderConfig, base: Coded, others: Sequence[Coded], random: Random) -> tuple[Tensor, Shown]:
    """A scene with things of the other scenes pasted into it, those that found a place: its codes, and what its positions show."""
    canvas = Canvas(config, base)
    for scene, codes in others:
        if not scene.spec["objects"]:
            continue
        thing = random.choice(scene.spec["objects"])
        part = codes[cells_of(thing["box"], *codes.shape[:2])]
        if part.numel() and part.shape[0] <= min(canvas.high, LARGEST) and part.shape[1] <= min(canvas.wide, LARGEST):
            canvas.paste(thing, part, random)
    return canvas.digits, canvas.shown()


def nouns(config: ReaderConfig) -> dict[str, str]:
    """Every form of every name: singular, plural and synonyms. A sign is left out: on posters it carries text and is no thing."""
    forms = dict[str, str]()
    for name in (name for name in config.names if name != "sign"):
        for own in synonyms(name):
            forms |= {own.lower(): name, plural(own).lower(): name}
    for name in (name for name in config.names if name != "sign"):
        forms |= {form.lower(): name for form in (name, singular(name)[0], plural(name))}
    return forms


def together(pictures: Sequence[Shown]) -> Shown:
    """A batch."""
    return Shown(**{f.name: torch.stack([getattr(one, f.name) for one in pictures]) for f in fields(Shown)})


def cells_of(box: Sequence[float], high: int, wide: int) -> tuple[slice, slice]:
    """Rows and columns of a box in fractions, at least one each where it lies in the picture."""
    x0, y0, x1, y1 = box
    top, left = (min(max(0, round(start * size)), size - 1) for start, size in ((y0, high), (x0, wide)))
    return slice(top, min(high, max(top + 1, round(y1 * high)))), slice(
        left, min(wide, max(left + 1, round(x1 * wide)))
    )


def within(place: int, part: slice) -> bool:
    return part.start <= place < part.stop


def by_position(cells: Tensor) -> Tensor:
    """[h, w] cells as [n, SIDE * SIDE]: those of every position."""
    high, wide = cells.shape
    return cells.view(high // SIDE, SIDE, wide // SIDE, SIDE).transpose(1, 2).flatten(2).flatten(0, 1)


def agreed(cells: Int64[Tensor, "h w"]) -> Int64[Tensor, " n"]:
    """What three of a position's four cells say, IGNORE where no three agree."""
    said = by_position(cells).sort(-1).values
    middle = said[:, 1]
    return torch.where((said == middle[:, None]).sum(1) >= SIDE * SIDE - 1, middle, IGNORE)
