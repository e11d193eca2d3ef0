"""Orders in which the positions of a picture are drawn, and how many are drawn at once.

One model learns a small family of orders, so that the same weights draw one position at a time, many at a time, or only a hole.
"""

from __future__ import annotations

from math import cos, pi

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


def raster(rows: int, columns: int) -> Int64[Tensor, " n"]:
    """Row by row."""
    return torch.arange(rows * columns)


def wavefront(rows: int, columns: int) -> Int64[Tensor, " n"]:
    """Anti-diagonal by anti-diagonal from the top left."""
    row, column = grid(rows, columns).unbind(-1)
    return ((row + column) * (rows + columns) + row).argsort()


def grid(rows: int, columns: int) -> Float[Tensor, "n 2"]:
    """(row, column) of each position, row by row."""
    row, column = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return torch.stack((row, column), -1).flatten(0, 1).float()


def spread(rows: int, columns: int, noise: Float[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """Farthest-point order: each next position is the one farthest from all before it, `noise` in [0, 1) breaking near-ties.

    Positions that follow each other are far apart and so nearly independent given what is there, which is what drawing
    several at once asks for (compare the Halton order of arXiv 2503.17076 and LPD's repulsion, arXiv 2507.01957).
    """
    points = grid(rows, columns)
    distances = torch.cdist(points, points)
    nearest = torch.full((len(points),), 1e3)
    order = []
    for _ in range(len(points)):
        pick = int((nearest.clamp_max(1e2) + noise).argmax())
        order.append(pick)
        nearest = torch.minimum(nearest, distances[pick])
        nearest[pick] = -1e3
    return torch.tensor(order)


def kept_first(order: Int64[Tensor, " n"], kept: Bool[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """The same order with the kept positions moved to the front: they are context, the rest is drawn."""
    flags = kept[order]
    return torch.cat((order[flags], order[~flags]))


def group_sizes(positions: int, passes: int) -> list[int]:
    """Cut `positions` into at most `passes` groups that grow along a cosine (MaskGIT, arXiv 2202.04200); each has at least 1."""
    passes = max(1, min(passes, positions))
    bounds = [round(positions * (1 - cos(pi / 2 * i / passes))) for i in range(passes + 1)]
    for i in range(1, passes + 1):
        bounds[i] = max(bounds[i], bounds[i - 1] + 1)
    for i in range(passes, 0, -1):
        bounds[i] = min(bounds[i], positions - (passes - i))
    return [bounds[i + 1] - bounds[i] for i in range(passes)]
