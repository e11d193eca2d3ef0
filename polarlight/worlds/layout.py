"""Composition of a poster: which objects, where, how large, in which setting, with which text.

`compose` draws one spec or gives up (None) where the draw does not fit; the caller draws again. Lengths are in design
pixels, those of the 128 px family.
"""

from __future__ import annotations

import functools
from itertools import combinations
from random import Random
from typing import Any

from ..text.lettering import rise_and_fall
from .carriers import BOARDS, NEONS, fit_text, fractions, text_spec
from .catalogue import Entry, catalogue
from .holdout import held_out_colour, held_out_pair, held_out_word
from .palettes import FLATS, GROUNDS, PATTERNS, SCENERY, WALLS, Setting
from .placement import GRID, MARGIN, House, Plan, Rect, draw_relations, place_objects
from .scene import COLOURS, Spec, picture_size

CATEGORIES = ("single", "two", "counting", "colours", "position", "attributes", "text")
ASPECT_WEIGHTS = {"1:1": 60, "3:2": 12, "2:3": 10, "16:9": 9, "9:16": 9}
PAIRS = {"row": 34, "column": 34, "depth": 20, "stack": 12}  # side by side, above, behind, on; with weights
VARIANTS = 6  # of each setting's clouds, stars, houses and the like
SUPPORTS = ("brick wall", "oil drum", "wood", "books", "bus", "piano", "package", "office building", "ferry")


def compose(random: Random, split: str, category: str | None, house: House) -> Spec | None:
    """One spec, or None where this draw does not fit."""
    plan = draw_plan(random, split, category)
    plan.house = house
    plan.aspect = random.choices(list(ASPECT_WEIGHTS), list(ASPECT_WEIGHTS.values()))[0]
    if not plan.flat and plan.count * 30 > picture_size(plan.aspect)[1]:
        plan.aspect = "1:1" if plan.count <= 4 else "3:2"
    plan.flat = plan.pair == "column" or (plan.flat and plan.pair not in ("depth", "stack"))
    height, width = picture_size(plan.aspect)
    plan.design = (float(width), float(height))
    setting = draw_setting(plan)
    plan.entries = draw_entries(plan, setting)
    if len(plan.entries) < plan.count:
        return None
    plan.colours = draw_colours(plan, setting)
    if setting.get("colour") in plan.colours:
        return None
    if category in ("colours", "attributes") and not distinct_colours(plan.colours):
        return None
    texts, area = [], (MARGIN, MARGIN, width - MARGIN, height - MARGIN)
    if plan.text:
        placed = place_text(plan, setting)
        if placed is None:
            return None
        texts, area = [placed[0]], placed[1]
    objects = place_objects(plan, setting, area)
    if objects is None:
        return None
    if texts and plan.count == 1 and texts[0]["carrier"] in ("bubble", "label", "price tag"):
        texts[0]["on"] = 0
        if texts[0]["carrier"] == "bubble":
            point_bubble(texts[0], objects[0])
    relations = draw_relations(objects, plan.design)
    if plan.pair in ("depth", "stack"):
        relations = [[1, "on" if plan.pair == "stack" else "in front of", 0]]
    if plan.pair and not relations:
        return None
    return {
        "world": "posters",
        "aspect": plan.aspect,
        "setting": setting,
        "objects": objects,
        "texts": texts,
        "relations": relations,
    }


def draw_plan(random: Random, split: str, category: str | None) -> Plan:
    """The kind of scene. Of the natural mixture a third is simple, and each category's situation comes often."""
    flat = random.random() < 0.5
    common = {"random": random, "split": split, "flat": flat}
    if category is None:
        roll = random.random()
        if roll < 0.34:
            return Plan(**common, count=random.choice((1, 1, 2)), plain=True, painted=0.35, text=random.random() < 0.5)
        if roll < 0.44:
            return Plan(**common, count=0, text=True, plain=random.random() < 0.3)
        if roll < 0.56:
            common["flat"] = random.random() < 0.75
            return Plan(
                **common,
                count=random.choice((2, 2, 3, 3, 4, 4, 5, 6)) if common["flat"] else random.choice((2, 3, 4)),
                same=True,
                text=random.random() < 0.5,
            )
        if roll < 0.66:
            return Plan(**common, count=2, painted=1.0, text=random.random() < 0.3)
        if roll < 0.74:
            pair = random.choices(list(PAIRS), list(PAIRS.values()))[0]
            return Plan(**common, count=2, pair=pair, text=random.random() < 0.2)
        count = random.choices((1, 2, 3, 4, 5), (26, 34, 22, 12, 6))[0]
        return Plan(**common, count=count, text=random.random() < 0.72)
    plain = random.random() < 0.5
    if category == "counting":
        return Plan(**common, count=random.randint(1, 4), same=True, plain=plain, painted=0)
    if category == "position":
        return Plan(**common, count=2, pair=random.choice(("row", "column")), plain=plain, painted=0)
    if category == "text":
        return Plan(**common, count=random.choice((0, 1)), text=True, word=True, plain=plain)
    count = 2 if category in ("two", "attributes") else 1
    return Plan(**common, count=count, plain=plain, painted=1.0 if category in ("colours", "attributes") else 0.0)


def draw_setting(plan: Plan) -> Setting:
    """A flat ground or a landscape."""
    random = plan.random
    variant = random.randrange(VARIANTS)
    if plan.flat:
        pattern = random.choice(("solid", "gradient")) if plan.plain else random.choice(PATTERNS)
        palette = random.choice(list(FLATS))
        margin = 0.0 if random.random() < 0.65 else float(4)
        return {
            "kind": "flat",
            "pattern": pattern,
            "palette": palette,
            "colour": FLATS[palette][0],
            "margin": margin,
            "variant": variant,
        }
    kind = random.choice(("meadow", "room", "sea", "snow field", "beach") if plan.plain else SCENERY)
    time = "day" if kind == "room" else random.choices(("day", "sunset", "night"), (66, 18, 16))[0]
    weather = (
        "clear"
        if kind == "room"
        else random.choices(("clear", "sun", "clouds", "rain", "snow"), (30, 16, 32, 12, 10))[0]
    )
    if kind in ("desert", "beach", "sea") and weather == "snow":
        weather = "clear"
    if kind == "snow field" and weather == "rain":
        weather = "snow"
    if weather == "sun" and time != "day":
        weather = "clear"
    palette = random.choice(list(GROUNDS[kind]))
    horizon = round(random.choice((0.5, 0.5625, 0.625)) * plan.design[1] / GRID) * GRID / plan.design[1]
    setting = {
        "kind": kind,
        "time": time,
        "weather": weather,
        "palette": palette,
        "horizon": horizon,
        "variant": variant,
    }
    if kind == "room":
        setting["wall"] = WALLS[palette][0]
        setting["window"] = None if plan.text else random.choice((None, 0.2, 0.5, 0.8))
    return setting


@functools.cache
def pool(kind: str, paintable: bool, core: bool) -> tuple[Entry, ...]:
    """The entries that suit a setting."""
    return tuple(
        entry
        for entry in catalogue()
        if (entry.paintable or not paintable) and (entry.core or not core) and suits(entry, kind)
    )


def suits(entry: Entry, kind: str) -> bool:
    """Whether a thing may be met in this setting."""
    if kind == "flat":
        return True
    if kind == "room":
        return entry.place == "indoors" or (entry.place == "ground" and entry.size != "large")
    if kind == "sea":
        return entry.place in ("water", "air")
    if entry.place == "water":
        return False
    if kind == "street":
        return entry.category not in ("food",) and entry.name not in ("mountain", "volcano")
    if kind in ("desert", "snow field"):
        return entry.category not in ("food",) and not (entry.place == "indoors" and entry.size == "large")
    return not (entry.place == "indoors" and entry.size == "large")


def draw_entries(plan: Plan, setting: Setting) -> list[Entry]:
    """Distinct entries, no held-out pair among them in training."""
    random, chosen = plan.random, []
    count = min(1, plan.count) if plan.same else plan.count
    for _ in range(120):
        if len(chosen) == count:
            break
        choices = pool(setting["kind"], plan.painted == 1.0, random.random() < plan.house.core)
        if not choices:
            continue
        entry = random.choice(choices)
        if plan.pair in ("depth", "stack") and not suits_pair(entry, plan.pair, len(chosen)):
            continue
        clash = plan.split == "train" and any(held_out_pair(entry.name, other.name) for other in chosen)
        if entry not in chosen and not clash:
            chosen.append(entry)
    return chosen * plan.count if plan.same and chosen else chosen


def suits_pair(entry: Entry, pair: str, place: int) -> bool:
    """Whether a thing may stand behind or below (place 0), or in front or on top (place 1)."""
    if entry.place in ("air", "water"):
        return False
    if place == 1:
        return entry.size != "large"
    if pair == "stack":
        return entry.name in SUPPORTS
    return entry.size == "large" and entry.category in ("building", "plant", "vehicle", "animal")


def draw_colours(plan: Plan, setting: Setting) -> list[str | None]:
    """Paint for some; its own colour where a thing clearly has one; None where nothing may be claimed."""
    if plan.same and plan.entries:
        return [draw_colour(plan, plan.entries[0], setting)] * len(plan.entries)
    return [draw_colour(plan, entry, setting) for entry in plan.entries]


def draw_colour(plan: Plan, entry: Entry, setting: Setting) -> str | None:
    """One object's colour; in training never a held-out one; no paint that drowns in the ground.

    A held-out colour that a thing cannot help having is nowhere claimed: to show it is no new combination.
    """
    random, train = plan.random, plan.split == "train"
    own_held_out = entry.colour is not None and held_out_colour(entry.name, entry.colour)
    if entry.paintable and (random.random() < plan.painted or (train and own_held_out)):
        drowned = setting.get("colour", "black" if setting.get("time") == "night" else None)
        choices = [
            colour for colour in COLOURS if colour != drowned and not (train and held_out_colour(entry.name, colour))
        ]
        return random.choice(choices)
    return None if own_held_out and (train or not entry.paintable) else entry.colour


def distinct_colours(colours: list[str | None]) -> bool:
    """Whether every object has a colour and no two the same."""
    return None not in colours and len(set(colours)) == len(colours)


def place_text(plan: Plan, setting: Setting) -> tuple[dict[str, Any], Rect] | None:
    """A text on its carrier, and the area left for the objects."""
    random, (wide, high) = plan.random, plan.design
    carrier = draw_carrier(plan, setting)
    alone = plan.count == 0
    pad = {"title": 2.0, "neon": 6.0}.get(carrier, 7.0)
    room = wide - 2 * MARGIN - 2 * pad
    highest = high * (0.28 if alone else 0.2)
    beside = carrier == "post" and plan.count == 1
    if beside:
        room = wide * 0.55 - pad * 2 - MARGIN
    tip = 12.0 if carrier == "price tag" else 0.0  # the tag's point needs room on the left
    caps = (15.0 if alone else 10.5, min(34.0 if alone else 20.0 if tip else 28.0, highest))
    fitted = fit_text(random, plan.split, room - tip, caps, 10 if plan.word else 16, plan.word, carrier != "price tag")
    if fitted is None:
        return None
    board_height = fitted.height + 2 * pad * 0.85
    low = carrier in ("label", "price tag") or (carrier == "title" and random.random() < 0.35)
    x = round((wide - fitted.width + tip) / 2 / GRID) * GRID
    if beside:
        x = wide - MARGIN - pad - fitted.width if random.random() < 0.5 else MARGIN + pad
    top = MARGIN if carrier != "hanging" else MARGIN + 4
    if alone and carrier != "banner":
        top = (high - board_height) * (0.5 if setting["kind"] == "flat" else 0.38)
    elif beside:
        top = high * random.uniform(0.3, 0.42)
    elif low:
        top = high - MARGIN - board_height
    rise = fitted.cap * rise_and_fall(fitted.lines, fitted.script)[0]
    top = round((top + pad * 0.85 + rise) / GRID) * GRID - rise - pad * 0.85  # the baseline lies on the grid
    if top < 1:
        top += GRID
    text = text_spec(fitted, carrier, x, top + pad * 0.85, plan.design, draw_ink(plan, setting, carrier))
    board = (x - pad, top, x + fitted.width + pad, top + board_height)
    if carrier != "title":
        text["board"] = fractions(board, plan.design)
        text["fill"] = text.pop("fill", None) or board_fill(text, random)
    if carrier in ("post", "billboard"):
        text["foot"] = round(random.uniform(0.8, 0.88) if setting["kind"] != "flat" else 1.1, 3)
    return text, free_area(plan, carrier, board, low, beside)


def free_area(plan: Plan, carrier: str, board: Rect, low: bool, beside: bool) -> Rect:
    """What the text leaves of the picture."""
    wide, high = plan.design
    gap = 7.0 if carrier == "bubble" else 3.0
    if beside:
        left = board[0] > wide - board[2]
        return (
            (MARGIN, MARGIN, board[0] - gap, high - MARGIN)
            if left
            else (board[2] + gap, MARGIN, wide - MARGIN, high - MARGIN)
        )
    if low:
        return (MARGIN, MARGIN, wide - MARGIN, board[1] - gap)
    return (MARGIN, board[3] + gap, wide - MARGIN, high - MARGIN)


def draw_carrier(plan: Plan, setting: Setting) -> str:
    """What may carry a text here."""
    random = plan.random
    speaks = plan.count == 1 and plan.entries[0].category in ("animal", "person")
    if speaks and random.random() < 0.4:
        return "bubble"
    if setting["kind"] == "flat":
        return random.choices(("title", "label", "price tag", "banner"), (60, 16, 10, 14))[0]
    if setting["kind"] == "room":
        return random.choice(("hanging", "hanging", "banner"))
    if setting["time"] == "night" and random.random() < 0.5:
        return "neon"
    if plan.count == 0:
        return random.choice(("post", "hanging", "billboard"))
    if plan.count == 1:
        return random.choice(("post", "post", "hanging", "billboard", "banner"))
    return random.choice(("billboard", "hanging", "banner"))


def draw_ink(plan: Plan, setting: Setting, carrier: str) -> tuple[str, str]:
    """The ink and its name: the palette's own on bare ground, else one that goes with a board."""
    if carrier == "title":
        return FLATS[setting["palette"]][4:6]
    if carrier == "neon":
        return plan.random.choice(NEONS)
    if carrier == "bubble":
        return ("#2a2d34", "black")
    return plan.random.choice(BOARDS)[1:]


def board_fill(text: dict[str, Any], random: Random) -> str:
    """The colour of the board below an ink."""
    if text["carrier"] == "bubble":
        return "#ffffff"
    if text["carrier"] == "neon":
        return "#191b2b"
    return next(fill for fill, ink, _ in BOARDS if ink == text["ink"])


def point_bubble(text: dict[str, Any], thing: dict[str, Any]) -> None:
    """Let the bubble's tail point at who speaks."""
    x0, y0, x1, _ = thing["box"]
    text["tail"] = [round((x0 + x1) / 2, 4), round(max(y0 + 0.01, text["board"][3] + 0.03), 4)]


def held_out_things(spec: Spec) -> list[str]:
    """The held-out pairs, colours and words a spec holds."""
    names = sorted({thing["name"] for thing in spec["objects"]})
    found = [f"{a} and {b}" for a, b in combinations(names, 2) if held_out_pair(a, b)]
    for thing in spec["objects"]:
        if thing["colour"] is not None and held_out_colour(thing["name"], thing["colour"]):
            found.append(f"{thing['colour']} {thing['name']}")
    return found + [word for text in spec["texts"] for word in text["text"].split() if held_out_word(word)]
