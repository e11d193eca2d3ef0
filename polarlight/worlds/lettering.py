"""Posters full of texts and without things, to learn lettering from: other scenes have one text, these four on average."""

from __future__ import annotations

from random import Random
from typing import Any

from ..base.seeds import stream_random
from .layout import ASPECT_WEIGHTS, draw_setting, place_text
from .placement import GRID, Plan, Rect
from .scene import Scene, picture_size

TRIES = 14  # texts, of which those are kept that find a place
PLACES = 6  # rows that each is tried in
STEP = 4.0  # design px: pens stand on it


def lettering_scene(seed: int, split: str = "train") -> Scene:
    """A poster with as many texts as find a place; `split` is that of its words."""
    random = stream_random(seed, f"lettering/{split}")
    aspect = random.choices(list(ASPECT_WEIGHTS), list(ASPECT_WEIGHTS.values()))[0]
    high, wide = (float(side) for side in picture_size(aspect))
    common: dict[str, Any] = {"random": random, "split": split, "aspect": aspect, "design": (wide, high), "text": True}
    common["flat"] = random.random() < 0.5
    setting = draw_setting(Plan(**common, count=0, plain=random.random() < 0.5))
    texts, taken = list[dict[str, Any]](), list[Rect]()
    for _ in range(TRIES):
        # alone a text is large, above two things it is smaller
        placed = place_text(Plan(**common, count=random.choice((0, 2, 2)), word=random.random() < 0.5), setting)
        text = placed and moved(placed[0], (wide, high), taken, random)
        if text:
            texts.append(text)
    rest = {"objects": [], "relations": [], "texts": texts}
    return Scene(seed=seed, spec={"world": "posters", "aspect": aspect, "setting": setting, **rest})


def moved(text: dict[str, Any], size: tuple[float, float], taken: list[Rect], random: Random) -> dict[str, Any] | None:
    """The text where nothing is yet, which is `taken` then; None where no place was found. size: width and height."""
    wide, high = size
    x0, y0, x1, y1 = (
        side * length for side, length in zip(text.get("board", text["box"]), (*size, *size), strict=True)
    )
    for down in random.sample(rows := range(-int(y0 // GRID), int((high - y1) // GRID) + 1), min(PLACES, len(rows))):
        right = STEP * random.choice(range(-int(x0 // STEP), int((wide - x1) // STEP) + 1) or [0])
        place = (x0 + right, y0 + GRID * down, x1 + right, y1 + GRID * down)
        if not any(meet(place, other) for other in taken):
            taken.append(place)
            shift = (right / wide, GRID * down / high) * 2
            boxes = {name: text[name] for name in ("box", "board") if name in text}
            boxes = {name: [round(a + b, 4) for a, b in zip(box, shift, strict=True)] for name, box in boxes.items()}
            foot = {"foot": min(text["foot"], place[3] / high + 0.1)} if "foot" in text else {}
            return text | boxes | foot
    return None


def meet(a: Rect, b: Rect) -> bool:
    """Whether two rectangles share more than an edge."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
