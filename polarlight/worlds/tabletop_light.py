"""What surfaces of a tabletop scene send out themselves: key light and shadows, ambient light, lamps, a window."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..ops import sdf
from .tabletop_stage import WALL, Stage, Surface, wall_albedo
from .tabletop_surfaces import column, paint

CONVEX = ("sphere", "cube", "cone", "book", "sign")


def visibility(stage: Stage, found: Surface, identity: Int64[Tensor, " n"], steps: int) -> Float[Tensor, "3 n"]:
    """Share of the key light that reaches points; convex things never shade themselves."""
    sun = column(stage.sun, found.point)
    light = torch.ones_like(found.point)
    facing = torch.nonzero(sdf.dot(found.normal, sun.expand_as(found.normal)) > 0).view(-1)
    start, sun = found.point[:, facing] + found.normal[:, facing] * 0.015, sun.expand(3, facing.numel())
    wide = 0.25 / stage.sharpness
    for index, item in enumerate(stage.objects):
        o, d = item.local(start), item.local(sun, vector=True)
        low = tuple(edge - wide for edge in item.shape.low)
        high = tuple(edge + wide for edge in item.shape.high)
        near, far = sdf.box_span(o, d, low, high)  # type: ignore[arg-type]
        meets = near < far
        if item.spec["name"] in CONVEX:
            meets &= identity[facing] != index
        rays = torch.nonzero(meets).view(-1)
        if not rays.numel():
            continue
        open_share = sdf.soft_shadow(
            item.shape.distance, o[:, rays], d[:, rays], near[rays], far[rays], sharpness=stage.sharpness, steps=steps
        )
        shaded = facing[rays]
        if item.spec["material"] == "glass" and item.spec["name"] != "lamp":
            tint = 0.25 + 0.75 * column(paint(item.spec["colour"]), start)
            light[:, shaded] *= 1 - (1 - open_share) * (1 - 0.75 * tint)
        else:
            light[:, shaded] *= open_share
    return light


def window(stage: Stage, p: Float[Tensor, "3 n"]) -> Float[Tensor, " n"]:
    """How much of a four-paned window beside the table lights points, 0..1."""
    x, y, z = stage.sun
    back = (stage.setting["side"] * 3.2 - p[0]) / x
    up, along = p[1] + back * y - 3.05, p[2] + back * z + 0.75
    edge = 0.16
    frame = ((1.05 - up.abs()) / edge).clamp(0, 1) * ((0.95 - along.abs()) / edge).clamp(0, 1)
    bars = ((up.abs() - 0.03) / 0.1).clamp(0, 1) * ((along.abs() - 0.03) / 0.1).clamp(0, 1)
    return frame * (0.25 + 0.75 * bars)


def occlusion(stage: Stage, found: Surface, identity: Int64[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Ambient light left by the neighbourhood, 0..1: nearby solids and the table itself."""
    p, normal = found.point, found.normal
    open_share = torch.ones_like(p[0])
    for index, item in enumerate(stage.objects):
        local, reach = item.local(p + normal * 0.16), 0.34
        (x0, y0, z0), (x1, y1, z1) = item.shape.low, item.shape.high
        middle = column(((x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2), p)
        near = sdf.box(local - middle, ((x1 - x0) / 2, (y1 - y0) / 2, (z1 - z0) / 2)) < reach / item.size
        rays = torch.nonzero(near & (identity != index) & (identity <= stage.table + 1)).view(-1)
        if rays.numel():
            clear = item.shape.distance(local[:, rays]) * item.size
            strength = 0.35 if item.spec["material"] == "glass" else 0.85
            open_share[rays] *= 1 - strength * (1 - (clear / reach).clamp(0, 1)).square()
    on_table = identity < stage.table
    ground = 1 - 0.55 * torch.exp(-p[1].clamp_min(0) * 7) * (1 - 0.8 * normal[1].clamp(0, 1))
    corner = 1 - 0.25 * torch.exp(-((WALL - p[2]).clamp_min(0) + p[1].clamp_min(0)) * 2.5)
    return open_share * torch.where(on_table, ground, corner)


def room(stage: Stage, direction: Float[Tensor, "3 n"]) -> Float[Tensor, "3 n"]:
    """The studio as mirrors see it: walls like the one in the picture, a soft box at the key light, a strip light."""
    up = direction[1].clamp(-1, 1)
    ambient = column(stage.ambient, direction)
    walls = wall_albedo(stage.setting, up * 1.5 + 1)
    light = ambient * (0.85 + 0.6 * up) * (0.35 + 0.85 * walls)
    for (x, y, z), (wide, high), strength in (
        (stage.sun, (0.42, 0.55), 2.6),
        ((-stage.sun[0], 0.35, -0.35), (0.13, 0.8), 0.9),
    ):
        axis = sdf.normalize(direction.new_tensor([[x], [y], [z]]))
        right = sdf.normalize(torch.stack([axis[2], torch.zeros_like(axis[0]), -axis[0]]))
        above = torch.linalg.cross(axis, right, dim=0)
        ahead = sdf.dot(direction, axis.expand_as(direction))
        u = sdf.dot(direction, right.expand_as(direction)) / ahead.clamp_min(1e-3)
        v = sdf.dot(direction, above.expand_as(direction)) / ahead.clamp_min(1e-3)
        panel = ((wide - u.abs()) * 9 + 0.5).clamp(0, 1) * ((high - v.abs()) * 9 + 0.5).clamp(0, 1) * (ahead > 0)
        light = light + panel * strength * column(stage.key, direction)
    return light


def lit(
    stage: Stage, found: Surface, direction: Float[Tensor, "3 n"], identity: Int64[Tensor, " n"], shadow_steps: int
) -> Float[Tensor, "3 n"]:
    """Light that surfaces send towards the eye by themselves: diffuse, highlight and glow, no mirror image."""
    p, normal = found.point, found.normal
    sun = column(stage.sun, p).expand_as(p)
    facing = sdf.dot(normal, sun).clamp_min(0)
    key = visibility(stage, found, identity, shadow_steps) * facing * column(stage.key, p)
    if stage.setting["light"] == "beam":
        key = key * (0.06 + 0.94 * window(stage, p))
    sky = 0.72 + 0.28 * normal[1]
    fill = (-normal[2] * 0.5 - normal[0] * stage.setting["side"] * 0.3).clamp_min(0) * 0.25
    light = key + column(stage.ambient, p) * (sky + fill) * occlusion(stage, found, identity)
    for index, (x, y, z), colour in stage.lamps:
        towards = column((x, y, z), p) - p
        away = sdf.dot(towards, towards)
        cone = (towards[1].abs() / away.sqrt().clamp_min(1e-3) - 0.45) / 0.4
        share = (0.3 + 0.7 * cone.clamp(0, 1)) / (0.12 + away) * (identity != index)
        light = light + (sdf.dot(normal, sdf.normalize(towards)).clamp_min(0) * share) * column(colour, p)
    half = sdf.normalize(sun - direction)
    shine = sdf.dot(normal, half).clamp_min(0).pow(48) * (identity < stage.table) * (1 - found.clear)
    highlight = shine * key * found.mirror.clamp_max(0.5) * 4
    return found.albedo * light * (1 - 0.85 * found.clear) + highlight + found.glow
