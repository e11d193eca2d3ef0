"""What the image generator is asked for: pictures to draw, to change and to vary; and its shapes, modes and orders."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Bool, Int64, UInt8
from PIL import Image
from torch import Tensor

from ..base.errors import UserError
from ..media.pictures import fitted
from ..models.image_grammar import CELL
from ..ops.orders import raster, spread
from ..ops.streams import uniform
from ..text.plan import Box
from .sampling import Sampling

GRIDS = {"1:1": (8, 8), "3:2": (6, 9), "2:3": (9, 6), "16:9": (6, 11), "9:16": (11, 6)}  # rows, columns at size 128
MOST_CANDIDATES = 16
SPREADS = 8  # farthest-point orders that the model learned for each shape


@dataclass(frozen=True, kw_only=True)
class Mode:
    """passes: at most this many groups; order "spread" or "raster"; candidates: pictures drawn for one to choose from; corrections:
    rounds in which letters that are read wrong are drawn anew, each with as many candidates."""

    passes: int
    order: str
    sampling: Sampling
    candidates: int = 1
    corrections: int = 0


MODES = {
    "speed": Mode(passes=16, order="spread", sampling=Sampling(guidance=3.0, guidance_start=3.0, temperature=0.6)),
    "quality": Mode(
        passes=10_000,
        order="raster",
        sampling=Sampling(guidance=3.0, guidance_start=3.0, temperature=0.6),
        candidates=4,
        corrections=2,
    ),
}


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """A picture to draw. size: 128 or 256 (the family, see GRIDS); mode: one of MODES; negative_prompt: what to keep away from;
    plan: what stands where, as `text.plan` reads it, or "auto" to have it written first; None leaves that to the model, and the
    empty one to the drawing itself;
    candidates: 1..MOST_CANDIDATES, of which the one that fits the prompt best is kept; None for the mode's own number."""

    prompt: str
    seed: int = 0
    size: int = 128
    aspect: str = "1:1"
    mode: str = "speed"
    negative_prompt: str | None = None
    plan: str | None = None
    candidates: int | None = None


@dataclass(frozen=True, kw_only=True)
class EditRequest:
    """A picture to change: uint8 [h, w, 3]; mask (bool [h, w]): only where it is True may anything change. Without one the place of
    what the instruction names is looked for, and where it is found the rest stays as well."""

    picture: np.ndarray
    instruction: str
    mask: np.ndarray | None = None
    seed: int = 0
    mode: str = "speed"
    negative_prompt: str | None = None


@dataclass(frozen=True, kw_only=True)
class VariationRequest:
    """A picture to draw another one like: uint8 [h, w, 3]. prompt: what it shows, empty where nobody knows; strength: the share of
    the picture that is drawn anew, above 0 and at most 1; the rest, spread evenly, is taken over."""

    picture: np.ndarray
    prompt: str = ""
    strength: float = 0.7
    seed: int = 0
    mode: str = "speed"
    negative_prompt: str | None = None


Request = ImageRequest | EditRequest | VariationRequest


def mode_named(name: str) -> Mode:
    """A mode.

    Raises:
        UserError: there is none of this name.
    """
    if name not in MODES:
        raise UserError(f"There is no mode {name!r}.", fix=f"Choose one of {', '.join(MODES)}.")
    return MODES[name]


def check_candidates(count: int) -> int:
    """A number of candidates.

    Raises:
        UserError: it is below 1 or above MOST_CANDIDATES.
    """
    if not 1 <= count <= MOST_CANDIDATES:
        raise UserError(f"{count} candidates are not possible.", fix=f"Ask for 1 to {MOST_CANDIDATES}.")
    return count


@cache
def drawing_order(name: str, rows: int, columns: int, number: int = 0) -> Int64[Tensor, " n"]:
    """An order of positions, not to be written to. name: "raster", or "spread", of which there are SPREADS; modes use the first."""
    if name == "raster":
        return raster(rows, columns)
    return spread(rows, columns, uniform((rows * columns,), number, "drawing order"))


def nearest_aspect(height: int, width: int) -> str:
    """The aspect of GRIDS that a picture is nearest to."""
    return min(GRIDS, key=lambda name: abs(np.log(GRIDS[name][1] / GRIDS[name][0] * height / width)))


def fit_picture(picture: UInt8[np.ndarray, "_ _ 3"], aspect: str) -> UInt8[np.ndarray, "_ _ 3"]:
    """A picture at the model's size of an aspect."""
    rows, columns = GRIDS[aspect]
    return fitted(picture, rows * CELL, columns * CELL)


def fit_mask(mask: Bool[np.ndarray, "_ _"], height: int, width: int, aspect: str) -> Bool[np.ndarray, "_ _"]:
    """A picture's mask at the model's size; a line thinner than the model's pixels still counts.

    Raises:
        UserError: it has not the picture's size, `height` x `width`, or marks nothing.
    """
    if mask.shape != (height, width):
        raise UserError(
            f"The mask is {mask.shape[1]} x {mask.shape[0]} px, the picture {width} x {height} px.",
            fix="Make them the same size.",
        )
    rows, columns = GRIDS[aspect]
    shares = Image.fromarray(mask).convert("L").resize((columns * CELL, rows * CELL), Image.Resampling.BOX)
    fitted = np.asarray(shares) > 0
    if not fitted.any():
        raise UserError("The mask is empty, so nothing may change.", fix="Paint white where the picture may change.")
    return fitted


def extent(mask: Bool[np.ndarray, "h w"]) -> Box:
    """The smallest box that holds all of a mask that marks something."""
    (top, bottom), (left, right) = (np.flatnonzero(mask.any(axis))[[0, -1]] for axis in (1, 0))
    high, wide = mask.shape
    return float(left / wide), float(top / high), float((right + 1) / wide), float((bottom + 1) / high)


def touched(mask: Bool[np.ndarray, "_ _"]) -> Bool[Tensor, " n"]:
    """The positions that a mask at the model's size reaches into."""
    height, width = mask.shape
    return torch.from_numpy(mask.reshape(height // CELL, CELL, width // CELL, CELL).any((1, 3))).flatten()
