"""What lies behind everything on a poster: skies and grounds, walls and floors, plain and patterned paper.

A natural setting is a sky gradient and up to three ridges (far to near), each filled with a gradient below its line; a flat
setting is a gradient with a pattern and a margin. Lengths are in design pixels, those of the 128 px family; `scale` turns
them into canvas pixels.
"""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from .palettes import FLATS, PATTERNS, Setting, rgb, ridges_of, sky_of

PERIOD = 16.0  # px of stripes, checks and dots: patterns repeat on the grid of cells


def ridge_lines(setting: Setting, width: int, design: tuple[float, float]) -> list[np.ndarray]:
    """The height of each ridge's line at every pixel column, in design pixels from the top."""
    wide, high = design
    horizon = setting["horizon"] * high
    x = (np.arange(width) + 0.5) / width * wide
    random = Random(setting["variant"])
    kind = setting["kind"]
    if kind in ("meadow", "sea"):
        return [np.full(width, horizon) + (wave(random, x, 1.2) if kind == "meadow" else 0)]
    if kind == "beach":
        return [np.full(width, horizon - (high - horizon) * 0.45), horizon + wave(random, x, 1.5)]
    if kind == "street":
        return [np.full(width, horizon), np.full(width, horizon + (high - horizon) * 0.62)]
    if kind == "room":
        return [np.full(width, horizon - 4), np.full(width, horizon)]
    rise = high * (0.10 if kind == "hills" else 0.06)
    return [
        horizon - rise * lift + wave(random, x, rise * swing) for lift, swing in ((1.3, 1.0), (0.6, 0.6), (0, 0.15))
    ]


def wave(random: Random, x: np.ndarray, swing: float) -> np.ndarray:
    """A gentle line: three sines, `swing` high at the most."""
    line = sum(
        share * np.sin(x * random.uniform(0.6, 1.4) * pace + random.uniform(0, 6.28))
        for share, pace in ((0.6, 0.03), (0.28, 0.06), (0.12, 0.12))
    )
    return swing * line


def draw_backdrops(
    settings: list[Setting], size: tuple[int, int], design: tuple[float, float], device: torch.device | str
) -> tuple[Float[Tensor, "3 b h w"], Float[Tensor, "b h w"]]:
    """The canvases below all layers, colours 0..1, and their depth (0 near .. 1 far)."""
    canvas = torch.empty(3, len(settings), *size, device=device)
    depth = torch.ones(len(settings), *size, device=device)
    natural = [i for i, setting in enumerate(settings) if setting["kind"] != "flat"]
    if natural:
        canvas[:, natural], depth[natural] = draw_natural([settings[i] for i in natural], size, design, device)
    for pattern in PATTERNS:
        chosen = [i for i, setting in enumerate(settings) if setting.get("pattern") == pattern]
        if chosen:
            canvas[:, chosen] = draw_flat([settings[i] for i in chosen], pattern, size, design, device)
    return canvas, depth


def column(values: list[Any], device: torch.device | str) -> Float[Tensor, "... b 1 1"]:
    """One number or colour a scene, ready to broadcast over [b, h, w] or [3, b, h, w]."""
    return torch.tensor(np.transpose(values), dtype=torch.float32, device=device)[..., None, None]


def draw_natural(
    settings: list[Setting], size: tuple[int, int], design: tuple[float, float], device: torch.device | str
) -> tuple[Float[Tensor, "3 b h w"], Float[Tensor, "b h w"]]:
    """Sky, then ridges far to near."""
    (height, width), scale = size, size[0] / design[1]
    y = ((torch.arange(height, device=device) + 0.5) / scale).view(1, -1, 1)
    skies = [sky_of(setting) for setting in settings]
    top, bottom = (column([sky[i] for sky in skies], device) for i in (0, 1))
    down = (y / column([setting["horizon"] * design[1] for setting in settings], device)).clamp(0, 1)
    canvas = (top + (bottom - top) * down).repeat(1, 1, 1, width)
    depth = torch.ones(len(settings), height, width, device=device)
    lines = [ridge_lines(setting, width, design) for setting in settings]
    colours = [ridges_of(setting) for setting in settings]
    for number in range(max(map(len, lines))):
        rows = [i for i, line in enumerate(lines) if len(line) > number]
        heights = np.stack([lines[i][number] for i in rows])
        first = max(0, int(heights.min() * scale) - 1)  # nothing changes above this row
        line = torch.tensor(heights, dtype=torch.float32, device=device)[:, None]
        below = y[:, first:] - line
        share, cover = (below / (design[1] - line)).clamp(0, 1), (below * scale + 0.5).clamp(0, 1)
        high, low = (column([colours[i][number][j] for i in rows], device) for j in (0, 1))
        canvas[:, rows, first:] = canvas[:, rows, first:] * (1 - cover) + (high + (low - high) * share) * cover
        depth[rows, first:] = torch.where(cover >= 0.5, 0.95 - 0.85 * share, depth[rows, first:])
    return canvas, depth


def draw_flat(
    settings: list[Setting],
    pattern: str,
    size: tuple[int, int],
    design: tuple[float, float],
    device: torch.device | str,
) -> Float[Tensor, "3 b h w"]:
    """Ground, pattern, margin."""
    (height, width), scale = size, size[0] / design[1]
    y = ((torch.arange(height, device=device) + 0.5) / scale).view(1, -1, 1)
    x = ((torch.arange(width, device=device) + 0.5) / scale).view(1, 1, -1)
    palettes = [FLATS[setting["palette"]] for setting in settings]
    first, second, margin = (column([rgb(palette[i]) for palette in palettes], device) for i in (1, 2, 3))
    period = column([PERIOD] * len(settings), device)
    cover = pattern_cover(pattern, x, y, period, scale, design)
    canvas = first * (1 - cover) + second * cover
    side = column([setting["margin"] for setting in settings], device)
    inset = torch.minimum(torch.minimum(x, design[0] - x), torch.minimum(y, design[1] - y)) - side
    framed = (0.5 - inset * scale).clamp(0, 1) * (side > 0)
    return canvas * (1 - framed) + margin * framed


def pattern_cover(
    pattern: str,
    x: Float[Tensor, "1 1 w"],
    y: Float[Tensor, "1 h 1"],
    period: Float[Tensor, "b 1 1"],
    scale: float,
    design: tuple[float, float],
) -> Float[Tensor, "..."]:
    """How far the second colour covers the ground, antialiased."""
    if pattern == "gradient":
        return y / design[1]
    if pattern == "halves":
        return ((y - design[1] * 0.62) * scale + 0.5).clamp(0, 1)
    if pattern == "disc":
        reach = ((x - design[0] / 2).square() + (y - design[1] / 2).square()).sqrt() - 0.4 * min(design)
        return (0.5 - reach * scale).clamp(0, 1)
    if pattern == "solid":
        return torch.zeros_like(y)
    if pattern == "stripes":
        phase = (x + y) / period
        return (((phase - phase.floor() - 0.5).abs() - 0.25) * period * 0.70710678 * scale + 0.5).clamp(0, 1)
    row = (y / period).floor()
    if pattern == "checks":
        column = (x / period).floor()
        return ((row + column) * 0.5 - ((row + column) * 0.5).floor() > 0.25).float()
    shifted = x / period + row * 0.5
    fx, fy = (shifted - shifted.floor() - 0.5) * period, (y / period - row - 0.5) * period
    return (0.5 - ((fx.square() + fy.square()).sqrt() - period * 0.2) * scale).clamp(0, 1)
