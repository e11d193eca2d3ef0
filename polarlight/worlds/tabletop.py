"""The tabletop world: one to four solid things on a table before a wall, lit like product photographs.

Keys of a spec beyond those of `scene.py`:
    setting   "table", "table_colour", "grain", "wall", "wall_variant", "light", "side" (of the light: -1 left, 1
              right), "elevation" (degrees added to the light's own), "camera": {"height", "yaw", "ground"}
    objects   "variant", "girth" (see tabletop_shapes), "x", "z", "size" (height), "yaw" (radians)
    texts     "lines", "font", "cap" (cap height), "middle", "half" (the label), "background", "frame"
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import torch

from ..base.errors import UserError
from ..base.seeds import stream_random
from .holdout import held_out_colour, held_out_pair, held_out_word
from .scene import ASPECTS, COLOURS, Rendered, Scene, Spec
from .tabletop_layout import HEIGHTS, arrange
from .tabletop_render import render
from .tabletop_surfaces import MARBLES, WALLS, WOODS
from .tabletop_text import write_text

CATEGORIES = ("single", "two", "counting", "colours", "position", "attributes", "text")
WEIGHTS = (16, 12, 8, 6, 8, 5, 45)  # of the categories where none is asked for
MATERIALS = {
    "bottle": ("glass", "glass", "metal", "matte"),
    "mug": ("matte", "matte", "metal", "glass"),
    "sphere": ("glass", "metal", "matte", "wood"),
    "cube": ("glass", "metal", "matte", "wood"),
    "cone": ("glass", "metal", "matte", "wood"),
    "vase": ("glass", "metal", "matte", "wood"),
    "book": ("matte",),
    "lamp": ("metal", "wood", "matte"),
    "sign": ("wood", "matte", "metal"),
}
VARIANTS = {"bottle": 3, "mug": 2, "vase": 3, "lamp": 2, "sign": 2}
NO_COLOUR = {
    "glass": ("black", "grey", "white", "brown"),
    "metal": ("white", "grey", "brown"),
    "wood": ("grey", "pink"),
}
PLAIN = {"glass": 0.25, "metal": 0.4, "wood": 0.5, "matte": 0.0}  # share without a colour of its own
COUNTED = ("bottle", "mug", "sphere", "cube", "cone", "vase", "book")


class Tabletop:
    """The world of solid things on a table (see the module); follows `scene.World`."""

    name = "tabletop"

    def sample(self, seed: int, split: str = "train", category: str | None = None) -> Scene:
        """Draw a scene, of one of CATEGORIES or of all mixed.

        Raises:
            UserError: an unknown split or category.
        """
        if split not in ("train", "heldout"):
            raise UserError(f"There is no split {split!r}.", fix="Use train or heldout.")
        if category is not None and category not in CATEGORIES:
            raise UserError(f"There is no category {category!r}.", fix=f"Use one of {', '.join(CATEGORIES)}.")
        random = stream_random(seed, f"tabletop/{split}/{category}")
        category = category or random.choices(CATEGORIES, WEIGHTS)[0]
        while True:
            spec = compose(random, split, category)
            if spec is not None:
                return Scene(seed=seed, spec=spec)

    def render(
        self, specs: Sequence[Spec], size: tuple[int, int], *, truth: bool = False, device: torch.device | str = "cpu"
    ) -> Rendered:
        """Draw specs at (height, width) px."""
        return render(specs, size, truth=truth, device=device)


def compose(random: Random, split: str, category: str) -> Spec | None:
    """One attempt at a scene; None where it does not fit or belongs to the other split."""
    objects = choose_objects(random, category)
    wide = len(objects) > 2  # three things in a tall picture would be tiny
    aspect = random.choices(tuple(ASPECTS), (60, 18, 4, 18, 0) if wide else (60, 10, 10, 10, 10))[0]
    if category != "text" and holds_out(objects) != (split == "heldout"):
        return None
    if category == "text" and split == "train" and holds_out(objects):
        return None
    spec = {
        "world": "tabletop",
        "aspect": aspect,
        "setting": choose_setting(random, objects),
        "objects": objects,
        "texts": [],
        "relations": [],
    }
    if category == "text" and not write_text(random, spec, split):
        return None
    if not arrange(random, spec, category):
        return None
    return spec


def holds_out(objects: list[Spec]) -> bool:
    """Whether a colour or a pair among the objects is held out."""
    names = [item["name"] for item in objects]
    return any(item["colour"] and held_out_colour(item["name"], item["colour"]) for item in objects) or any(
        held_out_pair(a, b) for index, a in enumerate(names) for b in names[:index]
    )


def holds_out_word(spec: Spec) -> bool:
    """Whether a word of the scene's texts is held out."""
    return any(held_out_word(word) for text in spec["texts"] for word in text["text"].split())


# what there is


def choose_objects(random: Random, category: str) -> list[Spec]:
    """Names, colours, materials and proportions that suit a category."""
    names = tuple(HEIGHTS)
    if category == "text":
        chosen = [random.choices(("bottle", "mug", "sign"), (45, 25, 30))[0]]
        if random.random() < 0.3:
            chosen.append(random.choice([name for name in COUNTED if name != chosen[0]]))
    elif category == "single":
        chosen = [random.choice(names[:-1])]
    elif category == "counting":
        count, name = random.choices((1, 2, 3, 4), (10, 30, 30, 30))[0], random.choice(COUNTED)
        return [choose_object(random, name)] * count
    else:
        count = random.choice((2, 3)) if category == "colours" else 2
        if category == "attributes" and random.random() < 0.5:
            chosen = [random.choice(names[:-1])] * count
        else:
            chosen = random.sample(names[:-1], count)
    objects: list[Spec] = []
    for name in chosen:
        taken = {item["colour"] for item in objects}
        objects.append(choose_object(random, name, coloured=category in ("colours", "attributes"), without=taken))
    return objects


def choose_object(random: Random, name: str, *, coloured: bool = False, without: set[str | None] | None = None) -> Spec:
    """An object that does not stand anywhere yet; `coloured` insists on a colour, never one of `without`."""
    material = random.choice(MATERIALS[name])
    if coloured and random.random() < 0.5:
        material = random.choice(["matte", *MATERIALS[name]])
    plain = not coloured and random.random() < PLAIN[material]
    palette = [c for c in COLOURS if c not in NO_COLOUR.get(material, ()) and c not in (without or ())]
    girth = {"bottle": random.choice((0.26, 0.3, 0.34, 0.38)), "mug": random.choice((0.38, 0.42, 0.46))}.get(name, 1.2)
    return {
        "name": name,
        "box": [0.0, 0.0, 1.0, 1.0],
        "colour": None if plain else random.choice(palette),
        "material": material,
        "variant": random.randrange(VARIANTS.get(name, 1)),
        "girth": girth,
        "x": 0.0,
        "z": 0.0,
        "size": round(HEIGHTS[name] * random.choice((0.92, 1.0, 1.08)), 4),
        "yaw": 0.0,
    }


def choose_setting(random: Random, objects: list[Spec]) -> dict[str, Any]:
    """Table, wall, light and camera; no surface has the colour of an object."""
    used = {item["colour"] for item in objects}
    table = random.choices(("wooden", "marble", "metal", "painted"), (45, 22, 12, 21))[0]
    if table == "wooden":
        colours: list[str | None] = [colour for colour in WOODS if colour not in used]
    elif table == "marble":
        colours = [colour for colour in MARBLES if colour not in used]
    else:
        colours = [None] if table == "metal" else [c for c in COLOURS if c not in used and c != "black"]
    table_colour = random.choice(colours)
    walls = [wall for wall in WALLS if wall not in used and wall != table_colour]
    wall = random.choice(walls)
    dark = wall == "black"
    light = random.choices(("soft", "warm", "cold", "low", "beam"), (34, 18, 14, 6 if dark else 12, 22))[0]
    return {
        "table": table,
        "table_colour": table_colour,
        "grain": random.randrange(4) / 4,
        "wall": wall,
        "wall_variant": random.randrange(len(WALLS[wall])),
        "light": light,
        "side": random.choice((-1, 1)),
        "elevation": random.choice((-3.0, 1.0, 5.0)),
        "camera": {
            "height": random.choice((1.2, 1.45, 1.7)),
            "yaw": random.choice((-0.08, 0.0, 0.08)),
            "ground": 0.0,
        },
    }
