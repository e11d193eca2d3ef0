"""What the upscaler learns from: scenes at the 128 px family, clean and through the tokenizer, and at twice that size.

Shard k of a kind is a function of (kind, k) and the tokenizer: scenes of the training split, whose seeds lie in a range of their
own, below every evaluation's. It is made when first asked for and kept beside the runs.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import UInt8
from torch import Tensor

from ..base.files import atomic_path
from ..models.upscaler import SCALE
from ..models.visual_tokenizer import VisualTokenizer
from ..worlds.scene import Scene, World, picture_size
from .scenes import world_of

FIRST_SEED = 700_000_000
RENDER_AT_ONCE = 16
SIDE = 128  # px: the family that is enlarged


class Pairs(NamedTuple):
    """Scenes of one shape: clean and through the tokenizer at the small size, and as they are at the large one."""

    clean: UInt8[Tensor, "n h w 3"]
    coded: UInt8[Tensor, "n h w 3"]
    large: UInt8[Tensor, "n y x 3"]


class Tokenizer(NamedTuple):
    """A tokenizer with the hash of its weights and the dtype it runs in."""

    model: VisualTokenizer
    name: str
    dtype: torch.dtype

    def there_and_back(self, pixels: UInt8[Tensor, "n h w 3"]) -> UInt8[Tensor, "n h w 3"]:
        """What is left of pictures after encoding and decoding: what a generator's pictures look like at best."""
        return self.model.decode(self.model.encode(pixels, self.dtype), self.dtype)


def render_pairs(world: World, scenes: list[Scene], tokenizer: Tokenizer) -> list[Pairs]:
    """Scenes at both sizes, a few of one shape at a time."""
    by_aspect: dict[str, list[dict]] = {}
    for scene in scenes:
        by_aspect.setdefault(scene.spec["aspect"], []).append(scene.spec)
    parts = []
    for aspect, specs in by_aspect.items():
        for start in range(0, len(specs), RENDER_AT_ONCE):
            some = specs[start : start + RENDER_AT_ONCE]
            clean, large = (world.render(some, picture_size(aspect, side)).pixels for side in (SIDE, SCALE * SIDE))
            parts.append(Pairs(clean, tokenizer.there_and_back(clean), large))
    return parts


def load_pairs(folder: Path, kind: str, index: int, count: int, tokenizer: Tokenizer) -> list[Pairs]:
    """The `count` scenes of shard `index`, rendered first if they are not in `folder`."""
    path = folder / f"upscaler-{kind}-{index:04d}.{tokenizer.name}.pt"
    if not path.exists():
        world, first = world_of(kind), FIRST_SEED + index * count
        made = render_pairs(world, [world.sample(seed) for seed in range(first, first + count)], tokenizer)
        with atomic_path(path) as temporary:
            torch.save([tuple(part) for part in made], temporary)
    return [Pairs(*part) for part in torch.load(path, weights_only=True)]


@lru_cache(maxsize=4)
def cached_pairs(folder: Path, kind: str, index: int, count: int, tokenizer: Tokenizer) -> list[Pairs]:
    """The last few shards stay in memory."""
    return load_pairs(folder, kind, index, count, tokenizer)
