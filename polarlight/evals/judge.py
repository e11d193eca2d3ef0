"""The judge: a shipped detector that says what a picture shows, so that composition can be scored without anyone looking.

It is trained on true scenes only (`recipes/judge_mini.py`) and appears in no loss of any generator: a score that has been
trained against is no score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from ..base.files import PACKAGE
from ..infer.images import fast_dtype
from ..models.detector import Detector, DetectorConfig, Found, decode, normalise
from ..models.weights import revive
from ..worlds.scene import ASPECTS, picture_size

WEIGHTS = PACKAGE / "weights" / "judge.safetensors"
TEXT = "text"  # the name of every written text, and of no object
THRESHOLD = 0.3  # least score of a detection; true renders pass about as often from 0.2 to 0.3, and less above


@dataclass(frozen=True, kw_only=True)
class Detection:
    """One thing seen: what, how surely (0..1), where (x0 y0 x1 y1, fractions, y down).

    `colour` and `material` are the likeliest ones, of things that have no clear one too.
    """

    name: str
    score: float
    box: tuple[float, float, float, float]
    colour: str | None = None
    material: str | None = None

    @property
    def centre(self) -> tuple[float, float]:
        x0, y0, x1, y1 = self.box
        return (x0 + x1) / 2, (y0 + y1) / 2

    @property
    def size(self) -> tuple[float, float]:
        x0, y0, x1, y1 = self.box
        return x1 - x0, y1 - y0


class Judge:
    """Looks at pictures in batches."""

    def __init__(self, detector: Detector, threshold: float = THRESHOLD) -> None:
        self.detector = detector.eval()
        self.threshold = threshold
        self.dtype = fast_dtype()

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> Judge:
        """The shipped judge, or another.

        Raises:
            UserError: its files are missing or damaged.
        """
        return cls(revive(path, "a judge", lambda config: Detector(DetectorConfig(**config))))

    @torch.inference_mode()
    def detect(self, pixels: UInt8[Tensor, "b h w 3"]) -> list[list[Detection]]:
        """The objects of each picture, then its texts, both surest first.

        Pictures of other sizes than the 128 px family are resized to it.
        """
        prediction = self.detector(to_family(pixels).to(self.dtype))
        return [self._name(found) for found in decode(prediction, threshold=self.threshold)]

    def detect_all(self, pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], batch: int = 32) -> list[list[Detection]]:
        """`detect` for pictures of mixed shapes, in their order."""
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for index, picture in enumerate(pictures):
            by_shape.setdefault(picture.shape, []).append(index)
        seen: dict[int, list[Detection]] = {}
        for indices in by_shape.values():
            for start in range(0, len(indices), batch):
                part = indices[start : start + batch]
                pixels = torch.from_numpy(np.stack([pictures[index] for index in part]))
                seen.update(zip(part, self.detect(pixels), strict=True))
        return [seen[index] for index in range(len(pictures))]

    def _name(self, found: Found) -> list[Detection]:
        config = self.detector.config
        rows = zip(*(part.tolist() for part in found[:5]), strict=True)
        written = zip(found.text_scores.tolist(), found.texts.tolist(), strict=True)
        return [
            Detection(
                name=config.classes[name],
                score=score,
                box=tuple(box),
                colour=config.colours[colour],
                material=config.materials[material],
            )
            for score, name, box, colour, material in rows
        ] + [Detection(name=TEXT, score=score, box=tuple(box)) for score, box in written]


def to_family(pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b 3 y x"]:
    """Pictures in -1..1 at the 128 px size of the aspect they are nearest to."""
    height, width = pixels.shape[1:3]
    aspect = min(ASPECTS, key=lambda name: abs(np.log(width / height * ASPECTS[name][1] / ASPECTS[name][0])))
    values, wanted = normalise(pixels), picture_size(aspect)
    if (height, width) != wanted:
        values = F.interpolate(values, size=wanted, mode="bilinear", antialias=True)
    return values.contiguous(memory_format=torch.channels_last)
