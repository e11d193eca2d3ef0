"""A picture under way as a draft: what is drawn is sharp, what is not yet drawn is a soft field of the colours around it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ..ops.orders import grid

GREY = 128  # where nothing is known
SAMPLES = 2  # colours a side of each drawn position that the field is made from
REACH = 5.0  # positions over which a colour carries; beyond, the field fades half-way to grey
FEATHER = 13  # px over which a drawn position's edge blends into the field


def fill_undrawn(
    digits: UInt8[Tensor, "n g"], drawn: Bool[Tensor, " n"], rows: int, columns: int
) -> UInt8[Tensor, "n g"]:
    """The codes with each undrawn position's taken from the nearest drawn one, so that drawn edges decode next to something like
    themselves. At least one position must be drawn."""
    places = grid(rows, columns)
    nearest = torch.cdist(places, places[drawn]).argmin(1)
    return torch.where(drawn[:, None], digits, digits[drawn][nearest])


def draft(pixels: UInt8[Tensor, "h w 3"], drawn: Bool[Tensor, "rows columns"]) -> UInt8[Tensor, "h w 3"]:
    """Blend decoded pixels, sharp where `drawn` (one flag a position), into a soft field of the drawn colours; all grey where
    nothing is drawn."""
    if drawn.all():
        return pixels
    if not drawn.any():
        return torch.full_like(pixels, GREY)
    cell = pixels.shape[0] // drawn.shape[0]
    sharp = pixels.permute(2, 0, 1)[None].float()
    known = enlarged(drawn[None, None].float(), SAMPLES)
    colours = F.avg_pool2d(sharp, cell // SAMPLES)[0]
    field = colour_field(colours, known[0, 0].bool())[None]
    field = F.interpolate(field, size=pixels.shape[:2], mode="bicubic", align_corners=False)
    share = soft_edges(enlarged(drawn[None, None].float(), cell))
    return (field + (sharp - field) * share)[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8)


def enlarged(flags: Float[Tensor, "1 1 h w"], times: int) -> Float[Tensor, "1 1 p q"]:
    """Every number as a square of `times` x `times`."""
    return flags.repeat_interleave(times, 2).repeat_interleave(times, 3)


def colour_field(colours: Float[Tensor, "3 h w"], known: Bool[Tensor, "h w"]) -> Float[Tensor, "3 h w"]:
    """A colour everywhere: the mean of the known ones weighted by about 1 / distance cubed, greyer where all are far."""
    height, width = known.shape
    places = (grid(height, width) + 0.5) / SAMPLES  # in positions
    distance = torch.cdist(places, places[known.flatten()])
    weight = (distance.square() + 0.15).pow(-1.5)
    field = weight @ colours[:, known].T / weight.sum(1, keepdim=True)
    haze = 0.5 * (1 - torch.exp(-(distance.amin(1) / REACH).square()))
    return torch.lerp(field, torch.tensor(float(GREY)), haze[:, None]).T.unflatten(1, (height, width))


def soft_edges(share: Float[Tensor, "1 1 h w"]) -> Float[Tensor, "1 1 h w"]:
    """1 inside what is drawn, 0 outside it, and smooth over the last pixels within."""
    margin = FEATHER // 2
    mean = F.avg_pool2d(F.pad(share, (margin,) * 4, mode="replicate"), FEATHER, 1)
    inside = (2 * mean - 1).clamp(0, 1)
    return inside.square() * (3 - 2 * inside)
