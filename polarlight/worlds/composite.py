"""Batched compositing: pictographs, soft shapes and glyphs, pasted in order into a batch of canvases.

Every layer is sampled into a small square patch of its own (sizes from a fixed ladder, so that a patch never depends on
its neighbours in the batch), then blended in place, premultiplied, by advanced indexing. Layers of a scene that do not
overlap are blended in the same pass; the result equals one by one in order. Only sums, products, quotients and square
roots are used, so that a picture is the same bit for bit whatever else is in the batch.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from .atlas import GLYPH_CAP, LEVELS, LUMA, TILE, Glyph, glyph_levels, paint_luminance, picture_levels
from .catalogue import catalogue

LADDER = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048)  # px, sides of patches
SHAPES = ("box", "ellipse", "triangle")
SHEETS = ("picture", "painted", "silhouette", "glyph")  # a pictograph as it is, in a paint, or in one flat colour
BACKDROP = -2  # owner of a pixel that no layer covers
NOBODY = -1  # owner of a pixel covered by a layer that is no object

RGB = tuple[float, float, float]


@dataclass(slots=True)
class Layer:
    """One thing to paste. Lengths in pixels of the canvas, angles in degrees clockwise, colours 0..1."""

    kind: str  # one of SHAPES or SHEETS
    x: float  # centre
    y: float
    half_width: float  # of the cell or the shape, before turning
    half_height: float
    rotation: float = 0.0
    flip: bool = False
    colour: RGB = (0.0, 0.0, 0.0)  # of a shape, a glyph, a silhouette; the paint
    light: RGB = (1.0, 1.0, 1.0)  # multiplies a picture's colours
    opacity: float = 1.0
    soft: float = 0.0  # px over which a shape's edge fades; mip levels to skip for a picture
    radius: float = 0.0  # px, of a box's corners
    cell: tuple[int, int, int, int] = (0, 0, 0, 0)  # x, y, width, height in the sheet
    shade: float = 1.0  # luminance below a picture's paint
    owner: int = NOBODY  # index of the object it shows
    depth: float = 0.0  # 0 near .. 1 far

    def reach(self) -> tuple[float, float]:
        """Half width and half height of the axis-aligned box it can touch, in pixels."""
        cos, sin = abs(math.cos(math.radians(self.rotation))), abs(math.sin(math.radians(self.rotation)))
        margin = 1.0 if self.kind in SHEETS else max(1.0, self.soft) * 0.5 + 0.5
        wide = self.half_width * cos + self.half_height * sin + margin
        return wide, self.half_width * sin + self.half_height * cos + margin


def picture_layer(kind: str, tile: int, x: float, y: float, side: float, **rest) -> Layer:
    """A pictograph whose whole tile is `side` pixels wide, about the tile's centre."""
    columns = picture_levels("cpu")[0].shape[-1] // TILE
    cell = (tile % columns * TILE, tile // columns * TILE, TILE, TILE)
    assert tile < len(catalogue()), tile
    shade = float(paint_luminance()[tile])
    return Layer(kind, x, y, side / 2, side / 2, cell=cell, shade=shade, **rest)


def glyph_layer(glyph: Glyph, x: float, baseline: float, cap: float, **rest) -> Layer:
    """A glyph whose pen stands at x on the baseline, with capitals `cap` pixels high."""
    scale = cap / GLYPH_CAP
    half_width, half_height = glyph.width * scale / 2, glyph.height * scale / 2
    cell = (glyph.x, glyph.y, glyph.width, glyph.height)
    centre = (x + glyph.left * cap + half_width, baseline + glyph.top * cap + half_height)
    return Layer("glyph", *centre, half_width, half_height, cell=cell, **rest)


@dataclass(kw_only=True)
class Truth:
    """What covers each pixel."""

    owner: Int[Tensor, "b h w"]  # object index, NOBODY or BACKDROP
    depth: Float[Tensor, "b h w"]


@dataclass(slots=True)
class Patch:
    """Where a layer may touch its scene's canvas, and when: pixels x0 y0 x1 y1 (ends excluded)."""

    layer: Layer
    scene: int
    wave: int
    corners: tuple[int, int, int, int]


def composite(
    canvas: Float[Tensor, "3 b h w"], scenes: list[list[Layer]], truth: Truth | None = None
) -> Float[Tensor, "3 b h w"]:
    """Blend each scene's layers, first to last, over its canvas; the canvas and the truth are changed in place."""
    groups: dict[tuple[str, int, int, int], list[Patch]] = defaultdict(list)
    last = 0
    for number, layers in enumerate(scenes):
        for key, patch in lay_out(layers, number, canvas.shape[2], canvas.shape[3]):
            groups[key].append(patch)
            last = max(last, patch.wave + 1)
    waves: list[list[tuple[Tensor, ...]]] = [[] for _ in range(last)]
    for (kind, level, high, wide), patches in groups.items():
        patches.sort(key=lambda patch: patch.wave)
        for wave, pixels in sample_group(kind, level, (high, wide), patches, canvas, truth is not None):
            waves[wave].append(pixels)
    flat = canvas.view(3, -1)
    for wave in waves:
        where, colour, *covering = (torch.cat(parts, dim=-1) for parts in zip(*wave, strict=True))
        keep = 1 - colour[3]
        for channel, plane in enumerate(flat):
            plane[where] = plane[where] * keep + colour[channel]
        if truth is not None:
            owner, depth = covering
            solid = colour[3] >= 0.5
            truth.owner.view(-1)[where[solid]] = owner[solid]
            truth.depth.view(-1)[where[solid]] = depth[solid]
    return canvas


def lay_out(layers: list[Layer], scene: int, height: int, width: int) -> list[tuple[tuple[str, int, int, int], Patch]]:
    """The patches of one scene with the group each belongs to; a patch's wave comes after all those it overlaps."""
    placed: list[tuple[int, int, int, int, int]] = []  # wave and corners
    found = []
    for layer in layers:
        wide, high = layer.reach()
        x0, y0 = max(0, math.floor(layer.x - wide)), max(0, math.floor(layer.y - high))
        x1, y1 = min(width, math.ceil(layer.x + wide)), min(height, math.ceil(layer.y + high))
        if x0 >= x1 or y0 >= y1:
            continue
        under = [wave for wave, u0, v0, u1, v1 in placed if u0 < x1 and x0 < u1 and v0 < y1 and y0 < v1]
        patch = Patch(layer, scene, 1 + max(under, default=-1), (x0, y0, x1, y1))
        placed.append((patch.wave, x0, y0, x1, y1))
        found.append((group_key(layer, wide, high), patch))
    return found


def group_key(layer: Layer, wide: float, high: float) -> tuple[str, int, int, int]:
    """Kind, mip level, and the patch's height and width from the ladder, by the layer and its reach alone."""
    sides = tuple(next(side for side in LADDER if side >= 2 * reach + 1) for reach in (high, wide))
    if layer.kind in SHAPES:
        return (layer.kind, 0, *sides)
    shrink = layer.cell[2] / (2 * layer.half_width)  # sheet pixels in a canvas pixel
    level = 0 if shrink <= 1 else int(math.log2(shrink) + 0.35)
    level = min(LEVELS - 1, level + int(layer.soft))
    return (layer.kind, level, max(sides), max(sides))


def sample_group(
    kind: str, level: int, size: tuple[int, int], patches: list[Patch], canvas: Float[Tensor, "3 b h w"], truth: bool
) -> list[tuple[int, tuple[Tensor, ...]]]:
    """For each wave: flat pixel indices and premultiplied colours, with owner and depth where truth is wanted."""
    device, (height, width) = canvas.device, canvas.shape[2:]
    numbers = torch.tensor([patch_numbers(patch) for patch in patches], device=device).T.contiguous()[..., None, None]
    column = dict(zip(NUMBERS, numbers, strict=True))
    across = torch.arange(size[1], device=device).view(1, 1, -1)
    down = torch.arange(size[0], device=device).view(1, -1, 1)
    px, py = column["x0"] + across, column["y0"] + down  # [n, 1, wide], [n, high, 1]
    dx, dy = px + 0.5 - column["x"], py + 0.5 - column["y"]
    u = dx * column["cos"] + dy * column["sin"]
    v = dy * column["cos"] - dx * column["sin"]
    colour = sample_shape(kind, u, v, column) if kind in SHAPES else sample_sheet(kind, level, u, v, column)
    kept = (colour[3] > 0) & (px < column["x1"]) & (py < column["y1"])
    chosen = kept.view(-1).nonzero()[:, 0]
    scene = torch.tensor([patch.scene for patch in patches], device=device).view(-1, 1, 1)
    where = (scene * height + py.long()) * width + px.long()
    pixels = [where.view(-1)[chosen], colour.view(4, -1).index_select(1, chosen)]
    if truth:
        pixels.append(column["owner"].expand_as(kept).reshape(-1)[chosen].long())
        pixels.append(column["depth"].expand_as(kept).reshape(-1)[chosen])
    counts: dict[int, int] = defaultdict(int)
    for patch, count in zip(patches, kept.view(len(patches), -1).sum(1).tolist(), strict=True):
        counts[patch.wave] += count
    parts = [part.split(list(counts.values()), dim=-1) for part in pixels]
    return list(zip(counts, zip(*parts, strict=True), strict=True))


NUMBERS = (
    *("x0", "y0", "x1", "y1", "x", "y", "half_width", "half_height", "cos", "sin", "flip", "red", "green", "blue"),
    *("light_red", "light_green", "light_blue", "opacity", "soft", "radius"),
    *("cell_x", "cell_y", "cell_width", "cell_height", "shade", "owner", "depth"),
)


def patch_numbers(patch: Patch) -> list[float]:
    """A patch's values in the order of NUMBERS."""
    layer = patch.layer
    angle = math.radians(layer.rotation)
    values = [*patch.corners, layer.x, layer.y, layer.half_width, layer.half_height, math.cos(angle), math.sin(angle)]
    values += [-1.0 if layer.flip else 1.0, *layer.colour, *layer.light, layer.opacity]
    return [*values, layer.soft, layer.radius, *layer.cell, layer.shade, layer.owner, layer.depth]


def sample_shape(
    kind: str, u: Float[Tensor, "n h w"], v: Float[Tensor, "n h w"], column: dict[str, Float[Tensor, "n 1 1"]]
) -> Float[Tensor, "4 n h w"]:
    """Coverage of a shape from its signed distance, faded over `soft` pixels, times its colour."""
    a, b = column["half_width"], column["half_height"]
    if kind == "box":
        qx, qy = u.abs() - (a - column["radius"]), v.abs() - (b - column["radius"])
        outside = (qx.clamp(min=0).square() + qy.clamp(min=0).square()).sqrt()
        distance = outside + torch.maximum(qx, qy).clamp(max=0) - column["radius"]
    elif kind == "ellipse":
        near = ((u / a).square() + (v / b).square()).sqrt()
        slope = ((u / (a * a)).square() + (v / (b * b)).square()).sqrt().clamp(min=1e-6)
        distance = near * (near - 1) / slope
    else:  # an isosceles triangle, point up
        length = (a * a + 4 * b * b).sqrt()
        distance = torch.maximum((u.abs() * 2 * b - (v + b) * a) / length, v - b)
    fade = (0.5 - distance / column["soft"].clamp(min=1)).clamp(0, 1)
    smooth = fade * fade * (3 - 2 * fade)
    cover = torch.where(column["soft"] > 1, smooth, fade) * column["opacity"]
    return torch.stack([cover * column[name] for name in ("red", "green", "blue")] + [cover])


def sample_sheet(
    kind: str, level: int, u: Float[Tensor, "n h w"], v: Float[Tensor, "n h w"], column: dict[str, Tensor]
) -> Float[Tensor, "4 n h w"]:
    """Premultiplied colours of pictures or glyphs: one grid_sample of the sheet's mip level for the whole group."""
    levels = glyph_levels if kind == "glyph" else picture_levels
    sheet = levels(str(u.device))[level]
    across = u * column["flip"] / (2 * column["half_width"])  # -0.5..0.5 within the cell
    down = v / (2 * column["half_height"])
    within = (across.abs() <= 0.5) & (down.abs() <= 0.5)
    scale = 1 << level
    x = (column["cell_x"] + (across.clamp(-0.5, 0.5) + 0.5) * column["cell_width"]) / scale
    y = (column["cell_y"] + (down.clamp(-0.5, 0.5) + 0.5) * column["cell_height"]) / scale
    grid = torch.stack([x * (2 / sheet.shape[3]) - 1, y * (2 / sheet.shape[2]) - 1], dim=-1)
    n, high, wide = u.shape
    found = F.grid_sample(sheet, grid.view(1, n * high, wide, 2), padding_mode="border", align_corners=False)
    found = found.view(-1, n, high, wide) * (within * column["opacity"])
    if kind in ("glyph", "silhouette"):
        cover = found[-1] if kind == "glyph" else found[3]
        return torch.stack([cover * column[name] for name in ("red", "green", "blue")] + [cover])
    if kind == "painted":
        found = paint(found, column)
    lit = [channel * column[f"light_{name}"] for name, channel in zip(("red", "green", "blue"), found, strict=False)]
    return torch.stack([*lit, found[3]])


def paint(found: Float[Tensor, "5 n h w"], column: dict[str, Float[Tensor, "n 1 1"]]) -> Float[Tensor, "4 n h w"]:
    """Give the painted pixels the target hue at their own shade.

    A pixel as bright as the tile's mean below the paint takes the colour itself, a darker one its shadow, a brighter
    one a tint towards white.
    """
    red, green, blue, alpha, covered = found
    luma = (red * LUMA[0] + green * LUMA[1] + blue * LUMA[2]) / alpha.clamp(min=1e-3)
    ratio = luma / column["shade"]
    dark, bright = ratio.clamp(max=1), 1 - 1 / ratio.clamp(min=1)
    own = 1 - covered / alpha.clamp(min=1e-3)
    channels = []
    for name, channel in (("red", red), ("green", green), ("blue", blue)):
        target = column[name]
        painted = target * dark + (1 - target) * (bright * 0.7)
        channels.append(torch.minimum(channel * own + painted * covered, alpha))
    return torch.stack([*channels, alpha])
