"""Pictures of tabletop scenes: mirrors, glass and lit air over the light of surfaces; then pixels and their truth.

One bounce is followed for everything that mirrors, two for glass. Pixels whose neighbours differ are drawn again with
four rays each, so that edges and letters are smooth at a third of the cost of drawing everything so.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..ops import sdf
from .scene import Rendered, Spec
from .tabletop_light import lit, room, window
from .tabletop_stage import Stage, Surface, build_stage, camera_rays, surface, trace
from .tabletop_surfaces import column, paint, srgb

CONTRAST = 0.08  # of sRGB lightness between neighbours, above which a pixel is drawn with four rays
SUBPIXELS = ((-0.125, -0.375), (0.375, -0.125), (0.125, 0.375), (-0.375, 0.125))


def radiance(
    stage: Stage,
    origin: Float[Tensor, "3 n"],
    direction: Float[Tensor, "3 n"],
    *,
    depth: int = 2,
    skip: Int64[Tensor, " n"] | None = None,
) -> tuple[Float[Tensor, "3 n"], Float[Tensor, " n"], Int64[Tensor, " n"], Surface]:
    """(linear light along rays, distance, identity of what they meet, its surface).

    Rays of the camera have depth 2 and follow mirrors and glass; at depth 1 glass alone is followed, at 0 nothing.
    """
    t, identity = trace(stage, origin, direction, skip)
    found = surface(stage, origin, direction, t, identity, fine=depth == 2)
    if depth == 0:
        found.clear *= 0.4  # the last glass on a ray's way shows its own colour
    light = lit(stage, found, direction, identity, 15 if depth == 2 else 10)
    outside = torch.nonzero(identity == stage.table + 2).view(-1)
    if outside.numel():
        light[:, outside] = room(stage, direction[:, outside])
    if depth == 2:
        add_mirror(stage, found, direction, identity, light)
    if depth > 0:
        add_glass(stage, found, direction, identity, light, depth)
    return light, t, identity, found


def fresnel(found: Surface, direction: Float[Tensor, "3 n"], rays: Int64[Tensor, " m"]) -> Float[Tensor, "3 m"]:
    """Schlick's reflectance of the surfaces that `rays` meet."""
    cosine = (-sdf.dot(found.normal[:, rays], direction[:, rays])).clamp(0, 1)
    mirror = found.mirror[:, rays]
    return mirror + (1 - mirror) * (1 - cosine).pow(5) * (mirror > 0) * (mirror * 12).clamp(0, 1)


def above_table(p: Float[Tensor, "3 n"]) -> Float[Tensor, "3 n"]:
    """Points kept a little over the table, where rays can start that should still meet it."""
    return torch.stack([p[0], p[1].clamp_min(0.004), p[2]])


def add_mirror(
    stage: Stage,
    found: Surface,
    direction: Float[Tensor, "3 n"],
    identity: Int64[Tensor, " n"],
    light: Float[Tensor, "3 n"],
) -> None:
    """Add what polished surfaces reflect to `light`, in place."""
    rays = torch.nonzero((found.mirror[1] > 0.012) & (identity <= stage.table)).view(-1)
    if not rays.numel():
        return
    normal, d = found.normal[:, rays], direction[:, rays]
    reflected = sdf.normalize(d - 2 * sdf.dot(d, normal) * normal)
    start = above_table(found.point[:, rays] + normal * 0.004)
    seen = radiance(stage, start, reflected, depth=1, skip=identity[rays])[0]
    share = fresnel(found, direction, rays)
    glossy = (identity[rays] < stage.table) & (found.mirror[1, rays] < 0.045)
    light[:, rays] = light[:, rays] * (1 - share * 0.8) + seen * share * torch.where(glossy, 0.7, 1.0)


def refract(direction: Float[Tensor, "3 n"], normal: Float[Tensor, "3 n"], ratio: float) -> Float[Tensor, "3 n"]:
    """Snell's law; `normal` faces the ray, `ratio` is the index before over that behind; total reflection goes on."""
    cosine = -sdf.dot(direction, normal)
    inner = 1 - ratio * ratio * (1 - cosine * cosine)
    bent = ratio * direction + (ratio * cosine - inner.clamp_min(0).sqrt()) * normal
    return torch.where(inner > 0, bent, direction)


def add_glass(
    stage: Stage,
    found: Surface,
    direction: Float[Tensor, "3 n"],
    identity: Int64[Tensor, " n"],
    light: Float[Tensor, "3 n"],
    depth: int,
) -> None:
    """Add what shows through glass, bent and tinted, in place."""
    for index, item in enumerate(stage.objects):
        rays = torch.nonzero((found.clear > 0.5) & (identity == index)).view(-1)
        if not rays.numel():
            continue
        normal, d = found.normal[:, rays], direction[:, rays]
        index_of_refraction = 1.33 if item.spec["name"] in ("sphere", "cube", "cone") else 1.07  # vessels are thin
        within = refract(d, normal, 1 / index_of_refraction)
        o, towards = item.local(found.point[:, rays] - normal * 0.02), item.local(within, vector=True)
        _, far = sdf.box_span(o, towards, item.shape.low, item.shape.high)
        far = far.clamp_min(0)
        way, _ = sdf.sphere_trace(
            lambda p, item=item: -item.shape.distance(p),
            o,
            towards,
            torch.zeros_like(far),
            far,
            steps=20,
            tolerance=4e-3,
        )
        way = torch.minimum(way, far)
        out = o + towards * way
        behind = above_table(item.world(out))
        exit_normal = item.world(sdf.normals(item.shape.distance, out, 0.01), vector=True)
        leaving = refract(within, -exit_normal, index_of_refraction)
        seen = radiance(stage, behind, leaving, depth=depth - 1, skip=identity[rays])[0]
        tint = column(paint(item.spec["colour"]), d) if item.spec["colour"] else column((0.93, 0.97, 0.96), d)
        through = (tint + 0.02).pow(0.25 + 1.1 * way * item.size)
        share = fresnel(found, direction, rays)
        rim = 1 - 0.7 * (1 + sdf.dot(d, normal)).clamp(0, 1).pow(3)
        light[:, rays] += seen * through * (1 - share) * rim


def add_air(
    stage: Stage,
    origin: Float[Tensor, "3 n"],
    direction: Float[Tensor, "3 n"],
    t: Float[Tensor, " n"],
    light: Float[Tensor, "3 n"],
) -> None:
    """Add light scattered by the air, in place: the window's beam and the halo of lamps."""
    if stage.setting["light"] == "beam":
        near, far, steps = 3.2, 8.6, 20
        total = torch.zeros_like(t)
        for step in range(steps):
            reach = near + (far - near) * (step + 0.5) / steps
            total += window(stage, origin + direction * reach) * ((t - reach) * 4 + 0.5).clamp(0, 1)
        light += total * (0.48 / steps) * column(stage.key, light) * 0.42
    for _, (x, y, z), colour in stage.lamps:
        towards = column((x, y, z), origin) - origin
        along = sdf.dot(towards, direction)
        apart = (sdf.dot(towards, towards) - along.square()).clamp_min(0)
        light += 0.035 / (0.1 + apart) * (t > along - 0.6) * column(colour, light)


def picture_grid(
    height: int, width: int, device: torch.device | str
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"], float]:
    """(u right, v up) of pixel centres, row by row, and the size of a pixel; 1 is half the shorter side."""
    pixel = 2 / min(height, width)
    v, u = torch.meshgrid(
        ((height - 1) / 2 - torch.arange(height, device=device)) * pixel,
        (torch.arange(width, device=device) - (width - 1) / 2) * pixel,
        indexing="ij",
    )
    return u.reshape(-1), v.reshape(-1), pixel


def lightness_step(image: Float[Tensor, "c h w"]) -> Float[Tensor, "h w"]:
    """Largest difference of any channel between a pixel and its four neighbours."""
    padded = F.pad(image[None], (1, 1, 1, 1), mode="replicate")[0]
    centre = padded[:, 1:-1, 1:-1]
    steps = [padded[:, :-2, 1:-1], padded[:, 2:, 1:-1], padded[:, 1:-1, :-2], padded[:, 1:-1, 2:]]
    return torch.stack([(centre - other).abs().amax(0) for other in steps]).amax(0)


def look(stage: Stage, u: Float[Tensor, " n"], v: Float[Tensor, " n"]) -> tuple[Tensor, Tensor, Tensor, Surface]:
    """sRGB of picture points, with distance, identity and surface."""
    origin, direction = camera_rays(stage.setting, u, v)
    light, t, identity, found = radiance(stage, origin, direction)
    add_air(stage, origin, direction, t, light)
    return srgb(light), t, identity, found


def draw(
    spec: Spec, size: tuple[int, int], device: torch.device | str
) -> tuple[Float[Tensor, "3 h w"], Stage, Tensor, Tensor, Surface]:
    """One picture, sRGB 0..1, with its stage and what each pixel's middle ray meets."""
    height, width = size
    stage = build_stage(spec, str(device))
    u, v, pixel = picture_grid(height, width, device)
    image, t, identity, found = look(stage, u, v)
    rough = lightness_step(image.view(3, height, width)).view(-1) > CONTRAST
    again = torch.nonzero(rough).view(-1)
    if again.numel():
        offsets = torch.tensor(SUBPIXELS, device=device) * pixel
        finer = look(stage, (u[again] + offsets[:, :1]).view(-1), (v[again] + offsets[:, 1:]).view(-1))[0]
        image[:, again] = finer.view(3, len(SUBPIXELS), -1).mean(1)
    return image.view(3, height, width), stage, t, identity, found


def rectangles(
    boxes: Sequence[Sequence[float]], size: tuple[int, int], device: torch.device | str
) -> Bool[Tensor, "h w"]:
    """Pixels whose middle lies in any of the boxes (fractions)."""
    height, width = size
    y, x = ((torch.arange(n, device=device) + 0.5) / n for n in (height, width))
    covered = torch.zeros(height, width, dtype=torch.bool, device=device)
    for x0, y0, x1, y1 in boxes:
        covered |= ((y >= y0) & (y <= y1))[:, None] & ((x >= x0) & (x <= x1))[None]
    return covered


def mask_box(mask: Bool[Tensor, "h w"]) -> Float[Tensor, " 4"]:
    """Extent of a mask in fractions; zeros where it is empty."""
    rows, columns = (torch.nonzero(mask.any(axis)).view(-1) for axis in (1, 0))
    if not rows.numel():
        return torch.zeros(4, device=mask.device)
    height, width = mask.shape
    return torch.stack([columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height])


def render(specs: Sequence[Spec], size: tuple[int, int], *, truth: bool, device: torch.device | str) -> Rendered:
    """Pictures of specs at (height, width) px; with `truth`, all that `Rendered` can hold."""
    most = max((len(spec["objects"]) for spec in specs), default=0)
    pixels, masks, text_masks, depths, edges, normals = [], [], [], [], [], []
    for spec in specs:
        image, stage, t, identity, found = draw(spec, size, device)
        pixels.append((image.permute(1, 2, 0) * 255 + 0.5).to(torch.uint8))
        if not truth:
            continue
        identity, normal = identity.view(size), found.normal.view(3, *size)
        numbers = torch.arange(most, device=identity.device).view(-1, 1, 1)
        masks.append((identity == numbers) & (identity < stage.table))
        text_masks.append(rectangles([text["box"] for text in spec["texts"]], size, device))
        depths.append(((t.view(size) - 3) / 7).clamp(0, 1))
        outline = (lightness_step(identity[None].float()) > 0).float()
        edges.append(torch.maximum(outline, (lightness_step(normal) * 0.8 + lightness_step(image) * 1.5).clamp(0, 1)))
        normals.append(normal.permute(1, 2, 0))
    if not truth:
        return Rendered(pixels=torch.stack(pixels))
    return Rendered(
        pixels=torch.stack(pixels),
        boxes=torch.stack([torch.stack([*map(mask_box, scene)]) if most else torch.zeros(0, 4) for scene in masks]),
        masks=torch.stack(masks),
        text_mask=torch.stack(text_masks),
        depth=torch.stack(depths),
        edges=torch.stack(edges),
        normals=torch.stack(normals),
    )
