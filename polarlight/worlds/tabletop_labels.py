"""Written labels: where they lie on a bottle, a mug or a sign, and their text as an image.

A label is measured in the carrier's own units: u runs along the surface (round the cylinder of a bottle), v is the
height.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from .atlas import GLYPH_CAP, glyph_levels, place_glyphs, text_width
from .scene import Spec
from .tabletop_shapes import SIGN_DEPTH, Shape
from .tabletop_surfaces import column, paint

LINE = 1.62  # cap heights from one baseline to the next
TEXELS = GLYPH_CAP // 2  # per cap height in the text's image


def block_size(lines: list[str], font: str) -> tuple[float, float]:
    """(width, height) of centred lines in cap heights: the widest advance, first cap to last baseline."""
    return max(text_width(line, font) for line in lines), 1 + LINE * (len(lines) - 1)


@lru_cache(maxsize=256)
def text_image(lines: tuple[str, ...], font: str, device: str) -> Float[Tensor, "1 1 h w"]:
    """Coverage 0..1 of centred lines; the block of `block_size` with one cap height of margin all round."""
    wide, high = block_size(list(lines), font)
    sheet = glyph_levels(device)[0][0, 0]
    canvas = torch.zeros(math.ceil((high + 2) * GLYPH_CAP), math.ceil((wide + 2) * GLYPH_CAP), device=device)
    for row, line in enumerate(lines):
        start, baseline = 1 + (wide - text_width(line, font)) / 2, 2 + LINE * row
        for glyph, pen in place_glyphs(line, font):
            x = max(0, round((start + pen + glyph.left) * GLYPH_CAP))
            y = max(0, round((baseline + glyph.top) * GLYPH_CAP))
            cell = sheet[glyph.y : glyph.y + glyph.height, glyph.x : glyph.x + glyph.width]
            part = canvas[y : y + glyph.height, x : x + glyph.width]
            part.copy_(torch.maximum(part, cell[: part.shape[0], : part.shape[1]]))
    return F.avg_pool2d(canvas[None, None], GLYPH_CAP // TEXELS)


def label_place(
    shape: Shape, p: Float[Tensor, "3 n"]
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"], Bool[Tensor, " n"]]:
    """(u, v, whether the point lies on the face that can carry text) of points of the surface."""
    if shape.curve:
        return shape.curve * torch.atan2(p[0], -p[2]), p[1], torch.hypot(p[0], p[2]) > shape.curve * 0.93
    return p[0], p[1], p[2] < 0.006 - SIGN_DEPTH


def label_points(shape: Shape, u: Float[Tensor, " n"], v: Float[Tensor, " n"]) -> Float[Tensor, "3 n"]:
    """The inverse of `label_place`: points of the surface."""
    if shape.curve:
        angle = u / shape.curve
        return torch.stack([shape.curve * angle.sin(), v, -shape.curve * angle.cos()])
    return torch.stack([u, v, torch.full_like(u, -SIGN_DEPTH)])


def apply_label(
    text: Spec, shape: Shape, p: Float[Tensor, "3 n"], albedo: Float[Tensor, "3 n"]
) -> tuple[Float[Tensor, "3 n"], Float[Tensor, " n"]]:
    """Paint a label over `albedo`: (new colours, how much of the surface below is covered, 0..1)."""
    u, v, front = label_place(shape, p)
    u, v = u, v - text["middle"]
    wide, high = text["half"]
    inside = (torch.minimum(wide - u.abs(), high - v.abs()) > 0) & front
    covered = torch.zeros_like(u)
    if text["background"] is not None:
        rim = torch.minimum(wide - u.abs(), high - v.abs())
        line = text["frame"] & ((rim - 0.03).abs() < 0.009)
        ground = column(paint(text["background"]), p)
        ink = ground * 0.45 + 0.55 * column(paint(text["colour"]), p)
        albedo = torch.where(inside, torch.where(line, ink, ground), albedo)
        covered = inside.to(p.dtype)
    image = text_image(tuple(text["lines"]), text["font"], str(p.device))
    rows, columns = image.shape[2:]
    scale = 2 * TEXELS / text["cap"]
    where = torch.stack([u * (scale / columns), v * (-scale / rows)], -1)
    ink_share = F.grid_sample(image, where[None, None], align_corners=False).view(-1) * inside
    ink = column(paint(text["colour"]), p)
    return albedo + (ink - albedo) * ink_share, torch.maximum(covered, ink_share)


def label_extent(text: Spec, shape: Shape) -> Float[Tensor, "3 n"]:
    """Points of the surface round the block of text, in the carrier's frame; their projection gives the text's box."""
    wide, high = (side * text["cap"] / 2 for side in block_size(text["lines"], text["font"]))
    u = torch.linspace(-wide, wide, 17)
    top, bottom = torch.full_like(u, text["middle"] + high), torch.full_like(u, text["middle"] - high)
    return label_points(shape, torch.cat([u, u]), torch.cat([top, bottom]))
