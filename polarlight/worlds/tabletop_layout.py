"""Placing the objects of a tabletop scene so that they fit the picture, and writing down where they are seen."""

from __future__ import annotations

import math
from random import Random

from .scene import ASPECTS, Spec
from .tabletop_labels import label_extent
from .tabletop_stage import DISTANCE, place, project

HEIGHTS = {  # before everything is sized to the picture
    "bottle": 1.2, "mug": 0.8, "sphere": 0.72, "cube": 0.64, "cone": 0.95, "vase": 1.1, "book": 0.95,
    "lamp": 1.3, "sign": 0.9,
}  # fmt: skip
GAP = 0.12  # between neighbours that stand side by side
MARGIN = 0.05  # kept free at the picture's border; 1 is half its shorter side


def arrange(random: Random, spec: Spec, category: str) -> bool:
    """Place the objects in the picture, write their boxes and a true relation; False where they do not fit."""
    objects, wanted = spec["objects"], None
    spec["objects"] = objects = [dict(item) for item in objects]
    wide, high = half_extent(spec["aspect"])
    if category == "position":
        wanted = random.choice(("left of", "right of", "in front of", "behind"))
    for item in objects:
        item["yaw"] = choose_yaw(random, item["name"], any(text["on"] == objects.index(item) for text in spec["texts"]))
    for _ in range(4):
        if wanted in ("in front of", "behind"):
            place_in_depth(random, objects, wanted)
        else:
            place_in_a_row(random, objects)
        fill = None if spec["texts"] else random.choice((0.8, 0.95))
        if fit(spec, wide, high, fill):
            break
    else:
        return False
    if len(objects) == 2:
        relation = wanted or ("left of" if objects[0]["x"] < objects[1]["x"] else "right of")
        spec["relations"] = [[0, relation, 1]]
        if not relation_holds(spec, relation):
            return False
    for text in spec["texts"]:
        text["box"] = text_box(spec, text)
    return True


def half_extent(aspect: str) -> tuple[float, float]:
    """Half the picture's width and height, the shorter one being 1."""
    across, down = ASPECTS[aspect]
    return across / min(across, down), down / min(across, down)


def choose_yaw(random: Random, name: str, written: bool) -> float:
    if written:
        return 0.0
    if name == "mug":
        return round(random.choice((0.0, math.pi)) + random.choice((-0.4, 0.0, 0.4)), 4)
    spread = {"cube": 0.75, "book": 0.6, "sign": 0.3}.get(name, 0.2)
    return random.choice((-spread, 0.0, spread))


def place_in_a_row(random: Random, objects: list[Spec]) -> None:
    """Side by side in random order; three and more stand closer, in two ranks, so that they can be larger."""
    order = random.sample(range(len(objects)), len(objects))
    glass = sum(item["material"] == "glass" for item in objects)  # behind glass, things are hard to count
    ranks = len(objects) > 2 and glass < 2 and random.random() < 0.75
    first = random.choice((-1, 1))
    edge = 0.0
    for turn, index in enumerate(order):
        item = objects[index]
        radius = place(item).shape.radius * item["size"]
        item["x"] = edge + radius
        if ranks:
            item["z"] = round(first * (-1) ** turn * 0.42, 4)
            edge += radius * random.choice((1.3, 1.5))
        else:
            item["z"] = random.choice((-0.2, 0.0, 0.2))
            edge += 2 * radius + GAP * random.choice((0.8, 1.8))
    middle = edge / 2
    for item in objects:
        item["x"] = round(item["x"] - middle, 4)


def place_in_depth(random: Random, objects: list[Spec], relation: str) -> None:
    """The first object before or behind the second, partly hiding it or hidden."""
    front, back = objects if relation == "in front of" else objects[::-1]
    for item, factor in ((front, 0.8), (back, 1.1)):
        item["size"] = round(HEIGHTS[item["name"]] * factor, 4)
    shift = random.choice((-0.4, 0.4))
    front["x"], front["z"] = shift, -0.7
    back["x"], back["z"] = round(-shift * 0.7, 4), 0.6


def fit(spec: Spec, wide: float, high: float, fill: float | None) -> bool:
    """Centre the objects in the picture and write their boxes; with `fill`, first size them to that share of it."""
    spec["setting"]["camera"]["ground"] = 0.0
    for attempt in range(12):
        extents = [extent(spec, item) for item in spec["objects"]]
        left, right = min(e[0] for e in extents), max(e[2] for e in extents)
        low, high_edge = min(e[1] for e in extents), max(e[3] for e in extents)
        room = min(2 * (wide - MARGIN) / (right - left), 2 * (high - MARGIN) * 0.93 / (high_edge - low))
        if room >= 1 and (attempt or fill is None):
            break
        if fill is None:
            return False
        scale = min(1.7, room * fill) if attempt == 0 else room * 0.985
        for item in spec["objects"]:
            for key in ("x", "z", "size"):
                item[key] = round(item[key] * scale, 4)
    else:
        return False
    slack = high - MARGIN - (high_edge - low) / 2
    spec["setting"]["camera"]["ground"] = round(-(low + high_edge) / 2 - min(slack * 0.45, 0.2), 4)
    drift = (left + right) / 2
    for item in spec["objects"]:
        item["x"] = round(item["x"] - drift, 4)
    for text in spec["texts"]:  # what is written faces the camera
        item = spec["objects"][text["on"]]
        item["yaw"] = round(item["yaw"] + math.atan2(item["x"], DISTANCE) + spec["setting"]["camera"]["yaw"], 4)
    for item in spec["objects"]:
        x0, y0, x1, y1 = extent(spec, item)
        box = [(x0 / wide + 1) / 2, (1 - y1 / high) / 2, (x1 / wide + 1) / 2, (1 - y0 / high) / 2]
        item["box"] = [round(min(1.0, max(0.0, edge)), 4) for edge in box]
    return not overlap(spec["objects"]) and not hides(spec["objects"])


def hides(objects: list[Spec]) -> bool:
    """Whether the box of one object covers more than 0.4 of the box of one behind it."""
    for back in objects:
        x0, y0, x1, y1 = back["box"]
        for front in objects:
            a0, b0, a1, b1 = front["box"]
            shared = max(0.0, min(x1, a1) - max(x0, a0)) * max(0.0, min(y1, b1) - max(y0, b0))
            if front["z"] < back["z"] and shared > 0.4 * (x1 - x0) * (y1 - y0):
                return True
    return False


def overlap(objects: list[Spec]) -> bool:
    """Whether two objects stand in each other."""
    radii = [place(item).shape.radius * item["size"] for item in objects]
    return any(
        math.hypot(a["x"] - b["x"], a["z"] - b["z"]) < radii[i] + radii[j] + 0.02
        for i, a in enumerate(objects)
        for j, b in enumerate(objects[:i])
    )


def extent(spec: Spec, item: Spec) -> tuple[float, float, float, float]:
    """(left, low, right, high) of an object in picture coordinates."""
    placed = place(item)
    points = project(spec["setting"], placed.world(placed.shape.hull))
    return tuple(float(edge) for edge in (points[0].min(), points[1].min(), points[0].max(), points[1].max()))  # type: ignore[return-value]


def text_box(spec: Spec, text: Spec) -> list[float]:
    """Box of the written block, as fractions."""
    placed = place(spec["objects"][text["on"]])
    wide, high = half_extent(spec["aspect"])
    u, v, _ = project(spec["setting"], placed.world(label_extent(text, placed.shape)))
    edges = (u.min() / wide + 1) / 2, (1 - v.max() / high) / 2, (u.max() / wide + 1) / 2, (1 - v.min() / high) / 2
    return [round(float(edge), 4) for edge in edges]


def relation_holds(spec: Spec, relation: str) -> bool:
    """Whether object 0 stands so to object 1 by a clear margin, as the camera sees it."""
    first, second = spec["objects"]
    if relation in ("in front of", "behind"):
        nearer, further = (first, second) if relation == "in front of" else (second, first)
        (ax0, _, ax1, _), (bx0, _, bx1, _) = nearer["box"], further["box"]
        hidden = max(0.0, min(ax1, bx1) - max(ax0, bx0)) / (bx1 - bx0)
        return further["z"] - nearer["z"] > 0.6 and 0.1 < hidden < 0.65
    left, right = (first, second) if relation == "left of" else (second, first)
    return right["box"][0] > left["box"][2] - 0.02
