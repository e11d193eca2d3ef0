"""Colours, palettes and procedural grain of the tabletop world. Everything here is in linear light, 0..1."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

# what a colour name looks like in neutral light, sRGB
PAINTS = {
    "red": "#c8261f", "orange": "#ee7f1b", "yellow": "#f4c320", "green": "#2f8f3e", "blue": "#1f5fc0",
    "purple": "#7437a8", "pink": "#f08bb0", "brown": "#6f4224", "black": "#1a1a1d", "white": "#f2efe8",
    "grey": "#85888c",
}  # fmt: skip

# wall colour -> hand-picked (low, high) gradients
WALLS = {
    "blue": (("#9dbdd3", "#d3e4ea"), ("#2d4a6b", "#5d82a3"), ("#6f9cc4", "#b4d2e3")),
    "green": (("#9fb096", "#d4dcc6"), ("#33564a", "#6b9280"), ("#7fae96", "#c4dcc9")),
    "pink": (("#e2aba4", "#f5d8cf"), ("#d9899a", "#f0bfc4")),
    "grey": (("#8d949b", "#c6cacd"), ("#6d7278", "#a9aeb3")),
    "white": (("#e3ddd1", "#f6f2ea"), ("#dfe2e4", "#f5f6f6")),
    "orange": (("#c56a47", "#e6a684"), ("#d98a4e", "#f0c08c")),
    "yellow": (("#ddb450", "#f3dd9c"), ("#e8c877", "#f7e7b8")),
    "purple": (("#8073a6", "#bcb0d3"), ("#54467a", "#8d80b3")),
    "red": (("#8e302e", "#c05c54"),),
    "brown": (("#70503d", "#a8866a"), ("#8f7460", "#c7ad97")),
    "black": (("#232428", "#45474e"),),
}
WOODS = {  # table colour -> dark and light of the grain
    None: ("#8a5a33", "#c08a55"),
    "brown": ("#5b3820", "#8c5c38"),
    "white": ("#c9b99f", "#e6dbc8"),
    "black": ("#2a211c", "#463a33"),
}
MARBLES = {  # ground and veins
    None: ("#e9e6e1", "#8f9094"),
    "white": ("#f0eeea", "#9a9ca1"),
    "black": ("#26272b", "#a5a19a"),
    "green": ("#2f5748", "#a9c4b2"),
    "pink": ("#e6c4bb", "#b07f78"),
}
METALS = {None: "#b4b8bc", "grey": "#b4b8bc", "brown": "#b98c5e", "black": "#4a4c50"}


@lru_cache(maxsize=256)
def linear(hexadecimal: str) -> tuple[float, float, float]:
    """'#rrggbb' (sRGB) to linear red, green, blue."""
    levels = (int(hexadecimal[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in levels)
    return red, green, blue


def paint(colour: str | None) -> tuple[float, float, float]:
    """Linear colour of a colour name; None is a neutral light grey."""
    return linear(PAINTS[colour] if colour else "#c9c8c4")


def column(rgb: tuple[float, float, float], like: Tensor) -> Float[Tensor, "3 1"]:
    return like.new_tensor(rgb)[:, None]


def srgb(light: Float[Tensor, "3 n"]) -> Float[Tensor, "3 n"]:
    """Linear light to sRGB 0..1: straight up to middle tones, then a shoulder that keeps highlights from clipping."""
    knee = 0.55
    over = (light - knee).clamp_min(0) / (1 - knee)
    toned = torch.minimum(light, torch.full_like(light, knee)) + (1 - knee) * (over / (1 + over.pow(1.4)).pow(1 / 1.4))
    toned = toned.clamp(0, 1)
    return torch.where(toned <= 0.0031308, toned * 12.92, 1.055 * toned.clamp_min(1e-6).pow(1 / 2.4) - 0.055)


@lru_cache(maxsize=4)
def _noise_tile(device: str) -> Float[Tensor, "1 1 65 65"]:
    tile = torch.rand(64, 64, generator=torch.Generator().manual_seed(7))
    return F.pad(tile[None, None], (0, 1, 0, 1), mode="circular").to(device)


def noise(u: Float[Tensor, " n"], v: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Value noise 0..1 with one cell per unit, repeating every 64."""
    where = torch.stack([torch.remainder(u, 64), torch.remainder(v, 64)], -1) / 32 - 1
    return F.grid_sample(_noise_tile(str(u.device)), where[None, None], align_corners=True).view(-1)


def wood_tone(along: Float[Tensor, " n"], across: Float[Tensor, " n"], *, fine: bool = True) -> Float[Tensor, " n"]:
    """Dark (0) to light (1) of grain that runs `along`, with or without fibres; one unit is a hand's breadth."""
    bent = across * 9 + 1.6 * noise(along * 0.8, across * 1.5) + 0.5 * torch.sin(along * 1.7)
    rings = 1 - (bent - bent.floor())
    fibre = noise(along * 3, across * 70) if fine else 0.5
    return (0.25 + 0.45 * rings * rings.sqrt() + 0.45 * (fibre - 0.3)).clamp(0, 1)


def table_albedo(
    kind: str, colour: str | None, grain: float, x: Float[Tensor, " n"], z: Float[Tensor, " n"], *, fine: bool = True
) -> Float[Tensor, "3 n"]:
    """Colour of the table at (x, z); `grain` 0..1 shifts the pattern."""
    if kind == "painted":
        return column(paint(colour), x) * (0.94 + 0.08 * noise(x * 1.2 + 64 * grain, z * 1.2))
    if kind == "metal":
        brushed = noise(x * 1.5 + 64 * grain, z * 60) if fine else torch.full_like(x, 0.5)
        return column(linear(METALS[colour]), x) * (0.82 + 0.22 * brushed)
    if kind == "marble":
        ground, vein = (column(linear(c), x) for c in MARBLES[colour])
        u, v = x * 1.1 + 64 * grain, z * 1.1 + 17 * grain
        warp = noise(u * 0.9, v * 0.9) * 2.2 + noise(u * 2.3, v * 2.3)
        first = (1 - (torch.sin(u * 1.6 + v * 1.1 + warp * 2.1).abs() * 9)).clamp_min(0)
        second = (1 - (torch.sin(u * 2.9 - v * 2.3 + warp * 3.4).abs() * 7)).clamp_min(0) * 0.45
        amount = (0.8 * first + second + 0.18 * noise(u * 1.1, v * 1.4)).clamp(0, 1)
        return ground + (vein - ground) * amount
    assert kind == "wooden", kind
    dark, light = (column(linear(c), x) for c in WOODS[colour])
    lane = z / 0.62 + grain
    plank = lane.floor()
    shift = noise(plank * 7.3 + 64 * grain, plank * 3.1)
    tone = wood_tone(x * 0.9 + 31 * shift, z * 0.9 + 13 * shift, fine=fine) * 0.75 + 0.3 * shift
    gap = ((lane - plank) * (1 - (lane - plank)) * 45).clamp(0.25, 1)
    return (dark + (light - dark) * tone) * gap
