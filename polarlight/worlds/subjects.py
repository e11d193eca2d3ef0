"""Posters of one to four things and no text, to learn things from: what a prompt of a few words asks for, drawn clearly.

A thing stands on a grid of whole positions of the image model (16 px), has one of few sizes and hides no other, so a picture of it
has a quarter of the phases that it has elsewhere: scenes to finish a training on, not to measure one by.
"""

from __future__ import annotations

from itertools import combinations, count

from ..base.seeds import stream_random, stream_seed
from .posters import Posters
from .scene import Scene, Spec

SHARES = {"single": 0.12, "two": 0.22, "counting": 0.18, "colours": 0.16, "position": 0.16, "attributes": 0.16}
POSITION = 16.0  # design px
TOUCH = 0.02  # of the picture: boxes may share so much of an edge


def subject_scene(seed: int, split: str = "train") -> Scene:
    """A scene of one of `layout.CATEGORIES` by its share."""
    category = stream_random(seed, f"subjects/{split}").choices(list(SHARES), list(SHARES.values()))[0]
    world = Posters(grid=POSITION)
    tries = (world.sample(stream_seed(seed, "subjects", number) % 2**40, split, category) for number in count())
    return next(Scene(seed=seed, spec=scene.spec) for scene in tries if apart(scene.spec))


def apart(spec: Spec) -> bool:
    """Whether no thing hides another."""
    boxes = [thing["box"] for thing in spec["objects"]]
    return not any(
        all(min(a[axis + 2], b[axis + 2]) - max(a[axis], b[axis]) > TOUCH for axis in (0, 1))
        for a, b in combinations(boxes, 2)
    )
