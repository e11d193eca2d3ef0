"""What stands between a poster's backdrop and its objects, and the weather before them, as layers for the compositor."""

from __future__ import annotations

from random import Random

from .composite import RGB, Layer
from .palettes import BUILDINGS, Setting, mix, rgb, sky_of

WHITE = (1.0, 1.0, 1.0)
RUGS = ("#c56b5c", "#5f8ea8", "#d9a441", "#6f9a78", "#8d78a8")


class Furnisher:
    """Collects the furniture of one setting; lengths in design pixels."""

    def __init__(self, setting: Setting, design: tuple[float, float], scale: float) -> None:
        self.setting, self.scale = setting, scale
        self.random = Random(setting["variant"] + 1)
        self.wide, self.high = design
        self.horizon = setting["horizon"] * self.high
        self.low_sky = sky_of(setting)[1]
        self.night = setting["time"] == "night"
        self.layers: list[Layer] = []

    def shape(
        self, kind: str, x: float, y: float, a: float, b: float, colour: RGB, opacity: float = 1.0, **lengths: float
    ) -> None:
        """Add a shape about (x, y) with half width a and half height b; `lengths` are soft and radius."""
        scale = self.scale
        scaled = {name: length * scale for name, length in lengths.items()}
        layer = Layer(kind, x * scale, y * scale, a * scale, b * scale, colour=colour, opacity=opacity, **scaled)
        layer.depth = 0.98
        self.layers.append(layer)

    def stars(self) -> None:
        for _ in range(26):
            size, x, y = self.random.choice((0.45, 0.6, 0.9)), self.random.random(), self.random.random()
            bright = self.random.uniform(0.4, 1)
            self.shape("ellipse", x * self.wide, y * self.horizon * 0.8, size, size, (1.0, 0.98, 0.9), bright)

    def setting_sun(self) -> None:
        x, size = self.random.uniform(0.2, 0.8) * self.wide, self.random.uniform(8, 14)
        y, glow = self.horizon - size * 0.3, size * 2.4
        self.shape("ellipse", x, y, glow, glow, rgb("#ffe3a8"), 0.5, soft=glow)
        self.shape("ellipse", x, y, size, size, rgb("#fff0c4"))

    def high_sun(self) -> None:
        x, y = self.random.uniform(0.12, 0.88) * self.wide, self.random.uniform(0.16, 0.3) * self.horizon
        size = self.random.uniform(7, 10)
        self.shape("ellipse", x, y, size * 2.2, size * 2.2, rgb("#fff2b8"), 0.6, soft=size * 2.6)
        self.shape("ellipse", x, y, size, size, rgb("#ffe27a"))

    def clouds(self) -> None:
        white = mix(WHITE, self.low_sky, 0.25 if self.setting["time"] == "day" else 0.7)
        for _ in range(self.random.choice((2, 3))):
            x, y = self.random.uniform(0, self.wide), self.random.uniform(0.08, 0.55) * self.horizon
            size = self.random.uniform(6, 10)
            for dx, dy, r in ((-1.1, 0.2, 0.65), (1.1, 0.25, 0.6), (0, 0, 1), (0.55, 0.1, 0.8)):
                self.shape("ellipse", x + dx * size, y + dy * size, r * size, r * size * 0.75, white, 0.9, soft=1.5)

    def street(self) -> None:
        """Houses side by side, hazy, with rows of windows, some of them lit at night."""
        x = -self.random.uniform(0, 12)
        while x < self.wide:
            wide, high = self.random.uniform(20, 34), self.random.uniform(0.35, 0.85) * self.horizon
            wall = mix(rgb(self.random.choice(BUILDINGS)), self.low_sky, 0.35)
            wall = mix(wall, (0.0, 0.0, 0.1), 0.6) if self.night else wall
            self.shape("box", x + wide / 2, self.horizon - high / 2, wide / 2, high / 2 + 0.5, wall)
            pane = rgb("#ffe08a") if self.night else mix(wall, WHITE, 0.45)
            columns, rows = int((wide - 5) / 7), int((high - 8) / 10)
            for place in range(columns * rows):
                row, column = divmod(place, columns)
                if not self.night or self.random.random() < 0.6:
                    across = x + wide * (column + 1) / (columns + 1)
                    self.shape("box", across, self.horizon - high + 8 + 10 * row, 1.6, 2.4, pane, 0.85)
            x += wide

    def glints(self) -> None:
        """Short bright lines on the water, longer the nearer."""
        for _ in range(14):
            near, x = self.random.random(), self.random.uniform(0, self.wide)
            y = self.horizon + 3 + near * (self.high - self.horizon - 5)
            self.shape("box", x, y, 3 + 5 * near, 0.4 + 0.3 * near, WHITE, 0.28, radius=0.4)

    def window(self) -> None:
        x, y = self.setting["window"] * self.wide, self.horizon * 0.42
        a, b = self.random.uniform(11, 15), min(self.horizon * 0.3, self.random.uniform(14, 19))
        self.shape("box", x, y, a + 2, b + 2, WHITE, radius=1)
        self.shape("box", x, y, a, b, rgb("#a9d4ee"))
        self.shape("ellipse", x - a * 0.3, y + b * 0.45, a * 0.45, b * 0.2, WHITE, 0.8, soft=2)
        self.shape("box", x, y, 0.8, b, WHITE)
        self.shape("box", x, y, a, 0.8, WHITE)
        self.shape("box", x, y + b + 2.5, a + 4, 1.4, (0.97, 0.97, 0.95), radius=0.6)

    def rug(self) -> None:
        y, half = (self.horizon + self.high) / 2 + 4, (self.high - self.horizon) * 0.32
        colour = rgb(self.random.choice(RUGS))
        self.shape("ellipse", self.wide / 2, y, self.wide * 0.4, half, colour)
        self.shape("ellipse", self.wide / 2, y, self.wide * 0.35, half * 0.78, mix(colour, WHITE, 0.25))


def furniture(setting: Setting, design: tuple[float, float], scale: float) -> list[Layer]:
    """What stands between the backdrop and the objects: a window and a rug, or stars, sun, clouds, houses, glints."""
    if setting["kind"] == "flat":
        return []
    furnisher = Furnisher(setting, design, scale)
    if setting["kind"] == "room":
        if setting["window"] is not None:
            furnisher.window()
        if setting["variant"] % 2:
            furnisher.rug()
        return furnisher.layers
    weather = setting["weather"]
    if setting["time"] == "night":
        furnisher.stars()
    if setting["time"] == "sunset" and weather in ("clear", "clouds"):
        furnisher.setting_sun()
    if weather == "sun":
        furnisher.high_sun()
    if weather in ("clouds", "rain", "snow"):
        furnisher.clouds()
    if setting["kind"] == "street":
        furnisher.street()
    if setting["kind"] == "sea":
        furnisher.glints()
    return furnisher.layers


def weather_layers(setting: Setting, design: tuple[float, float], scale: float) -> list[Layer]:
    """Rain and snow, in front of everything."""
    if setting["kind"] in ("flat", "room") or setting["weather"] not in ("rain", "snow"):
        return []
    random = Random(setting["variant"] + 2)
    layers = []
    for _ in range(30 if setting["weather"] == "rain" else 34):
        x, y = random.uniform(0, design[0]) * scale, random.uniform(0, design[1]) * scale
        if setting["weather"] == "rain":
            layers.append(
                Layer(
                    "box",
                    x,
                    y,
                    0.45 * scale,
                    random.uniform(2.5, 4.5) * scale,
                    12,
                    colour=(0.9, 0.95, 1.0),
                    opacity=0.5,
                    radius=0.4 * scale,
                )
            )
        else:
            size = random.uniform(0.7, 1.5) * scale
            layers.append(Layer("ellipse", x, y, size, size, colour=WHITE, opacity=0.9, soft=1.2 * scale))
    return layers
