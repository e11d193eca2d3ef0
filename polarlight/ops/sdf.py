"""Signed distance fields: distances of a few solids, normals, sphere tracing and soft shadows.

Points and directions are [3, n]: one contiguous row per axis keeps every operation a straight run through memory, which
on a CPU is several times faster than [n, 3]. A distance is negative inside. Lengths have the unit of the points.
Sources of the ideas: Hart, "Sphere tracing" (1996); Quilez, "Soft shadows in raymarched SDFs" (2010).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

Distance = Callable[[Tensor], Tensor]


def dot(a: Float[Tensor, "3 n"], b: Float[Tensor, "3 n"]) -> Float[Tensor, " n"]:
    """Inner product of every column of `a` with the same column of `b`."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def normalize(v: Float[Tensor, "3 n"]) -> Float[Tensor, "3 n"]:
    """Columns scaled to length 1 (a zero column stays zero)."""
    return v * dot(v, v).clamp_min(1e-20).rsqrt()


def _hypot(a: Float[Tensor, " n"], b: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """torch.hypot guards against overflow, which costs three times as much."""
    return (a * a + b * b).sqrt()


def sphere(p: Float[Tensor, "3 n"], radius: float) -> Float[Tensor, " n"]:
    """Distance to a sphere round the origin."""
    return dot(p, p).sqrt() - radius


def box(p: Float[Tensor, "3 n"], half: tuple[float, float, float], rounding: float = 0.0) -> Float[Tensor, " n"]:
    """Distance to a box round the origin with half sides `half`, its edges rounded to a radius within them."""
    x, y, z = (p[i].abs() - (half[i] - rounding) for i in range(3))
    outside = (x.clamp_min(0).square() + y.clamp_min(0).square() + z.clamp_min(0).square()).sqrt()
    return outside + torch.maximum(x, torch.maximum(y, z)).clamp_max(0) - rounding


def torus(p: Float[Tensor, "3 n"], major: float, minor: float) -> Float[Tensor, " n"]:
    """Distance to a ring round the origin that stands in the x-y plane: radius `major`, thickness radius `minor`."""
    ring = _hypot(p[0], p[1]) - major
    return _hypot(ring, p[2]) - minor


def smooth_union(a: Float[Tensor, " n"], b: Float[Tensor, " n"], blend: float) -> Float[Tensor, " n"]:
    """Union of two distances, its seam rounded over the length `blend` (> 0)."""
    overlap = (blend - (a - b).abs()).clamp_min(0) / blend
    return torch.minimum(a, b) - overlap.square() * (blend / 4)


def polygon(p: Float[Tensor, "2 n"], outline: Float[Tensor, "m 2"], *, closed: bool = True) -> Float[Tensor, " n"]:
    """Exact distance to a polygon in the plane, its corners `outline` in order (either sense).

    Not `closed`, the way from the last corner back to the first is no edge: it must run along x = 0, left of all points.
    """
    start, end = (outline, outline.roll(-1, 0)) if closed else (outline[:-1], outline[1:])
    x, y, (ax, ay), (bx, by) = p[0, :, None], p[1, :, None], start.T, end.T
    ex, ey, wx, wy = bx - ax, by - ay, x - ax, y - ay
    along = ((wx * ex + wy * ey) / (ex * ex + ey * ey).clamp_min(1e-12)).clamp(0, 1)
    nearest = ((wx - ex * along).square() + (wy - ey * along).square()).amin(1).sqrt()
    crosses = ((ay > y) != (by > y)) & (ex * wy * ey.sign() > wx * ey.abs())
    return torch.where(crosses.sum(1) % 2 == 1, -nearest, nearest)


def profile_grid(outline: Float[Tensor, "m 2"], radius: float, height: float, cells: int = 64) -> Float[Tensor, "h w"]:
    """Table the distance to a solid of revolution on the half plane 0..radius, 0..height, for `revolve`.

    `outline` runs (r, y) from the axis at the bottom to the axis at the top; `cells` is the number of cells along the
    height. The axis itself is no edge.
    """
    columns = max(2, round(cells * radius / height) + 1)
    y, r = torch.meshgrid(torch.linspace(0, height, cells + 1), torch.linspace(0, radius, columns), indexing="ij")
    return polygon(torch.stack([r.reshape(-1), y.reshape(-1)]), outline, closed=False).reshape(r.shape)


def revolve(p: Float[Tensor, "3 n"], grid: Float[Tensor, "h w"], radius: float, height: float) -> Float[Tensor, " n"]:
    """Distance to a solid of revolution round the y axis, read from its `profile_grid` over 0..radius, 0..height.

    The solid must lie inside the grid's box. Outside it the answer is a lower bound: the larger of the distance at the
    nearest point of the box and the distances to its sides.
    """
    r, y = _hypot(p[0], p[2]), p[1]
    where = torch.stack([r * (2 / radius) - 1, y * (2 / height) - 1], dim=-1)
    near = F.grid_sample(grid[None, None], where[None, None], padding_mode="border", align_corners=True).view(-1)
    return torch.maximum(near, torch.maximum(r - radius, (y - height / 2).abs() - height / 2))


def normals(distance: Distance, p: Float[Tensor, "3 n"], reach: float) -> Float[Tensor, "3 n"]:
    """Unit gradient of a distance field by four samples on a tetrahedron; `reach` sets how far edges are smoothed."""
    corners = p.new_tensor([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]]) * reach
    gradient = sum(corner[:, None] * distance(p + corner[:, None]) for corner in corners)
    assert isinstance(gradient, Tensor)
    return normalize(gradient / (reach * reach))


def box_span(
    origin: Float[Tensor, "3 n"],
    direction: Float[Tensor, "3 n"],
    low: tuple[float, float, float],
    high: tuple[float, float, float],
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Where rays enter and leave the box low..high, as distances along them (near >= 0); near > far is a miss."""
    inverse = 1 / torch.where(direction.abs() < 1e-9, torch.full_like(direction, 1e-9), direction)
    to_low = (origin.new_tensor(low)[:, None] - origin) * inverse
    to_high = (origin.new_tensor(high)[:, None] - origin) * inverse
    return torch.minimum(to_low, to_high).amax(0).clamp_min(0), torch.maximum(to_low, to_high).amin(0)


def sphere_trace(
    distance: Distance,
    origin: Float[Tensor, "3 n"],
    direction: Float[Tensor, "3 n"],
    near: Float[Tensor, " n"],
    far: Float[Tensor, " n"],
    *,
    steps: int = 32,
    tolerance: float = 2e-3,
) -> tuple[Float[Tensor, " n"], Bool[Tensor, " n"]]:
    """March rays from `near` until the field is within `tolerance` or `far` is passed: (distance along the ray, hit).

    Every fourth step the finished rays are put aside, so the cost follows the rays that still move. A ray that runs out
    of steps within four tolerances of the surface (a grazing one) counts as a hit.
    """
    travelled, gap = near.clone(), torch.full_like(near, torch.inf)
    alive = torch.nonzero(near <= far).view(-1)
    while steps > 0 and alive.numel():
        o, d, t, end = origin[:, alive], direction[:, alive], travelled[alive], far[alive]
        for _ in range(min(4, steps)):
            step = distance(o + d * t)
            t = t + step
        steps -= 4
        travelled[alive], gap[alive] = t, step
        alive = alive[(step > tolerance) & (t <= end)]
    return travelled, (gap <= 4 * tolerance) & (travelled <= far)


def soft_shadow(
    distance: Distance,
    origin: Float[Tensor, "3 n"],
    direction: Float[Tensor, "3 n"],
    near: Float[Tensor, " n"],
    far: Float[Tensor, " n"],
    *,
    sharpness: float,
    steps: int = 16,
) -> Float[Tensor, " n"]:
    """Share of an area light that reaches `origin` past one solid: 0 dark .. 1 lit.

    The penumbra is the smallest clearance seen on the way over the length travelled, times `sharpness` (2 very soft, 32
    hard).
    """
    light, travelled = torch.ones_like(near), near.clamp_min(0.02)
    alive = torch.nonzero(near <= far).view(-1)
    while steps > 0 and alive.numel():
        o, d, t, end, lit = origin[:, alive], direction[:, alive], travelled[alive], far[alive], light[alive]
        least = (end - near[alive]) / (2 * steps)  # the marcher always gets through the span
        for _ in range(min(5, steps)):
            clear = distance(o + d * t)
            lit = torch.minimum(lit, clear * (sharpness / 2) / t.clamp_min(0.05) + 0.5)
            t = torch.minimum(t + torch.maximum(clear, least), end)
        steps -= 5
        travelled[alive], light[alive] = t, lit
        alive = alive[(lit > 0) & (t < end)]
    light = light.clamp_min(0)
    return light * light * (3 - 2 * light)
