"""The posters world: pictographs in small landscapes and on graphic posters, with texts on signs, labels and banners.

Own keys of the spec beside those of `scene`: objects carry `rotation` (degrees clockwise, one of atlas.ROTATIONS) and
`flip`, and are painted in list order; texts carry `lines`, `font`, `cap` (cap height, fraction of the height), `ink`
(exact colour), `carrier` (see carriers.CARRIERS) and, where it has one, `board` (its box) and `fill` (its colour). The
setting is that of `backdrops`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ..base.errors import UserError
from ..base.seeds import stream_random
from .atlas import extent
from .backdrops import draw_backdrops
from .carriers import carrier_layers
from .catalogue import by_name, tile_index
from .composite import BACKDROP, Layer, Truth, composite, picture_layer
from .furniture import furniture, weather_layers
from .layout import CATEGORIES, compose, held_out_things
from .palettes import FLATS, light_of, mix, rgb, shadow_colour
from .placement import House
from .scene import Rendered, Scene, Spec, picture_size

PAINTS = {
    "red": "#d8322f",
    "orange": "#f28a1e",
    "yellow": "#f7cf2d",
    "green": "#3f9e46",
    "blue": "#2f6fd0",
    "purple": "#8346b4",
    "pink": "#f28cb6",
    "brown": "#84512f",
    "black": "#2b2b30",
    "white": "#f4f4f2",
    "grey": "#8d9198",
}
ATTEMPTS = 1000  # of one seed until the split's rule holds; about 1 draw in 12 holds a held-out pair


class Posters:
    """Pictographs on posters and in landscapes (the World protocol)."""

    name = "posters"

    def __init__(self, house: House | None = None) -> None:
        self.house = house or House()

    def sample(self, seed: int, split: str = "train", category: str | None = None) -> Scene:
        """Draw a scene; `category` narrows it to one of layout.CATEGORIES, None is the natural mixture.

        A "train" scene holds no held-out pair, colour or word. A "heldout" scene holds at least one, except in the
        categories of one kind of thing without colour or text ("single", "counting").

        Raises:
            UserError: the split or the category is unknown.
        """
        if split not in ("train", "heldout"):
            raise UserError(f"There is no split {split!r}.", fix="Use train or heldout.")
        if category is not None and category not in CATEGORIES:
            raise UserError(f"There is no category {category!r}.", fix=f"Use one of {', '.join(CATEGORIES)}.")
        for attempt in range(ATTEMPTS):
            random = stream_random(seed, f"posters/{split}/{category}", attempt)
            spec = compose(random, split, category, self.house)
            if spec is None:
                continue
            held_out = held_out_things(spec)
            if (not held_out) if split == "train" else (held_out or category in ("single", "counting")):
                return Scene(seed=seed, spec=spec)
        raise AssertionError(f"no {split} scene of {category} for seed {seed}")

    def render(
        self, specs: Sequence[Spec], size: tuple[int, int], *, truth: bool = False, device: torch.device | str = "cpu"
    ) -> Rendered:
        """Draw specs of one shape at (height, width) px; with truth: boxes, masks, text mask, depth, edges.

        Raises:
            UserError: a spec's aspect does not fit the size.
        """
        design = design_size(specs, size)
        scale = size[0] / design[1]
        settings = [spec["setting"] for spec in specs]
        canvas, depth = draw_backdrops(settings, size, design, device)
        owner = torch.full(depth.shape, BACKDROP, dtype=torch.long, device=device)
        found = Truth(owner=owner, depth=depth) if truth else None
        composite(canvas, [scene_layers(spec, design, scale) for spec in specs], found)
        pixels = (canvas.clamp_(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 3, 0).contiguous()
        return rendered_truth(specs, pixels, found) if found is not None else Rendered(pixels=pixels)


def design_size(specs: Sequence[Spec], size: tuple[int, int]) -> tuple[float, float]:
    """(width, height) in design pixels of the specs' common shape."""
    shapes = {picture_size(spec["aspect"]) for spec in specs}
    for high, wide in shapes:
        if abs(size[0] * wide / (size[1] * high) - 1) > 0.03:
            raise UserError(
                f"A picture of {size[1]} x {size[0]} px does not have the shape of {wide} x {high}.",
                fix="Render specs of one aspect at a time, at scene.picture_size.",
            )
    high, wide = min(shapes)
    return float(wide), float(high)


def scene_layers(spec: Spec, design: tuple[float, float], scale: float) -> list[Layer]:
    """All layers of a scene, back to front."""
    setting = spec["setting"]
    layers = furniture(setting, design, scale)
    behind = [text for text in spec["texts"] if text["carrier"] != "bubble"]
    for text in behind:
        layers += carrier_layers(text, design, scale)
    for number, thing in enumerate(spec["objects"]):
        layers += object_layers(thing, number, setting, design, scale)
    for text in spec["texts"]:
        if text["carrier"] == "bubble":
            layers += carrier_layers(text, design, scale)
    return layers + weather_layers(setting, design, scale)


def object_layers(thing: dict, number: int, setting: dict, design: tuple[float, float], scale: float) -> list[Layer]:
    """A shadow and the pictograph."""
    wide, high = design[0] * scale, design[1] * scale
    x0, y0, x1, y1 = (side * length for side, length in zip(thing["box"], (wide, high, wide, high), strict=True))
    entry, tile = by_name()[thing["name"]], tile_index()[thing["name"]]
    reach = extent(tile, thing["rotation"], thing["flip"])
    side = (x1 - x0) / (reach[2] - reach[0])
    x, y = x0 - reach[0] * side, y0 - reach[1] * side
    painted = thing["colour"] is not None and thing["colour"] != entry.colour
    paint = rgb(PAINTS[thing["colour"]]) if painted else (0.0, 0.0, 0.0)
    depth = object_depth(thing, setting)
    common = {"rotation": float(thing["rotation"]), "flip": thing["flip"]}
    layers = []
    if setting["kind"] == "flat":
        dark = mix(rgb(FLATS[setting["palette"]][1]), (0.0, 0.0, 0.0), 0.75)
        drop = 2.2 * scale
        layers.append(
            picture_layer(
                "silhouette", tile, x, y + drop, side, colour=dark, opacity=0.28, soft=2.0, depth=depth, **common
            )
        )
    elif not thing.get("aloft", False):
        dark = shadow_colour(setting)
        half = (x1 - x0) * 0.5
        layers.append(
            Layer(
                "ellipse",
                (x0 + x1) / 2,
                y1 - half * 0.04,
                half * 0.95,
                max(1.2 * scale, half * 0.16),
                colour=dark,
                opacity=0.42,
                soft=max(2 * scale, half * 0.2),
                depth=depth,
            )
        )
    layers.append(
        picture_layer(
            "painted" if painted else "picture",
            tile,
            x,
            y,
            side,
            colour=paint,
            light=light_of(setting),
            owner=number,
            depth=depth,
            **common,
        )
    )
    return layers


def object_depth(thing: dict, setting: dict) -> float:
    """0 near .. 1 far: by where a thing stands on the ground; flat things and things aloft lie at a half."""
    if setting["kind"] == "flat" or thing.get("aloft", False):
        return 0.5
    horizon = setting["horizon"]
    return 0.95 - 0.85 * min(1.0, max(0.0, (thing["box"][3] - horizon) / (1 - horizon)))


def rendered_truth(specs: Sequence[Spec], pixels: torch.Tensor, found: Truth) -> Rendered:
    """Masks from the owners, boxes from the masks, text mask from the specs, edges from the pixels."""
    batch, height, width = found.owner.shape
    most = max((len(spec["objects"]) for spec in specs), default=0)
    numbers = torch.arange(most, device=pixels.device).view(1, -1, 1, 1)
    masks = found.owner[:, None] == numbers
    text_mask = torch.zeros(batch, height, width, dtype=torch.bool, device=pixels.device)
    for mask, spec in zip(text_mask, specs, strict=True):
        for text in spec["texts"]:
            x0, y0, x1, y1 = text["box"]
            mask[int(y0 * height) : -int(-y1 * height // 1), int(x0 * width) : -int(-x1 * width // 1)] = True
    return Rendered(
        pixels=pixels,
        boxes=mask_boxes(masks),
        masks=masks,
        text_mask=text_mask,
        depth=found.depth,
        edges=sobel(pixels),
    )


def mask_boxes(masks: torch.Tensor) -> torch.Tensor:
    """Extent x0 y0 x1 y1 of each mask in fractions; zeros where a mask is empty."""
    height, width = masks.shape[-2:]
    boxes = torch.zeros(*masks.shape[:2], 4, device=masks.device)
    for axis, length, low in ((-2, width, 0), (-1, height, 1)):
        hit = masks.any(axis)
        place = torch.arange(length, device=masks.device)
        boxes[..., low] = torch.where(hit, place, length).amin(-1) / length
        boxes[..., low + 2] = torch.where(hit, place + 1, 0).amax(-1) / length
    return boxes * masks.any(-1).any(-1)[..., None]


def sobel(pixels: torch.Tensor) -> torch.Tensor:
    """Gradient magnitude of the luma, 0..1; a step from black to white gives 1."""
    luma = (pixels.float() * pixels.new_tensor((0.299, 0.587, 0.114), dtype=torch.float32)).sum(-1) / 255
    p = torch.nn.functional.pad(luma[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    smooth_y = p[:, :-2] + 2 * p[:, 1:-1] + p[:, 2:]
    smooth_x = p[:, :, :-2] + 2 * p[:, :, 1:-1] + p[:, :, 2:]
    gx, gy = smooth_y[:, :, 2:] - smooth_y[:, :, :-2], smooth_x[:, 2:] - smooth_x[:, :-2]
    return ((gx.square() + gy.square()).sqrt() / 4).clamp(0, 1)
