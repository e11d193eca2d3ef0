"""What carries a text on a poster: boards on posts, hanging signs, banners, labels, price tags, bubbles, neon, bare titles.

Here a text is fitted (script, font, cap height, lines) and here it is drawn; where it stands is the layout's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from ..text.lettering import rise_and_fall
from ..text.typesetting import ADVANCES, CAPS, MONO, pitch
from .atlas import Glyph, draw_font, place_glyphs, text_width
from .composite import RGB, Layer, glyph_layer
from .palettes import mix, rgb
from .words import draw_text

CARRIERS = ("post", "hanging", "billboard", "banner", "label", "price tag", "bubble", "neon", "title")
KINDS = {"label": "label", "price tag": "price tag", "bubble": "bubble", "title": "title"}  # the rest are signs
SMALLEST_CAP = 10.5  # design px
BOARDS = (  # (fill, ink, ink's name)
    ("#f8f4e9", "#22313f", "black"),
    ("#2f6b4f", "#fbf7ea", "white"),
    ("#b03a3a", "#fff6e8", "white"),
    ("#f4c542", "#2b2b2b", "black"),
    ("#24557a", "#ffffff", "white"),
    ("#8a5a34", "#fff3dc", "white"),
    ("#ffffff", "#c0302a", "red"),
    ("#ffffff", "#1f5fa8", "blue"),
    ("#23252b", "#f7d070", "yellow"),
    ("#fbeed6", "#7a4a1e", "brown"),
    ("#e4f0e2", "#22683a", "green"),
    ("#f3e4f5", "#6a2f8c", "purple"),
)
NEONS = (
    ("#ff5fa2", "pink"),
    ("#6fd8ff", "blue"),
    ("#ffd84d", "yellow"),
    ("#7dff8a", "green"),
    ("#ff9a4d", "orange"),
    ("#ff5a4d", "red"),
)
WOOD = rgb("#7a5233")
STEEL = rgb("#6d747c")


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A text with the room it takes, in design pixels."""

    text: str
    lines: list[str]
    script: str
    font: str
    cap: float
    width: float
    height: float


def type_size(cap: float, font: str) -> float | None:
    """The largest cap height in design px, at most `cap`, that the font comes in; None below SMALLEST_CAP."""
    advance = text_width("0", font)
    sizes = (step / advance for step in ADVANCES) if font == MONO else CAPS
    return max((size for size in sizes if SMALLEST_CAP <= size <= cap + 0.01), default=None)


def fit_text(
    random: Random,
    split: str,
    width: float,
    caps: tuple[float, float],
    longest: int = 12,
    word: bool = False,
    wrapped: bool = True,
) -> Fitted | None:
    """Draw a text that fits `width` at a cap height within `caps`, or None after some tries.

    `word` keeps to one word; `wrapped` allows two lines.
    """
    script = "latin" if random.random() > 0.1 else "hangul"
    font = draw_font(random, script)
    longest = max(2, min(longest, int(width / (caps[0] * 0.72))))
    for _ in range(8):
        text = draw_text(random, split=split, script=script, longest=longest)
        if word and " " in text:
            continue
        lines = wrap(text) if wrapped and len(text) > 7 and random.random() < 0.7 else [text]
        units = max(text_width(line, font) for line in lines)
        rise, fall = rise_and_fall(lines, script)
        most = min(random.triangular(caps[0], caps[1], caps[1]), width / units)
        cap = type_size(min(most, caps[1] * 0.7) if len(lines) > 1 else most, font)
        if cap is not None:
            height = cap * (rise + fall) + pitch(cap) * (len(lines) - 1)
            return Fitted(text=text, lines=lines, script=script, font=font, cap=cap, width=cap * units, height=height)
    return None


def wrap(text: str) -> list[str]:
    """Two lines, cut at the space nearest the middle; one where there is no space."""
    spaces = [i for i, letter in enumerate(text) if letter == " "]
    if not spaces:
        return [text]
    cut = min(spaces, key=lambda i: abs(i - len(text) / 2))
    return [text[:cut], text[cut + 1 :]]


def text_spec(
    fitted: Fitted, carrier: str, x: float, y: float, design: tuple[float, float], ink: tuple[str, str]
) -> dict[str, Any]:
    """The spec of a text whose ink box has its corner at (x, y); `ink` is (colour, its name)."""
    return {
        "text": fitted.text,
        "lines": fitted.lines,
        "box": fractions((x, y, x + fitted.width, y + fitted.height), design),
        "kind": KINDS.get(carrier, "sign"),
        "carrier": carrier,
        "script": fitted.script,
        "font": fitted.font,
        "cap": round(fitted.cap / design[1], 5),
        "colour": ink[1],
        "ink": ink[0],
        "on": None,
    }


def fractions(box: tuple[float, float, float, float], design: tuple[float, float]) -> list[float]:
    """A box of design pixels in fractions of the picture."""
    return [round(side / design[i % 2], 4) for i, side in enumerate(box)]


def carrier_layers(text: dict[str, Any], design: tuple[float, float], scale: float) -> list[Layer]:
    """The carrier, then the glyphs."""
    wide, high = design[0] * scale, design[1] * scale
    layers: list[Layer] = []
    if "board" in text:
        layers += board_layers(text, (wide, high), scale)
    x0, y0, x1, _ = (side * length for side, length in zip(text["box"], (wide, high, wide, high), strict=True))
    cap = text["cap"] * high
    rise, _ = rise_and_fall(text["lines"], text["script"])
    if text["carrier"] == "neon":
        layers += glyph_layers(
            text, (x0 + x1) / 2, y0 + rise * cap, cap, rgb(text["ink"]), scale, soft=2.0, opacity=0.9
        )
        ink = mix(rgb(text["ink"]), (1.0, 1.0, 1.0), 0.25)
    else:
        ink = rgb(text["ink"])
    return layers + glyph_layers(text, (x0 + x1) / 2, y0 + rise * cap, cap, ink, scale)


def glyph_layers(
    text: dict[str, Any], centre: float, baseline: float, cap: float, ink: RGB, scale: float, **rest: float
) -> list[Layer]:
    """All glyphs of a text."""
    placed = pens(text, centre, baseline, cap, scale)
    return [glyph_layer(glyph, x, foot, cap, colour=ink, depth=0.3, **rest) for _, glyph, x, foot in placed]


def pens(
    text: dict[str, Any], centre: float, baseline: float, cap: float, scale: float
) -> Iterator[tuple[str, Glyph, float, float]]:
    """Every letter of a text with its glyph, pen and baseline, lines centred; pens stand on whole design pixels, lines on half
    cells."""
    for number, line in enumerate(text["lines"]):
        start = round((centre - text_width(line, text["font"]) * cap / 2) / (4 * scale)) * 4
        foot = baseline + number * pitch(cap / scale) * scale
        for letter, (glyph, pen) in zip(line.replace(" ", ""), place_glyphs(line, text["font"]), strict=True):
            yield letter, glyph, (start + round(pen * cap / scale)) * scale, foot


def board_layers(text: dict[str, Any], size: tuple[float, float], scale: float) -> list[Layer]:
    """What the text is written on, and what holds that."""
    wide, high = size
    x0, y0, x1, y1 = (side * length for side, length in zip(text["board"], (wide, high, wide, high), strict=True))
    x, y, a, b = (x0 + x1) / 2, (y0 + y1) / 2, (x1 - x0) / 2, (y1 - y0) / 2
    fill, carrier = rgb(text["fill"]), text["carrier"]
    dark = mix(fill, (0.0, 0.0, 0.0), 0.3)
    layers: list[Layer] = []

    def shape(kind: str, x: float, y: float, a: float, b: float, colour: RGB, **rest: float) -> None:
        layers.append(Layer(kind, x, y, a, b, colour=colour, depth=0.35, **rest))

    def rope(x: float, top: float, bottom: float, thick: float, colour: RGB) -> None:
        shape("box", x, (top + bottom) / 2, thick * scale, (bottom - top) / 2, colour)

    radius = 2.5 * scale
    if carrier == "hanging":
        rope(x - a * 0.7, 0, y0 + scale, 0.5, STEEL)
        rope(x + a * 0.7, 0, y0 + scale, 0.5, STEEL)
    if carrier == "post":
        foot = text["foot"] * high
        shape("ellipse", x, foot, 7 * scale, 1.8 * scale, (0.05, 0.05, 0.08), opacity=0.35, soft=2 * scale)
        rope(x, y, foot, 1.8, WOOD)
    if carrier == "billboard":
        foot = text["foot"] * high
        for side in (-0.72, 0.72):
            shape(
                "ellipse", x + a * side, foot, 5 * scale, 1.4 * scale, (0.05, 0.05, 0.08), opacity=0.3, soft=2 * scale
            )
            rope(x + a * side, y, foot, 1.3, STEEL)
    if carrier == "bubble":
        tx, ty = text["tail"][0] * wide, text["tail"][1] * high
        radius = min(b, 9 * scale)
        base = min(max(tx, x0 + radius + 4 * scale), x1 - radius - 4 * scale)
        shape("triangle", base, (y1 + ty) / 2 - scale, 4.5 * scale, (ty - y1) / 2 + scale, fill, rotation=180.0)
    if carrier == "price tag":
        shape("triangle", x0 - b * 0.5, y, b, b * 0.52, fill, rotation=-90.0)
    if carrier not in ("bubble", "neon"):
        shape("box", x, y + 1.2 * scale, a, b, (0.05, 0.05, 0.08), radius=radius, opacity=0.25, soft=3 * scale)
    if carrier == "banner":
        for side in (-1, 1):
            shape("box", x + side * a, y + 3 * scale, 7 * scale, b, dark, radius=scale)
        radius = 0.8 * scale
    if carrier == "neon":
        shape(
            "box", x, y, a + 4 * scale, b + 4 * scale, rgb(text["ink"]), radius=6 * scale, opacity=0.22, soft=14 * scale
        )
    shape("box", x, y, a, b, fill, radius=min(radius, b))
    if carrier in ("post", "hanging", "billboard", "label"):
        inset, edge = 1.6 * scale, 0.8 * scale
        ink = mix(fill, rgb(text["ink"]), 0.75)
        shape("box", x, y, a - inset, b - inset, ink, radius=1.6 * scale)
        shape("box", x, y, a - inset - edge, b - inset - edge, fill, radius=1.2 * scale)
    if carrier == "price tag":
        shape("ellipse", x0 - b * 0.2, y, 1.5 * scale, 1.5 * scale, dark)
    return layers
