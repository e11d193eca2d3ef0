"""The solids of the tabletop world, each 1 high, standing on y = 0 round the y axis, its front towards -z.

Bottles, mugs, vases, cones and lamps are solids of revolution drawn as a handful of (radius, height) points; their
distance is tabled once and read back by one bilinear look-up. `girth` is the shape's free proportion: the radius of a
bottle or mug, the ratio of width to height of a sign.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from ..ops import sdf

VARIANTS = {"bottle": 3, "mug": 2, "sphere": 1, "cube": 1, "cone": 1, "vase": 3, "book": 1, "lamp": 2, "sign": 2}
MARGIN = 0.06  # of the distance table round the solid
HANDLE = (0.24, 0.055)  # radii of a mug's handle
BOOK = (0.36, 0.5, 0.09)  # half sides
SIGN_FOOT = 0.1  # height of the board's lower edge
SIGN_DEPTH = 0.035


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One solid. `label` is where text can go: (middle height, half height, half width along the surface)."""

    distance: Callable[[Tensor], Tensor]
    low: tuple[float, float, float]
    high: tuple[float, float, float]
    hull: Float[Tensor, "3 n"]  # points of the surface whose projection gives the bounding box
    radius: float  # of the circle it needs on the table
    label: tuple[float, float, float] | None = None
    curve: float = 0.0  # radius of the label's cylinder, 0 where it is flat


def revolved_outline(name: str, variant: int, girth: float) -> list[tuple[float, float]]:
    """(radius, height) points from the foot on the axis to the top on the axis; a point given twice stays a corner."""
    r = girth
    if name == "bottle":
        shoulder, neck = ((0.66, 0.3), (0.7, 0.34), (0.72, 0.42))[variant]
        bend = ((r, shoulder + 0.1), (r * 0.5, shoulder + 0.16)) if variant < 2 else ((r, shoulder + 0.09),)
        thin = r * neck
        cap = [(thin, 0.88), (thin, 0.88), (thin + 0.03, 0.89), (thin + 0.03, 0.99), (thin + 0.01, 1.0), (0.0, 1.0)]
        return [(0.0, 0.0), (r - 0.03, 0.0), (r, 0.02), (r, 0.06), (r, 0.1), (r, shoulder), *bend, (thin, 0.84), *cap]
    if name == "mug":
        foot = r * (0.97, 0.8)[variant]
        wall = [(r, 0.2), (r, 0.5), (r, 0.95), (r - 0.02, 1.0), (r - 0.05, 0.98), (r - 0.06, 0.9)]
        return [
            (0.0, 0.0),
            (foot - 0.03, 0.0),
            (foot, 0.03),
            *wall,
            (r - 0.07, 0.3),
            (r - 0.1, 0.13),
            (r - 0.14, 0.12),
            (0.0, 0.12),
        ]
    if name == "vase":
        curves = (
            [(0.17, 0.0), (0.17, 0.0), (0.24, 0.1), (0.36, 0.32), (0.3, 0.56), (0.12, 0.72), (0.1, 0.86), (0.17, 0.99)],
            [
                (0.15, 0.0),
                (0.15, 0.0),
                (0.15, 0.15),
                (0.23, 0.5),
                (0.34, 0.75),
                (0.28, 0.88),
                (0.18, 0.94),
                (0.2, 0.99),
            ],
            [(0.2, 0.0), (0.2, 0.0), (0.4, 0.12), (0.4, 0.3), (0.2, 0.45), (0.09, 0.58), (0.09, 0.85), (0.13, 0.99)],
        )[variant]
        x = curves[-1][0]
        return [
            (0.0, 0.0),
            *curves,
            (x - 0.015, 1.0),
            (x - 0.04, 0.98),
            (x - 0.05, 0.9),
            (0.05, 0.8),
            (0.02, 0.75),
            (0.0, 0.74),
        ]
    if name == "cone":
        return [
            (0.0, 0.0),
            (0.42, 0.0),
            (0.45, 0.0),
            (0.45, 0.02),
            (0.44, 0.05),
            (0.02, 0.985),
            (0.01, 0.995),
            (0.0, 1.0),
        ]
    assert name == "lamp", name
    top, bottom = ((0.19, 0.34), (0.3, 0.33))[variant]
    stem = ([(0.03, 0.08), (0.025, 0.2), (0.025, 0.5)], [(0.07, 0.1), (0.15, 0.24), (0.04, 0.42), (0.03, 0.5)])[variant]
    base = [(0.0, 0.0), (0.19, 0.0), (0.2, 0.01), (0.2, 0.03), (0.18, 0.05), (0.05, 0.06)]
    shade = [(0.03, 0.55), (0.03, 0.55), (bottom, 0.55), (bottom, 0.55), (top, 1.0), (top, 1.0), (0.0, 1.0)]
    return [*base, *stem, *shade]


def rounded(points: list[tuple[float, float]], rounds: int = 2) -> Float[Tensor, "m 2"]:
    """Chaikin's corner cutting, the two ends kept."""
    line = torch.tensor(points, dtype=torch.float32)
    for _ in range(rounds):
        cut = torch.stack([line[:-1] * 0.75 + line[1:] * 0.25, line[:-1] * 0.25 + line[1:] * 0.75], 1).flatten(0, 1)
        line = torch.cat([line[:1], cut, line[-1:]])
    return line


@lru_cache(maxsize=512)
def shape(name: str, variant: int, girth: float, device: str = "cpu") -> Shape:
    """The solid called `name`; cached, because a table of distances takes about a millisecond to fill."""
    if name == "sphere":
        ring = torch.tensor(_fibonacci(240)).T * 0.5 + torch.tensor([[0.0], [0.5], [0.0]])
        up = torch.tensor([[0.0], [0.5], [0.0]], device=device)
        return Shape(
            distance=lambda p: sdf.sphere(p - up, 0.5),
            low=(-0.5, 0.0, -0.5),
            high=(0.5, 1.0, 0.5),
            hull=ring,
            radius=0.5,
        )
    if name == "cube":
        return _boxes([((0.0, 0.5, 0.0), (0.5, 0.5, 0.5), 0.045)], device)
    if name == "book":
        return _boxes([((0.0, 0.5, 0.0), BOOK, 0.02)], device)
    if name == "sign":
        middle = (1 + SIGN_FOOT) / 2
        board = ((0.0, middle, 0.0), (girth / 2, 1 - middle, SIGN_DEPTH), 0.02)
        feet = [((side * girth * 0.32, 0.09, 0.0), (0.035, 0.09, 0.16 if variant else 0.1), 0.02) for side in (-1, 1)]
        return _boxes([board, *feet], device, label=(middle, 1 - middle - 0.03, girth / 2 - 0.03))
    return _revolved(name, variant, girth, device)


def _revolved(name: str, variant: int, girth: float, device: str) -> Shape:
    outline = rounded(revolved_outline(name, variant, girth))
    reach = float(outline[:, 0].max())
    lifted = outline + torch.tensor([0.0, MARGIN])
    size = (reach + MARGIN, 1 + 2 * MARGIN)
    grid = sdf.profile_grid(lifted, *size, cells=96).to(device)
    up = torch.tensor([[0.0], [MARGIN], [0.0]], device=device)

    def body(p: Tensor) -> Tensor:
        return sdf.revolve(p + up, grid, *size)

    angle = torch.linspace(0, 2 * math.pi, 33)[:-1]
    rim = torch.stack([torch.outer(outline[:, 0], angle.cos()), torch.outer(outline[:, 0], angle.sin())]).flatten(1)
    hull = torch.stack([rim[0], outline[:, 1].repeat_interleave(32), rim[1]])
    low, high = (-reach, 0.0, -reach), (reach, 1.0, reach)
    if name == "mug":
        major, minor = HANDLE
        middle = torch.tensor([[reach], [0.52], [0.0]], device=device)

        def with_handle(p: Tensor) -> Tensor:
            handle = torch.maximum(
                sdf.torus(p - middle, major, minor), reach - 0.04 - (p[0] * p[0] + p[2] * p[2]).sqrt()
            )
            return sdf.smooth_union(body(p), handle, 0.03)

        loop = torch.linspace(-math.pi / 2, math.pi / 2, 17)
        ends = [
            torch.stack([reach + loop.cos() * (major + minor), 0.52 + loop.sin() * (major + minor), 0 * loop]),
            torch.stack([reach + loop.cos() * major, 0.52 + loop.sin() * major, 0 * loop + minor]),
            torch.stack([reach + loop.cos() * major, 0.52 + loop.sin() * major, 0 * loop - minor]),
        ]
        return Shape(
            distance=with_handle,
            low=low,
            high=(reach + major + minor, 1.0, reach),
            hull=torch.cat([hull, *ends], 1),
            radius=reach + 0.15,
            label=(0.52, 0.3, girth * 0.9),
            curve=girth,
        )
    shoulder = (0.66, 0.7, 0.72)[variant] if name == "bottle" else 0.0
    label = (shoulder / 2 + 0.04, shoulder / 2 - 0.06, girth * 0.95) if name == "bottle" else None
    return Shape(distance=body, low=low, high=high, hull=hull, radius=reach, label=label, curve=girth)


def _boxes(
    parts: list[tuple[tuple[float, float, float], tuple[float, float, float], float]],
    device: str,
    label: tuple[float, float, float] | None = None,
) -> Shape:
    """A union of rounded boxes (middle, half sides, rounding)."""
    middles = [torch.tensor(middle, device=device)[:, None] for middle, _, _ in parts]

    def distance(p: Tensor) -> Tensor:
        nearest = sdf.box(p - middles[0], parts[0][1], parts[0][2])
        for middle, (_, half, rounding) in zip(middles[1:], parts[1:], strict=True):
            nearest = torch.minimum(nearest, sdf.box(p - middle, half, rounding))
        return nearest

    signs = torch.tensor([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=torch.float32)
    # a rounded corner reaches to (1 - 1 / sqrt 3) of its rounding inside the sharp one
    corners = [torch.tensor(m) + signs * (torch.tensor(half) - rounding * 0.42) for m, half, rounding in parts]
    hull = torch.cat(corners).T
    low = tuple(min(m[i] - h[i] for m, h, _ in parts) for i in range(3))
    high = tuple(max(m[i] + h[i] for m, h, _ in parts) for i in range(3))
    radius = max(math.hypot(max(-low[0], high[0]), max(-low[2], high[2])), 0.1)
    return Shape(distance=distance, low=low, high=high, hull=hull.contiguous(), radius=radius, label=label)  # type: ignore[arg-type]


def _fibonacci(count: int) -> list[tuple[float, float, float]]:
    """Points spread evenly over the unit sphere."""
    points = []
    for index in range(count):
        y = 1 - 2 * (index + 0.5) / count
        turn, ring = index * math.pi * (3 - math.sqrt(5)), math.sqrt(1 - y * y)
        points.append((ring * math.cos(turn), y, ring * math.sin(turn)))
    return points
