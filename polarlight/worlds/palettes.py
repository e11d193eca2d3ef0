"""The hand-picked colours of the posters world, and which of them a setting shows.

{"kind": one of SCENERY, "time": one of TIMES, "weather": one of WEATHERS, "palette": name, "horizon": 0..1, "variant": n,
 "wall": the name of its colour, in a room, "window": where it is across the room, 0..1, or None}
{"kind": "flat", "pattern": one of PATTERNS, "palette": name, "colour": name of the ground's colour, "margin": px, "variant": n}
"""

from __future__ import annotations

from typing import Any

from .composite import RGB

Setting = dict[str, Any]
SCENERY = ("meadow", "hills", "sea", "beach", "street", "room", "desert", "snow field")
TIMES = ("day", "sunset", "night")
WEATHERS = ("clear", "sun", "clouds", "rain", "snow")
PATTERNS = ("solid", "gradient", "dots", "stripes", "checks", "disc", "halves")


def rgb(code: str) -> RGB:
    """ "#rrggbb" as three numbers 0..1."""
    return tuple(int(code[i : i + 2], 16) / 255 for i in (1, 3, 5))  # type: ignore[return-value]


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """`share` of b in a."""
    return tuple(p + (q - p) * share for p, q in zip(a, b, strict=True))  # type: ignore[return-value]


SKIES = {  # (top, at the horizon)
    "day": (("#5aa6e6", "#d8eefa"), ("#7cc3ec", "#f4f1dc"), ("#8cb6de", "#ebe4f0"), ("#4b99d4", "#bde5ec")),
    "sunset": (("#5b4b8a", "#f7a072"), ("#2e4374", "#f2b880"), ("#c85f4a", "#f9c784"), ("#6a4c93", "#f4a0b8")),
    "night": (("#0b1536", "#2e3f74"), ("#121a3a", "#44447c"), ("#0a1630", "#1f4e78")),
    "rain": (("#7c90a4", "#c3ced6"), ("#74869a", "#d2d6d8")),
    "snow": (("#a9bace", "#e6ecf2"), ("#b4bfd0", "#f0eef0")),
}
GROUNDS = {  # kind -> palette -> (top, bottom) of each ridge, far to near
    "meadow": {
        "green": (("#a4cf86", "#5f9e4c"),),
        "spring": (("#c6df8f", "#86b954"),),
        "straw": (("#e8d492", "#bf9a4e"),),
    },
    "hills": {
        "green": (("#a9d2b0", "#8fc49a"), ("#8ac07a", "#6dab5e"), ("#6aa757", "#437f3b")),
        "autumn": (("#ecc98d", "#dfb36c"), ("#dd9d52", "#cb843c"), ("#b8713a", "#8a4f2a")),
        "teal": (("#b2d8d4", "#97c8c4"), ("#72b3aa", "#559c92"), ("#458a80", "#2c665f")),
        "violet": (("#c5bfe0", "#b0a8d4"), ("#9a94c4", "#817ab0"), ("#7aa06a", "#557d4c")),
    },
    "sea": {"blue": (("#5fb0d6", "#20639b"),), "green": (("#7cc7c0", "#23807f"),), "slate": (("#8fa9bf", "#3f6484"),)},
    "beach": {
        "gold": (("#58b4d0", "#8fd6da"), ("#f4e2b8", "#e3c283")),
        "pale": (("#4c9fc4", "#a4dbdf"), ("#f8ecd4", "#e8d2a6")),
    },
    "desert": {
        "sand": (("#f0d09a", "#e6bd7c"), ("#e2b06a", "#d59a50"), ("#cf9250", "#b0713a")),
        "red": (("#eeb48c", "#e29a6c"), ("#d8845a", "#c46c44"), ("#b65f3c", "#8f432a")),
    },
    "snow field": {
        "white": (("#dfe9f4", "#d3e0ee"), ("#eef4fa", "#dfe9f4"), ("#ffffff", "#dbe6f1")),
        "rose": (("#e6dcec", "#dcd2e6"), ("#f4ecf4", "#e8e0ee"), ("#fffafc", "#e6e0ec")),
    },
    "street": {
        "grey": (("#d8d3ca", "#c2bcb2"), ("#7d828c", "#5b606a")),
        "warm": (("#e6d6c2", "#d0bca4"), ("#8a7f7a", "#675e5a")),
    },
    "room": {
        "mint": (("#ffffff", "#f2f2ee"), ("#d8b084", "#b98c5e")),
        "cream": (("#fffaf0", "#f4ecdc"), ("#b88a62", "#8f6644")),
        "blue": (("#ffffff", "#f0f2f6"), ("#c9b8a4", "#a8937c")),
        "rose": (("#fffafa", "#f6ecec"), ("#c4a184", "#a07c60")),
        "grey": (("#fafafa", "#eeeeee"), ("#9a8f88", "#776c66")),
    },
}
WALLS = {  # palette of a room -> (the wall's colour by name, at the top, at the floor)
    "mint": ("green", "#cfe8dc", "#bfdccf"),
    "cream": ("yellow", "#f8e6b4", "#f0d896"),
    "blue": ("blue", "#b8d2ec", "#a4c2e2"),
    "rose": ("pink", "#f6cfcf", "#eebdbe"),
    "grey": ("grey", "#d6d9de", "#c6cad1"),
}
BUILDINGS = ("#c98f70", "#d9b48a", "#a7b4bf", "#8fa7b8", "#c9a9a0", "#b5b08e", "#9c8fa6", "#d8c6a8")
FLATS = {  # palette -> (name of the ground's colour, ground, second, margin, ink, ink's name)
    "sky": ("blue", "#a9d3f0", "#c8e4f7", "#fdfaf2", "#1d3c63", "blue"),
    "denim": ("blue", "#3f6fb0", "#4c7dbf", "#f6efe0", "#fffaf0", "white"),
    "navy": ("blue", "#24365e", "#2d4270", "#e9c46a", "#f7e3a8", "yellow"),
    "mint": ("green", "#bfe3cf", "#d3eedf", "#fffdf6", "#1f5a44", "green"),
    "forest": ("green", "#2f6b4f", "#3a7a5c", "#f2e8cf", "#fbf5e4", "white"),
    "lime": ("green", "#cfe08a", "#dceaa4", "#ffffff", "#3d5a1e", "green"),
    "lemon": ("yellow", "#fbe38e", "#fdedb2", "#ffffff", "#5a4210", "brown"),
    "honey": ("yellow", "#f5c84b", "#f8d670", "#fff8e6", "#2b2b2b", "black"),
    "apricot": ("orange", "#f9c295", "#fbd3b0", "#fff6ec", "#7a3410", "brown"),
    "tangerine": ("orange", "#ef8e45", "#f39f5e", "#fff3e2", "#fffaf2", "white"),
    "coral": ("red", "#e2675a", "#e97c70", "#fff1e6", "#fffaf4", "white"),
    "brick": ("red", "#b03a3a", "#bd4b49", "#f7e6d0", "#fdf3e2", "white"),
    "blush": ("pink", "#f7c9cf", "#fadadf", "#fffafa", "#8c2f4d", "red"),
    "rose": ("pink", "#ee9db4", "#f2b0c3", "#fff4f6", "#5c1f3a", "purple"),
    "lilac": ("purple", "#d6c6ec", "#e2d6f3", "#fdfbff", "#4b2f7a", "purple"),
    "plum": ("purple", "#6b4a8f", "#795a9b", "#f4e6f6", "#fdf6ff", "white"),
    "paper": ("white", "#faf7f0", "#efe9dc", "#d8634a", "#2b2b2b", "black"),
    "ivory": ("white", "#fffdf8", "#f3eee2", "#2f6b6b", "#1f4d4d", "green"),
    "stone": ("grey", "#d3d5d8", "#dfe1e3", "#ffffff", "#33383f", "black"),
    "slate": ("grey", "#6d7783", "#7a8490", "#f2f0ea", "#ffffff", "white"),
    "kraft": ("brown", "#c9a67a", "#d3b48c", "#f9f1e2", "#3d2814", "brown"),
    "cocoa": ("brown", "#5f4231", "#6d4f3d", "#efdcc3", "#fbeeda", "white"),
    "ink": ("black", "#23252b", "#2d3037", "#f2c14e", "#ffffff", "white"),
}


def light_of(setting: Setting) -> RGB:
    """What multiplies the colours of the objects."""
    if setting["kind"] in ("flat", "room"):
        return (1.0, 1.0, 1.0)
    return {"day": (1.0, 1.0, 1.0), "sunset": (1.0, 0.93, 0.88), "night": (0.82, 0.86, 0.98)}[setting["time"]]


def sky_of(setting: Setting) -> tuple[RGB, RGB]:
    """The sky's colours at the top and at the horizon; in a room, the wall's."""
    if setting["kind"] == "room":
        return tuple(map(rgb, WALLS[setting["palette"]][1:]))  # type: ignore[return-value]
    grey = setting["weather"] in ("rain", "snow") and setting["time"] == "day"
    skies = SKIES[setting["weather"] if grey else setting["time"]]
    return tuple(map(rgb, skies[setting["variant"] % len(skies)]))  # type: ignore[return-value]


def ridges_of(setting: Setting) -> list[tuple[RGB, RGB]]:
    """Colours of each ridge, top and bottom, far to near, in the light of the hour."""
    colours = GROUNDS[setting["kind"]][setting["palette"]]
    if setting["kind"] == "room":
        return [(rgb(top), rgb(bottom)) for top, bottom in colours]
    haze, cast, dim = sky_of(setting)[1], light_cast(setting), 0.35
    lit = [tuple(tuple(p * q for p, q in zip(rgb(code), cast, strict=True)) for code in pair) for pair in colours]
    shares = [dim * (len(lit) - 1 - i) / max(1, len(lit) - 1) for i in range(len(lit))]
    return [(mix(top, haze, share), mix(bottom, haze, share)) for (top, bottom), share in zip(lit, shares, strict=True)]


def light_cast(setting: Setting) -> RGB:
    """What multiplies the colours of the ground."""
    if setting["time"] == "night":
        return (0.3, 0.38, 0.55)
    if setting["time"] == "sunset":
        return (0.95, 0.78, 0.74)
    return (0.9, 0.93, 0.96) if setting["weather"] == "rain" else (1.0, 1.0, 1.0)


def shadow_colour(setting: Setting) -> RGB:
    """The ground's own colour, far darker."""
    return mix(ridges_of(setting)[-1][1], mix(sky_of(setting)[0], (0.0, 0.0, 0.05), 0.7), 0.75)
