"""Posters of one to four things and no text, to learn things from: what a prompt of a few words asks for, drawn clearly.

A thing stands on a grid of whole positions of the image model (16 px), upright and in daylight, in one of three sizes, and hides no
other. So all its pictures have 29 positions, where elsewhere they have hundreds: scenes to learn things by heart from, not to
measure a model by.
"""

from __future__ import annotations

from itertools import combinations, count

from ..base.seeds import stream_random, stream_seed
from .placement import House
from .posters import Posters
from .scene import Scene, Spec

SHARES = {"single": 0.12, "two": 0.22, "counting": 0.18, "colours": 0.16, "position": 0.16, "attributes": 0.16}
POSITION = 16.0  # design px
ALONE, AMONG_OTHERS = 64.0, 48.0  # sides of tiles, at most; a few have 32
CORE = 0.25  # see `placement.House`: elsewhere everyday things are five times as frequent as others, here twice
TOUCH = 0.02  # of the picture: boxes may share so much of an edge


def subject_scene(seed: int, split: str = "train") -> Scene:
    """A scene of one of `layout.CATEGORIES` by its share."""
    category = stream_random(seed, f"subjects/{split}").choices(list(SHARES), list(SHARES.values()))[0]
    largest = ALONE if category in ("single", "colours") else AMONG_OTHERS
    world = Posters(House(grid=POSITION, largest=largest, core=CORE))
    tries = (world.sample(stream_seed(seed, "subjects", number) % 2**40, split, category) for number in count())
    return next(Scene(seed=seed, spec=scene.spec) for scene in tries if plain(scene.spec) and apart(scene.spec))


def house_scene(seed: int, split: str = "train") -> Scene:
    """A scene of the natural mixture, texts and all, with its things on the same positions and in the same sizes."""
    world = Posters(House(grid=POSITION, largest=ALONE))
    tries = (world.sample(stream_seed(seed, "house", number) % 2**40, split) for number in count())
    return next(Scene(seed=seed, spec=scene.spec) for scene in tries if upright(scene.spec))


def plain(spec: Spec) -> bool:
    """Whether everything stands upright in daylight."""
    return upright(spec) and spec["setting"].get("time", "day") == "day"


def upright(spec: Spec) -> bool:
    """Whether nothing is turned or mirrored."""
    return not any(thing["rotation"] or thing["flip"] for thing in spec["objects"])


def apart(spec: Spec) -> bool:
    """Whether no thing hides another."""
    boxes = [thing["box"] for thing in spec["objects"]]
    return not any(
        all(min(a[axis + 2], b[axis + 2]) - max(a[axis], b[axis]) > TOUCH for axis in (0, 1))
        for a, b in combinations(boxes, 2)
    )
