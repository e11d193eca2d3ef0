"""What the judge learns from: true scenes of both worlds, and posters crowded with things, rendered once and kept.

Shard k of a kind is a function of (kind, k). Its seeds lie in a range of their own, below every evaluation's. Half of the scenes
are of the held-out split and crowds hold out nothing: a judge must know what the generators never saw.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor

from ..base.files import atomic_path
from ..base.seeds import stream_random
from ..models.detector import DetectorConfig, Truth
from ..worlds.atlas import ROTATIONS, extent
from ..worlds.catalogue import Entry, catalogue, tile_index
from ..worlds.posters import Posters
from ..worlds.scene import COLOURS, Spec, World, picture_size
from ..worlds.tabletop import MATERIALS, Tabletop

FIRST_SEED = 500_000_000  # evaluation starts at 1_000_000_000
SHARD = 256  # scenes, about 13 MB of pixels
RENDER_AT_ONCE = 32
CROWD_CELLS = (30, 36, 42, 50, 60, 80, 96, 112)  # px, sides of the squares that a crowded picture is divided into
MOST = 16  # objects of a crowd
POSTERS = (None, None, "colours", "attributes")  # categories by turns: a thing in an odd colour is the hardest to name


class Labelled(NamedTuple):
    """Pictures of one shape with their truth."""

    pixels: UInt8[Tensor, "b h w 3"]
    truth: Truth


def judge_config() -> DetectorConfig:
    """Every name of both worlds."""
    names = sorted({entry.name for entry in catalogue()} | set(MATERIALS))
    materials = sorted({material for choices in MATERIALS.values() for material in choices})
    return DetectorConfig(classes=tuple(names), colours=COLOURS, materials=tuple(materials))


def world_of(kind: str) -> World:
    return Tabletop() if kind == "tabletop" else Posters()


def draw_spec(kind: str, seed: int) -> Spec:
    """The scene of a seed: of kind "posters", "tabletop" or "crowds"."""
    if kind == "crowds":
        return crowded(stream_random(seed, "judge crowd"), Posters().sample(seed, "train", "single").spec)
    category = POSTERS[seed // 2 % len(POSTERS)] if kind == "posters" else None
    return world_of(kind).sample(seed, "heldout" if seed % 2 else "train", category).spec


def crowded(random: Random, spec: Spec) -> Spec:
    """A poster's setting and aspect with up to MOST random pictographs in a grid, in any colour, turned and mirrored.

    A natural poster shows two things on average; a crowd teaches five times as many names for the same convolutions.
    """
    high, wide = picture_size(spec["aspect"])
    side = random.choice(CROWD_CELLS)
    rows, columns = high // side, wide // side
    left, top = random.uniform(0, wide - columns * side), random.uniform(0, high - rows * side)
    cells = [(left + column * side, top + row * side) for row in range(rows) for column in range(columns)]
    chosen = random.sample(cells, min(len(cells), random.randint(2, MOST)))
    objects = []
    for corner in chosen:
        size = side * random.uniform(0.8, 1.05)
        x, y = (edge + side * random.uniform(0.4, 0.6) for edge in corner)
        objects.append(pictograph(random, random.choice(catalogue()), (x, y), size, (wide, high)))
    return {**spec, "objects": objects, "texts": [], "relations": []}


def pictograph(
    random: Random, entry: Entry, centre: tuple[float, float], size: float, picture: tuple[int, int]
) -> Spec:
    """One object of `size` px about a centre in px; most of what can be painted is."""
    rotation, flip = random.choice((0, *ROTATIONS)), random.random() < 0.5
    reach = extent(tile_index()[entry.name], rotation, flip)
    corners = [(centre[i % 2] + reach[i] * size) / picture[i % 2] for i in range(4)]
    painted = entry.paintable and random.random() < 0.85
    return {
        "name": entry.name,
        "box": corners,
        "colour": random.choice(COLOURS) if painted else entry.colour,
        "material": None,
        "rotation": rotation,
        "flip": flip,
        "aloft": random.random() < 0.5,
    }


def label(config: DetectorConfig, world: World, specs: Sequence[Spec]) -> Iterator[tuple[list[int], Labelled]]:
    """Render specs with their truth, a few of one aspect at a time; yields their indices too."""
    by_aspect: dict[str, list[int]] = {}
    for index, spec in enumerate(specs):
        by_aspect.setdefault(spec["aspect"], []).append(index)
    for aspect, indices in by_aspect.items():
        for start in range(0, len(indices), RENDER_AT_ONCE):
            part = indices[start : start + RENDER_AT_ONCE]
            rendered = world.render([specs[index] for index in part], picture_size(aspect), truth=True)
            yield part, Labelled(rendered.pixels, truth_of(config, [specs[index] for index in part], rendered.boxes))


def truth_of(config: DetectorConfig, specs: Sequence[Spec], boxes: Tensor) -> Truth:
    """The visible objects (`boxes` b n 4 as rendered) and the texts of each picture; hidden objects are left out."""
    most, written = (max(1, *(len(spec[key]) for spec in specs)) for key in ("objects", "texts"))
    unknown = torch.full((3, len(specs), most), -1)
    truth = Truth(torch.zeros(len(specs), most, 4), *unknown, torch.zeros(len(specs), written, 4))
    index_of = {name: index for index, name in enumerate(config.classes)}
    for b, spec in enumerate(specs):
        for n, text in enumerate(spec["texts"]):
            truth.texts[b, n] = torch.tensor(text["box"])
        for n, thing in enumerate(spec["objects"]):
            box = boxes[b, n]
            if (box[2:] <= box[:2]).any():
                continue
            truth.boxes[b, n], truth.names[b, n] = box, index_of[thing["name"]]
            if thing.get("colour"):
                truth.colours[b, n] = config.colours.index(thing["colour"])
            if thing.get("material"):
                truth.materials[b, n] = config.materials.index(thing["material"])
    return truth


@lru_cache(maxsize=4)
def load_shard(folder: Path, kind: str, index: int) -> dict[tuple[int, int], Labelled]:
    """The pictures of shard `index` by their (height, width), rendered first if they are not in `folder`."""
    path = folder / f"judge-{kind}-{index:04d}.pt"
    if not path.exists():
        first = FIRST_SEED + index * SHARD
        specs = [draw_spec(kind, seed) for seed in range(first, first + SHARD)]
        parts: dict[tuple[int, int], list[Labelled]] = {}
        for _, part in label(judge_config(), world_of(kind), specs):
            parts.setdefault(tuple(part.pixels.shape[1:3]), []).append(part)
        shard = {size: join(labelled) for size, labelled in parts.items()}
        with atomic_path(path) as temporary:
            torch.save({size: (part.pixels, tuple(part.truth)) for size, part in shard.items()}, temporary)
    stored = torch.load(path, weights_only=True)
    return {size: Labelled(pixels, Truth(*truth)) for size, (pixels, truth) in stored.items()}


def join(parts: Sequence[Labelled]) -> Labelled:
    """Pictures of one shape in one batch; truths are padded to the most objects of any."""

    def stacked(fields: Sequence[Tensor], empty: float) -> Tensor:
        most = max(field.shape[1] for field in fields)
        fillers = [torch.full((len(f), most - f.shape[1], *f.shape[2:]), empty, dtype=f.dtype) for f in fields]
        return torch.cat([torch.cat(pair, dim=1) for pair in zip(fields, fillers, strict=True)])

    truth = Truth(*map(stacked, zip(*(part.truth for part in parts), strict=True), (0, -1, -1, -1, 0)))
    return Labelled(torch.cat([part.pixels for part in parts]), truth)
