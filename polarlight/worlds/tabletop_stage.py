"""A tabletop scene made ready to trace: the light, the camera, and what a ray meets.

Table and wall are planes met in closed form; each object is sphere traced, but only by the rays that enter its
bounding box. One scene is drawn at a time: its tensors (one number per ray) stay in the cache, and nothing of the rest
of the batch can reach the picture. World: x right, y up from the table, z away from the camera; one unit is half the
picture's shorter side at z = 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ..ops import sdf
from .scene import Spec
from .tabletop_labels import apply_label
from .tabletop_shapes import Shape, shape
from .tabletop_surfaces import WALLS, column, linear, noise, paint, table_albedo, wood_tone

WALL = 2.3  # z of the wall
FRONT = -2.4  # z of the table's near edge, which only mirrors see: the camera stands over it
DISTANCE = 5.0  # of the camera from z = 0
FAR = 60.0
GLAZED = ("mug", "vase", "bottle", "lamp")  # what of these is matte still has a glaze that mirrors faintly

# light: (colour and strength of the key, of the ambient, sharpness of shadows, elevation in degrees)
LIGHTS = {
    "soft": ((1.25, 1.22, 1.16), (0.56, 0.57, 0.60), 3.5, 52),
    "warm": ((1.75, 1.28, 0.82), (0.50, 0.43, 0.38), 7.0, 38),
    "cold": ((1.05, 1.25, 1.50), (0.42, 0.50, 0.62), 6.0, 45),
    "low": ((1.35, 1.02, 0.72), (0.17, 0.18, 0.24), 9.0, 24),
    "beam": ((2.60, 2.20, 1.60), (0.26, 0.28, 0.34), 12.0, 36),
}


@dataclass(frozen=True, kw_only=True)
class Placed:
    """An object where it stands."""

    spec: Spec
    shape: Shape
    size: float
    text: Spec | None = None  # what is written on it

    def local(self, p: Float[Tensor, "3 n"], *, vector: bool = False) -> Float[Tensor, "3 n"]:
        """World points (or directions) in the shape's own frame, where it is 1 high and faces -z."""
        cos, sin = math.cos(self.spec["yaw"]), math.sin(self.spec["yaw"])
        x, y, z = p.unbind(0)
        if vector:
            return torch.stack([cos * x - sin * z, y, sin * x + cos * z])
        x, z = (x - self.spec["x"]) / self.size, (z - self.spec["z"]) / self.size
        return torch.stack([cos * x - sin * z, y / self.size, sin * x + cos * z])

    def world(self, p: Float[Tensor, "3 n"], *, vector: bool = False) -> Float[Tensor, "3 n"]:
        """The inverse of `local`."""
        cos, sin = math.cos(self.spec["yaw"]), math.sin(self.spec["yaw"])
        x, y, z = p.unbind(0)
        turned = torch.stack([cos * x + sin * z, y, cos * z - sin * x])
        return turned if vector else turned * self.size + column((self.spec["x"], 0.0, self.spec["z"]), p)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A scene made ready to trace."""

    setting: Spec
    objects: list[Placed]
    sun: tuple[float, float, float]  # unit vector towards the key light
    key: tuple[float, float, float]
    ambient: tuple[float, float, float]
    sharpness: float
    lamps: list[tuple[int, tuple[float, float, float], tuple[float, float, float]]] = field(default_factory=list)

    @property
    def table(self) -> int:
        """The identity of the table among hits; the wall's is one more, the room's (no hit) two more."""
        return len(self.objects)


def place(item: Spec, text: Spec | None = None, device: str = "cpu") -> Placed:
    """An object's spec as a solid."""
    solid = shape(item["name"], item["variant"], item["girth"], device)
    return Placed(spec=item, shape=solid, size=item["size"], text=text)


def build_stage(spec: Spec, device: str = "cpu") -> Stage:
    """Place the objects of a scene and set its lights."""
    setting, texts = spec["setting"], {text["on"]: text for text in spec["texts"]}
    objects = [place(item, texts.get(index), device) for index, item in enumerate(spec["objects"])]
    key, ambient, sharpness, elevation = LIGHTS[setting["light"]]
    height = math.radians(elevation + setting["elevation"])
    across, front = (0.93, -0.37) if setting["light"] == "beam" else (0.68, -0.73)
    sun = (setting["side"] * across * math.cos(height), math.sin(height), front * math.cos(height))
    lamps = [
        (index, (item.spec["x"], item.size * 0.78, item.spec["z"]), (0.62, 0.44, 0.24))
        for index, item in enumerate(objects)
        if item.spec["name"] == "lamp"
    ]
    return Stage(setting=setting, objects=objects, sun=sun, key=key, ambient=ambient, sharpness=sharpness, lamps=lamps)


# camera


def camera_frame(setting: Spec) -> tuple[float, float, float, float]:
    """(height of the eye, cos and sin of its yaw round the y axis, height in the picture of y = 0 at z = 0)."""
    camera = setting["camera"]
    return camera["height"], math.cos(camera["yaw"]), math.sin(camera["yaw"]), camera["ground"]


def camera_rays(
    setting: Spec, u: Float[Tensor, " n"], v: Float[Tensor, " n"]
) -> tuple[Float[Tensor, "3 n"], Float[Tensor, "3 n"]]:
    """Rays through picture points (u right, v up; 1 is half the shorter side); the lens is shifted: no keystone."""
    height, cos, sin, ground = camera_frame(setting)
    x, y, z = u, v - ground - height, torch.full_like(u, DISTANCE)
    direction = sdf.normalize(torch.stack([cos * x + sin * z, y, cos * z - sin * x]))
    eye = column((-sin * DISTANCE, height, -cos * DISTANCE), u)
    return eye.expand_as(direction), direction


def project(setting: Spec, p: Float[Tensor, "3 n"]) -> Float[Tensor, "3 n"]:
    """World points to (u, v, depth from the eye along its axis)."""
    height, cos, sin, ground = camera_frame(setting)
    depth = DISTANCE + sin * p[0] + cos * p[2]
    u = DISTANCE * (cos * p[0] - sin * p[2]) / depth
    return torch.stack([u, DISTANCE * (p[1] - height) / depth + ground + height, depth])


# what a ray meets


def trace(
    stage: Stage, origin: Float[Tensor, "3 n"], direction: Float[Tensor, "3 n"], skip: Int64[Tensor, " n"] | None = None
) -> tuple[Float[Tensor, " n"], Int64[Tensor, " n"]]:
    """(distance, identity of what is met); a ray never meets the object whose index it has in `skip`."""
    identity = torch.full(origin.shape[1:], stage.table + 2, device=origin.device)
    down = torch.where(direction[1] < -1e-5, -origin[1] / direction[1].clamp_max(-1e-5), FAR)
    if skip is not None:
        down = torch.where(origin[2] + down * direction[2] > FRONT, down, FAR)
    back = torch.where(direction[2] > 1e-5, (WALL - origin[2]) / direction[2].clamp_min(1e-5), FAR)
    nearest = torch.minimum(down, back).clamp_max(FAR)
    identity = torch.where(nearest >= FAR, identity, torch.where(down < back, stage.table, stage.table + 1))
    for index, item in enumerate(stage.objects):
        o, d = item.local(origin), item.local(direction, vector=True)
        near, far = sdf.box_span(o, d, item.shape.low, item.shape.high)
        far = torch.minimum(far, nearest / item.size)
        if skip is not None:
            far = torch.where(skip == index, -1.0, far)
        rays = torch.nonzero(near < far).view(-1)
        if rays.numel():
            t, hit = sdf.sphere_trace(item.shape.distance, o[:, rays], d[:, rays], near[rays], far[rays])
            rays = rays[hit]
            nearest[rays], identity[rays] = t[hit] * item.size, index
    return nearest, identity


@dataclass(kw_only=True)
class Surface:
    """What is met, ray by ray."""

    point: Float[Tensor, "3 n"]
    normal: Float[Tensor, "3 n"]
    albedo: Float[Tensor, "3 n"]
    mirror: Float[Tensor, "3 n"]  # reflectance at normal incidence
    glow: Float[Tensor, "3 n"]  # own light
    clear: Float[Tensor, " n"]  # 1 where light passes through


def surface(
    stage: Stage,
    origin: Float[Tensor, "3 n"],
    direction: Float[Tensor, "3 n"],
    t: Float[Tensor, " n"],
    identity: Int64[Tensor, " n"],
    *,
    fine: bool,
) -> Surface:
    """The surfaces that rays meet after `t`; without `fine` the table lacks its fibres, which mirrors turn to noise."""
    point = origin + direction * t
    zeros = torch.zeros_like(point)
    found = Surface(
        point=point,
        normal=zeros.clone(),
        albedo=zeros.clone(),
        mirror=zeros.clone(),
        glow=zeros.clone(),
        clear=zeros[0].clone(),
    )
    on = torch.nonzero(identity == stage.table).view(-1)
    setting, kind = stage.setting, stage.setting["table"]
    if on.numel():
        x, z = point[0, on], point[2, on]
        found.normal[1, on] = 1
        if kind in ("wooden", "metal"):  # a slightly uneven face, so that what it reflects is not a mirror image
            found.normal[0, on] = (noise(x * 3, z * 40) - 0.5) * (0.05 if kind == "wooden" else 0.02)
        found.albedo[:, on] = table_albedo(kind, setting["table_colour"], setting["grain"], x, z, fine=fine)
        shine = {"wooden": 0.035, "marble": 0.07, "painted": 0.03, "metal": 0.35}[kind]
        found.mirror[:, on] = shine * (found.albedo[:, on] if kind == "metal" else 1)
        if kind == "metal":
            found.albedo[:, on] *= 0.55
    on = torch.nonzero(identity == stage.table + 1).view(-1)
    if on.numel():
        found.normal[2, on] = -1
        found.albedo[:, on] = wall_albedo(setting, point[1, on])
    for index, item in enumerate(stage.objects):
        on = torch.nonzero(identity == index).view(-1)
        if on.numel():
            object_surface(item, found, on)
    return found


def wall_albedo(setting: Spec, y: Float[Tensor, " n"]) -> Float[Tensor, "3 n"]:
    low, high = (column(linear(c), y) for c in WALLS[setting["wall"]][setting["wall_variant"]])
    return low + (high - low) * ((y + 0.2) / 3.2).clamp(0, 1)


def object_surface(item: Placed, found: Surface, on: Int64[Tensor, " n"]) -> None:
    """Fill in the rays `on` that meet an object: normal, colour, gloss, label."""
    name, material = item.spec["name"], item.spec["material"]
    p = item.local(found.point[:, on])
    normal = sdf.normals(item.shape.distance, p, 0.012)
    found.normal[:, on] = item.world(normal, vector=True)
    albedo = column(paint(item.spec["colour"]), p).expand_as(p)
    clear, mirror = torch.zeros_like(p[0]), torch.full_like(p, 0.04 if name in GLAZED else 0.01)
    if material == "wood":
        albedo = column(paint(item.spec["colour"]) if item.spec["colour"] else linear("#c08f5c"), p)
        albedo = albedo * (0.62 + 0.5 * wood_tone(p[1] + 0.2 * p[0] + 11 * item.size, p[0] * 0.8 + p[2] * 0.6 + 3.0))
        mirror = torch.full_like(p, 0.01)
    elif material == "metal":
        mirror = 0.18 + 0.72 * albedo
        albedo = albedo * 0.22
    elif material == "glass":
        clear, mirror = torch.ones_like(clear), torch.full_like(p, 0.08)
    if name == "book":
        pages = (p[2].abs() < 0.068) & (p[0] > -0.32) & ((p[0] > 0.335) | ((p[1] - 0.5).abs() > 0.48))
        leaves = column((0.80, 0.75, 0.64), p) * (0.86 + 0.14 * noise(p[2] * 160, p[1] * 0.3 + p[0] * 0.3))
        stripe = (p[2] < 0) & (((p[1] - 0.78).abs() < 0.035) | ((p[1] - 0.68).abs() < 0.012)) & (p[0].abs() < 0.26)
        band = torch.where(albedo[1] > 0.4, albedo * 0.35, albedo * 0.25 + 0.55)
        albedo = torch.where(pages, leaves, torch.where(stripe, band, albedo))
    elif name == "sign":
        half, middle = item.shape.label[2], item.shape.label[0]  # type: ignore[index]
        rim = ((half - p[0].abs()) < 0.015) | ((item.shape.label[1] - (p[1] - middle).abs()) < 0.015)  # type: ignore[index]
        albedo = torch.where(rim & (p[1] > 0.1), albedo * 0.45, albedo)
    elif name == "lamp":
        shade = p[1] > 0.545
        lit = column((1.25, 0.93, 0.58), p) * (0.75 + 0.5 * (1 - ((p[1] - 0.72) / 0.3).square()).clamp(0, 1))
        found.glow[:, on] = torch.where(shade, lit * (0.45 + 0.55 * normal[2].abs()), 0.0)
        albedo = torch.where(shade, column((0.5, 0.42, 0.32), p), albedo)
        clear, mirror = torch.where(shade, 0.0, clear), torch.where(shade, 0.0, mirror)
    elif name == "bottle" and material != "glass":
        cap = p[1] > 0.885
        albedo = torch.where(cap, albedo * 0.2 + 0.02, albedo)
    if item.text is not None:
        albedo, covered = apply_label(item.text, item.shape, p, albedo)
        clear, mirror = clear * (1 - covered), torch.where(covered > 0.5, 0.02, mirror)
    found.albedo[:, on], found.mirror[:, on], found.clear[on] = albedo, mirror, clear
