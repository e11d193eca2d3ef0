"""What every scene world yields, and the protocol it follows.

A **spec** is plain JSON and says everything about a scene; rendering is a pure function of (spec, size). Both worlds share the
keys below and add keys of their own (all JSON, all needed to render):

    {"world": "posters" | "tabletop",
     "aspect": "1:1",                       # one of ASPECTS
     "setting": {...},                      # the world's own: sky, ground, weather, table, light, palette ...
     "objects": [{"name": "cat",            # canonical noun
                  "box": [x0, y0, x1, y1],  # fractions of width and height, 0..1, y down
                  "colour": "red" | null,   # only where the caption may claim it
                  "material": "glass" | null,
                  ...}],                    # the world's own: rotation, flip, depth order ...
     "texts": [{"text": "OPEN",
                "box": [x0, y0, x1, y1],
                "kind": "sign" | "label" | "title" | "bubble" | "price tag",
                "script": "latin" | "hangul",
                "colour": "white",
                "on": 0 | null,             # index of the object that carries it
                ...}],
     "relations": [[0, "left of", 1]]}      # object indices; see RELATIONS
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

Spec = dict[str, Any]

# aspect -> cells (wide, high) of 16 px in the 128 px family; every shape has 54 to 66 cells, so they batch alike
ASPECTS: dict[str, tuple[int, int]] = {"1:1": (8, 8), "3:2": (9, 6), "2:3": (6, 9), "16:9": (11, 6), "9:16": (6, 11)}
RELATIONS = ("left of", "right of", "above", "below", "on", "in front of", "behind")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One sampled scene. `spec` is the truth; `seed` names the streams captions are drawn from."""

    seed: int
    spec: Spec

    def to_json(self) -> str:
        return json.dumps({"seed": self.seed, "spec": self.spec}, ensure_ascii=False, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> Scene:
        data = json.loads(text)
        return Scene(seed=data["seed"], spec=data["spec"])


@dataclass(frozen=True, kw_only=True)
class Rendered:
    """A batch of pictures of one size with their truth. n = the most objects of any scene in the batch (padded with zeros)."""

    pixels: UInt8[Tensor, "b h w 3"]
    boxes: Float[Tensor, "b n 4"] | None = None  # visible extent, fractions, x0 y0 x1 y1
    masks: Bool[Tensor, "b n h w"] | None = None  # visible pixels of each object
    text_mask: Bool[Tensor, "b h w"] | None = None  # pixels covered by text boxes
    depth: Float[Tensor, "b h w"] | None = None  # 0 near .. 1 far
    edges: Float[Tensor, "b h w"] | None = None  # 0..1
    normals: Float[Tensor, "b h w 3"] | None = None  # tabletop only


@runtime_checkable
class World(Protocol):
    """A scene world."""

    name: str

    def sample(self, seed: int, split: str = "train") -> Scene:
        """Draw a scene. split "train" never yields a held-out combination or word; "heldout" always holds at least one."""
        ...

    def render(
        self, specs: Sequence[Spec], size: tuple[int, int], *, truth: bool = False, device: torch.device | str = "cpu"
    ) -> Rendered:
        """Draw specs at (height, width) px. A picture never depends on the rest of the batch."""
        ...


def picture_size(aspect: str, scale: int = 128) -> tuple[int, int]:
    """(height, width) in pixels of an aspect in the 128 or 256 px family."""
    wide, high = ASPECTS[aspect]
    return high * scale // 8, wide * scale // 8
