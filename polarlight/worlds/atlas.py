"""The baked picture and glyph atlases: loading, mip levels, and the measures of pictures and texts.

`atlas/pictures.webp` holds the pictographs as TILE x TILE cells in catalogue order, `atlas/glyphs.webp` the glyphs of all
fonts as coverage, `atlas/index.json` where each glyph stands and how far the pen moves. `bake.py` makes all three;
nothing here needs a font.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ..base.errors import UserError
from ..text.typesetting import MONO
from .catalogue import FOLDER

TILE = 96  # px, one pictograph
TILE_PAD = 4  # px kept clear on each side, so that coarse mip levels of neighbours do not bleed
GLYPH_CAP = 48  # px, cap height of every font in the glyph sheet
GLYPH_PAD = 4  # px kept clear around each glyph
ROTATIONS = (-16, -8, 0, 8, 16)  # degrees, clockwise: the turns whose extents are baked
LEVELS = 3
MONO_SHARE = 0.6
LUMA = (0.299, 0.587, 0.114)


@functools.cache
def index() -> dict[str, Any]:
    """The baked index: "extents" by tile and rotation, "fonts" by name."""
    return json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))


@functools.cache
def fonts(script: str) -> tuple[str, ...]:
    """Names of the fonts that can write the script, "latin" or "hangul"."""
    return tuple(name for name, font in index()["fonts"].items() if script == "latin" or font["hangul"])


def draw_font(random: Random, script: str) -> str:
    """A font for the script; Latin is monospaced in MONO_SHARE of all cases, whose letters stand where one can count on."""
    return MONO if script == "latin" and random.random() < MONO_SHARE else random.choice(fonts(script))


def extent(tile: int, rotation: int, flip: bool) -> tuple[float, float, float, float]:
    """Visible extent x0 y0 x1 y1 about a tile's centre in tile sides, mirrored first, then turned clockwise."""
    if not flip:
        return tuple(index()["extents"][tile][ROTATIONS.index(rotation)])
    x0, y0, x1, y1 = index()["extents"][tile][ROTATIONS.index(-rotation)]
    return -x1, y0, -x0, y1


@dataclass(frozen=True, slots=True)
class Glyph:
    """One cell of the glyph sheet and where the pen leaves it; lengths in cap heights."""

    x: int  # px in the sheet
    y: int
    width: int
    height: int
    left: float  # from the pen to the cell
    top: float  # from the baseline to the cell, up is negative


def text_width(text: str, font: str) -> float:
    """Advance of one line in cap heights."""
    entry = index()["fonts"][font]
    glyphs, space = entry["glyphs"], entry["space"]
    try:
        return sum(space if letter == " " else glyphs[letter][6] for letter in text) / GLYPH_CAP
    except KeyError as error:
        raise unknown_letter(error.args[0], font) from error


def place_glyphs(text: str, font: str) -> list[tuple[Glyph, float]]:
    """The glyphs of one line, each with its pen position in cap heights from the line's start.

    Raises:
        UserError: the font lacks a character.
    """
    entry = index()["fonts"][font]
    pen, placed = 0.0, []
    for letter in text:
        if letter == " ":
            pen += entry["space"]
            continue
        if letter not in entry["glyphs"]:
            raise unknown_letter(letter, font)
        x, y, width, height, left, top, advance = entry["glyphs"][letter]
        placed.append((Glyph(x, y, width, height, left / GLYPH_CAP, top / GLYPH_CAP), pen / GLYPH_CAP))
        pen += advance
    return placed


def unknown_letter(letter: str, font: str) -> UserError:
    """The sentence for a character that was not baked."""
    return UserError(f"The font {font!r} has no {letter!r}.", fix="Use printable ASCII or the baked Hangul syllables.")


@functools.cache
def glyph_levels(device: str) -> list[Float[Tensor, "1 1 _ _"]]:
    """Mip levels of the glyph sheet, coverage 0..1, each half the one before."""
    sheet = np.asarray(Image.open(FOLDER / "glyphs.webp").convert("L"))
    return halved(torch.from_numpy(sheet.copy())[None, None].float().div(255).to(device))


@functools.cache
def picture_levels(device: str) -> list[Float[Tensor, "1 5 _ _"]]:
    """Mip levels of the picture sheet: premultiplied red, green, blue; alpha; alpha times how far paint covers."""
    sheet = np.asarray(Image.open(FOLDER / "pictures.webp").convert("RGBA"))
    rgba = torch.from_numpy(sheet.copy()).permute(2, 0, 1)[None].float().div(255)
    colour, alpha = rgba[:, :3], rgba[:, 3:]
    channels = torch.cat([colour * alpha, alpha, paint_cover(colour, alpha) * alpha], dim=1)
    return halved(channels.to(device))


def paint_cover(colour: Float[Tensor, "1 3 h w"], alpha: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "1 1 h w"]:
    """How far paint covers a pixel, 0..1: where it is saturated, as its tile goes; in pale tiles, the light ones too."""
    chroma = colour.amax(1, keepdim=True) - colour.amin(1, keepdim=True)
    strong = tile_mean(chroma**3 * alpha) / tile_mean(chroma**2 * alpha).clamp(
        min=1e-4
    )  # a mean that favours the vivid
    level = F.interpolate(strong.clamp(0.12, 0.45), scale_factor=TILE)
    saturated = ((chroma - 0.38 * level) / (0.3 * level)).clamp(0, 1)
    light = ((luminance(colour) - 0.35) / 0.25).clamp(0, 1)
    share = tile_mean(saturated * alpha) / tile_mean(alpha).clamp(min=1e-3)
    pale = F.interpolate((share < 0.3).float(), scale_factor=TILE)
    return saturated * (1 - pale) + torch.maximum(saturated, light) * pale


def tile_mean(channel: Float[Tensor, "1 c h w"]) -> Float[Tensor, "1 c rows columns"]:
    """The mean over each tile."""
    return F.avg_pool2d(channel, TILE)


def luminance(colour: Float[Tensor, "1 3 h w"]) -> Float[Tensor, "1 1 h w"]:
    """Rec. 601 luma."""
    return (colour * colour.new_tensor(LUMA).view(3, 1, 1)).sum(1, keepdim=True)


@functools.cache
def paint_luminance() -> np.ndarray:
    """The mean luminance below the paint of each tile, the level that a paint's own colour replaces."""
    channels = picture_levels("cpu")[0]
    alpha, paint = channels[:, 3:4], channels[:, 4:]
    shade = luminance(channels[:, :3]) / alpha.clamp(min=1e-3)
    mean = tile_mean(shade * paint) / tile_mean(paint).clamp(min=1e-4)
    return mean.flatten().clamp(min=0.08).numpy()


def halved(sheet: Float[Tensor, "1 c h w"]) -> list[Float[Tensor, "1 c _ _"]]:
    """The sheet and its halvings by 2 x 2 means."""
    levels = [sheet]
    while len(levels) < LEVELS:
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels
