"""Where the objects of a poster stand: in rows and columns, on the ground, behind or on one another.

Lengths are in design pixels, those of the 128 px family.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from math import inf
from random import Random
from typing import Any

from .atlas import ROTATIONS, extent
from .carriers import fractions
from .catalogue import Entry, tile_index
from .palettes import Setting

HEIGHTS = {0: (0, 0), 1: (60, 100), 2: (44, 64), 3: (32, 50), 4: (30, 44), 5: (28, 40), 6: (26, 36)}
MARGIN = 5.0  # px kept clear at the picture's edges
GRID = 8.0  # px: tiles have sides and corners on this grid, that of the tokenizer's cells
SMALLEST = 32.0  # px of a tile
TILTED, FLIPPED = 0.08, 0.15  # shares of things that are turned, and mirrored
Rect = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class House:
    """A house's style, which all its posters share."""

    grid: float = GRID  # px: sides and corners of tiles; on a coarser one sides are rounded, not cut
    largest: float = inf  # px of a tile's side
    core: float = 0.5  # share of things that are drawn from the everyday ones alone


@dataclass(kw_only=True)
class Plan:
    """What is to be composed."""

    random: Random
    split: str
    count: int  # objects
    same: bool = False  # all of one kind
    painted: float = 0.25  # chance that a paintable object gets a colour
    flat: bool = False
    plain: bool = False  # a quiet setting
    text: bool = False
    word: bool = False  # the text is one word
    pair: str | None = None  # two objects in a clear relation, one of PAIRS
    design: tuple[float, float] = (128.0, 128.0)
    aspect: str = "1:1"
    house: House = field(default_factory=House)
    entries: list[Entry] = field(default_factory=list)
    colours: list[str | None] = field(default_factory=list)


def place_objects(plan: Plan, setting: Setting, area: Rect) -> list[dict[str, Any]] | None:
    """Objects in their places, back to front; None where they would be too small."""
    if plan.count == 0:
        return []
    if setting["kind"] == "flat":
        return place_grid(plan, setting, area)
    if plan.pair in ("depth", "stack"):
        return place_pair(plan, setting, area)
    return place_on_ground(plan, setting, area)


def thing_spec(
    plan: Plan, number: int, centre: float, bottom: float, height: float, rotation: int, flip: bool, area: Rect
) -> dict[str, Any]:
    """An object whose visible extent stands near `bottom`, at most `height` px high: its tile lies on the grid.

    A poster's designer works on a grid, and a small model learns far sooner what stands on one.
    """
    entry = plan.entries[number]
    x0, y0, x1, y1 = extent(tile_index()[entry.name], rotation, flip)
    side = (height / (y1 - y0) + 0.5 + plan.house.grid - GRID) // plan.house.grid * plan.house.grid
    side = min(max(SMALLEST, side), plan.house.largest)
    x = on_grid(centre - side * (x0 + x1) / 2, side, area[0] - x0 * side, area[2] - x1 * side, plan.house.grid)
    y = on_grid(bottom - side * y1, side, area[1] - y0 * side, area[3] - y1 * side, plan.house.grid)
    box = fractions((x + x0 * side, y + y0 * side, x + x1 * side, y + y1 * side), plan.design)
    return {
        "name": entry.name,
        "box": box,
        "colour": plan.colours[number],
        "material": None,
        "rotation": rotation,
        "flip": flip,
    }


def on_grid(centre: float, side: float, low: float, high: float, grid: float) -> float:
    """The centre nearest to a tile's own with which its corner lies on the grid, within `low` .. `high` if any does."""
    corner = round((centre - side / 2) / grid) * grid
    if corner + side / 2 > high + 1 and corner - grid + side / 2 >= low - 1:
        corner -= grid
    elif corner + side / 2 < low - 1 and corner + grid + side / 2 <= high + 1:
        corner += grid
    return corner + side / 2


def place_grid(plan: Plan, setting: Setting, area: Rect) -> list[dict[str, Any]] | None:
    """Rows and columns, centred, all cells of one size."""
    random, (x0, y0, x1, y1) = plan.random, area
    if setting["kind"] == "flat" and setting["margin"]:
        x0, x1 = x0 + 2, x1 - 2
        y0, y1 = max(y0, setting["margin"] + 2), min(y1, plan.design[1] - setting["margin"] - 2)
    columns = best_columns(plan, x1 - x0, y1 - y0)
    rows = -(-plan.count // columns)
    cell_width, cell_height = (x1 - x0) / columns, (y1 - y0) / rows
    fill = min(
        cell_width * 0.9,
        cell_height * 0.9,
        random.uniform(*HEIGHTS[plan.count]) if plan.count < 4 else HEIGHTS[plan.count][1],
    )
    tilt = random.choice(ROTATIONS) if random.random() < TILTED else 0
    flip = random.random() < FLIPPED
    things = []
    for number in range(plan.count):
        row, column = divmod(number, columns)
        in_row = min(columns, plan.count - row * columns)
        ex0, ey0, ex1, ey1 = extent(tile_index()[plan.entries[number].name], tilt, flip)
        height = fill * min(1.0, (ey1 - ey0) / (ex1 - ex0)) if plan.count > 1 else min(y1 - y0, fill)
        if plan.count == 1:
            height = min(height, (x1 - x0) * 0.94 * (ey1 - ey0) / (ex1 - ex0))
        if max(height, height * (ex1 - ex0) / (ey1 - ey0)) < (44 if plan.count == 1 else 26):
            return None
        x = (x0 + x1) / 2 + (column - (in_row - 1) / 2) * cell_width
        bottom = y0 + (row + 0.5) * cell_height + height / 2
        things.append(thing_spec(plan, number, x, bottom, height, tilt, flip, area))
    return things


def best_columns(plan: Plan, width: float, height: float) -> int:
    """The number of columns that makes the cells largest."""
    if plan.pair:
        return 2 if plan.pair == "row" else 1
    return max(range(1, plan.count + 1), key=lambda columns: min(width / columns, height / -(-plan.count // columns)))


def place_on_ground(plan: Plan, setting: Setting, area: Rect) -> list[dict[str, Any]] | None:
    """Side by side in slots with some play; things of the air in the sky; the nearest painted last."""
    random, (x0, y0, x1, y1) = plan.random, area
    high = plan.design[1]
    horizon = setting["horizon"] * high
    slot = (x1 - x0) / plan.count
    low, tall = HEIGHTS[plan.count]
    things = []
    order = list(range(plan.count))
    random.shuffle(order)
    base = random.uniform(horizon + (y1 - horizon) * 0.5, y1)
    for place, number in enumerate(order):
        entry = plan.entries[number]
        flip = random.random() < FLIPPED
        ex0, ey0, ex1, ey1 = extent(tile_index()[entry.name], 0, flip)
        aspect = (ex1 - ex0) / (ey1 - ey0)
        aloft = entry.place == "air"
        if aloft:
            lowest = min(y0 + tall * 0.8, y1 - 4)
            bottom = random.uniform(lowest, max(lowest, min(horizon, y1 - 4)))
        else:
            bottom = min(y1, base + random.uniform(-4, 4))
        room = min(bottom - y0, slot * 0.98 / aspect)
        height = min(random.uniform(low, tall), room)
        if max(height, height * aspect) < (44 if plan.count == 1 else 26):
            return None
        play = (slot - height * aspect) / 2
        centre = x0 + (place + 0.5) * slot + random.uniform(-play, play) * 0.6
        thing = thing_spec(plan, number, centre, bottom, height, 0, flip, area)
        if aloft:
            thing["aloft"] = True
        things.append(thing)
    return sorted(things, key=lambda thing: thing["box"][3])


def place_pair(plan: Plan, setting: Setting, area: Rect) -> list[dict[str, Any]] | None:
    """Two objects, the second in front of the first or on top of it."""
    random, (x0, y0, x1, y1) = plan.random, area
    horizon = setting["horizon"] * plan.design[1]
    centre, flips = (x0 + x1) / 2, [random.random() < FLIPPED, random.random() < FLIPPED]
    reaches = [extent(tile_index()[entry.name], 0, flip) for entry, flip in zip(plan.entries, flips, strict=True)]
    aspects = [(reach[2] - reach[0]) / (reach[3] - reach[1]) for reach in reaches]
    if plan.pair == "stack":
        below = min(random.uniform(36, 52), (x1 - x0) * 0.7 / aspects[0], (y1 - y0) * 0.5)
        above = min(random.uniform(30, 42), below * aspects[0] * 0.85 / aspects[1], (y1 - y0) * 0.48)
        bottom = random.uniform(max(horizon + 10, y0 + below + above), y1) if y0 + below + above < y1 else y1
        places = [(centre, bottom, below), (centre, bottom - below * 0.95, above)]
    else:
        back = min(random.uniform(56, 76), (x1 - x0) * 0.62 / aspects[0], (y1 - y0) * 0.85)
        front = min(random.uniform(32, 42), (x1 - x0) * 0.4 / aspects[1])
        side = random.choice((-1, 1))
        shift = side * (back * aspects[0] + front * aspects[1] * 0.3) / 2
        bottom = max(min(horizon + 8, y1 - 12), y0 + back)
        places = [(centre - shift * 0.5, bottom, back), (centre + shift * 0.5, min(y1, bottom + 14), front)]
    if min(height * max(1.0, aspect) for (_, _, height), aspect in zip(places, aspects, strict=True)) < 26:
        return None
    things = [thing_spec(plan, 0, *places[0], 0, flips[0], area)]
    x, bottom, height = places[1]
    if plan.pair == "stack":
        bottom = things[0]["box"][1] * plan.design[1] + GRID / 2 + 1  # wherever the grid puts it, it touches
    things.append(thing_spec(plan, 1, x, bottom, height, 0, flips[1], area))
    if plan.pair == "stack":
        things[1]["aloft"] = True
    fits = all(thing["box"][0] >= 0 and thing["box"][2] <= 1 and thing["box"][1] >= 0 for thing in things)
    return things if fits and things[1]["box"][3] <= 1 else None


def draw_relations(objects: list[dict[str, Any]], design: tuple[float, float]) -> list[list[Any]]:
    """Relations true by a margin, one a pair, where there are two or three different objects."""
    if not 2 <= len(objects) <= 3:
        return []
    relations: list[list[Any]] = []
    for i, j in combinations(range(len(objects)), 2):
        if objects[i]["name"] == objects[j]["name"]:
            continue
        (ax, ay, aw, ah), (bx, by, bw, bh) = (middle(thing["box"], design) for thing in (objects[i], objects[j]))
        dx, dy = bx - ax, by - ay
        if abs(dx) >= 0.45 * (aw + bw) and abs(dx) > 1.3 * abs(dy):
            relations.append([i, "left of" if dx > 0 else "right of", j])
        elif abs(dy) >= 0.45 * (ah + bh) and abs(dy) > 1.3 * abs(dx):
            relations.append([i, "above" if dy > 0 else "below", j])
    return relations


def middle(box: list[float], design: tuple[float, float]) -> tuple[float, float, float, float]:
    """Centre, width and height in design pixels."""
    x0, y0, x1, y1 = (side * design[i % 2] for i, side in enumerate(box))
    return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0
