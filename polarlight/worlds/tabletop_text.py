"""Choosing a text for a tabletop scene, and the bottle, mug or sign that is large enough to carry it legibly."""

from __future__ import annotations

from random import Random

from .atlas import draw_font
from .scene import ASPECTS, Spec
from .tabletop_labels import block_size
from .tabletop_shapes import SIGN_FOOT, shape
from .tabletop_stage import DISTANCE
from .words import draw_text

LEAST_CAP = 10.4  # px at the 128 scale, as the camera sees it
LABELS = (  # label, letters
    ("white", "black"), ("white", "red"), ("white", "blue"), ("white", "green"), ("white", "purple"),
    ("black", "white"), ("black", "yellow"), ("yellow", "black"), ("red", "white"), ("blue", "white"),
    ("green", "white"), ("pink", "black"), ("purple", "white"), ("brown", "white"), ("orange", "black"),
)  # fmt: skip
INKS = {  # letters that can be read on a colour
    "red": ("white", "black"), "orange": ("black", "white"), "yellow": ("black", "blue"), "green": ("white",),
    "blue": ("white", "yellow"), "purple": ("white", "yellow"), "pink": ("black", "purple"),
    "brown": ("white", "yellow"), "black": ("white", "yellow", "pink"), "white": ("black", "red", "blue", "green"),
    "grey": ("black", "white"), None: ("black",),
}  # fmt: skip
PAD = 0.75  # cap heights between text and the label's edge
ARC = 0.95  # radians of a cylinder, either side of its front, that may carry text


def write_text(random: Random, spec: Spec, split: str) -> bool:
    """Give object 0 a text and the size that the text needs; False where no text of the draws fits."""
    carrier = spec["objects"][0]
    pixels = 64 if spec["aspect"] == "1:1" else 8 * min(ASPECTS[spec["aspect"]])  # per unit, at the 128 scale
    longest = 14 if carrier["name"] == "sign" else 13
    two_words = random.random() < 0.35
    for attempt in range(30):
        script = "hangul" if random.random() < 0.1 else "latin"
        words = draw_text(random, split=split, script=script, longest=longest if script == "latin" else 7)
        if attempt < 22 and two_words and " " not in words:
            continue
        lines = break_lines(random, words)
        font = draw_font(random, script)
        cap = LEAST_CAP / pixels * random.choice((1.0, 1.3, 1.6, 1.9) if block_size(lines, font)[0] < 4 else (1.0, 1.3))
        grown = carry(random, spec, lines, font, cap)
        if grown is None:
            continue
        text, item = grown
        text.update(text=" ".join(lines), box=[0.0, 0.0, 1.0, 1.0], script=script, on=0)
        spec["objects"] = [item, *spec["objects"][1:]]
        spec["texts"] = [text]
        return True
    return False


def break_lines(random: Random, text: str) -> list[str]:
    """One line, or two of about the same length."""
    words = text.split()
    if len(words) < 2 or (len(text) <= 6 and random.random() < 0.5):
        return [text]
    cut = min(range(1, len(words)), key=lambda at: abs(len(" ".join(words[:at])) - len(" ".join(words[at:]))))
    return [" ".join(words[:cut]), " ".join(words[cut:])]


def carry(random: Random, spec: Spec, lines: list[str], font: str, cap: float) -> tuple[Spec, Spec] | None:
    """(text, carrier) for lines whose capitals are at least `cap` high at z = 0; None where it would be too large."""
    carrier = dict(spec["objects"][0])
    across, down = ASPECTS[spec["aspect"]]
    room = (2 * across / min(across, down) * 0.9, 2 * down / min(across, down) * 0.86)
    wide, high = block_size(lines, font)
    name = carrier["name"]
    if name == "sign":
        cap *= random.choice((1.0, 1.2, 1.5))
        need, tall = (wide + 2 * PAD) * cap, (high + 2 * PAD) * cap
        size = max(tall / (1 - SIGN_FOOT) + 0.05, 0.55)
        carrier.update(size=size, girth=round(max(need, size * 0.8, 0.8) / size + 0.04, 2))
        spare = min(room[0] / (carrier["girth"] * size), room[1] / size)
    else:
        need = (wide / 2 + 0.5 * PAD) * cap
        radius = max(need / ARC, random.choice((0.38, 0.44, 0.5)))
        stocky = (0.36, 0.4, 0.44, 0.48) if name == "bottle" else (0.42, 0.46, 0.5)
        handle = 1.0 if name == "bottle" else 1.32
        girth = random.choice([g for g in stocky if radius / g <= room[1]] or stocky[-1:])
        carrier.update(girth=girth, size=radius / girth)
        spare = min(room[0] / (2 * radius * handle), room[1] * girth / radius)
    if spare < 1:
        return None
    solid = shape(name, carrier["variant"], carrier["girth"])
    assert solid.label is not None
    middle, tallest, _ = solid.label
    # the front of a bottle is nearer than its axis, so its text is seen larger than `cap`
    local_cap = cap * (1 - solid.curve * carrier["size"] * 0.6 / DISTANCE) / carrier["size"]
    half = [
        round(min((wide / 2 + PAD) * local_cap, (ARC + 0.22) * solid.curve or 9.0), 4),
        round((high / 2 + PAD) * local_cap, 4),
    ]
    if half[1] > tallest:
        return None
    grow = min(spare * random.choice((0.8, 0.95)), 1.8) if len(spec["objects"]) == 1 else 1.0
    carrier["size"] = round(carrier["size"] * max(1.0, grow), 4)
    background, colour = choose_ink(random, carrier, spec)
    text = {
        "kind": "sign" if name == "sign" else "label",
        "colour": colour,
        "lines": lines,
        "font": font,
        "cap": round(local_cap, 4),
        "middle": round(middle, 4),
        "half": half if background else [half[0], tallest],
        "background": background,
        "frame": background is not None and random.random() < 0.35,
    }
    return text, carrier


def choose_ink(random: Random, carrier: Spec, spec: Spec) -> tuple[str | None, str]:
    """(label colour or None for print on the thing itself, colour of the letters)."""
    direct = carrier["name"] == "sign" or (
        carrier["name"] == "mug" and carrier["material"] == "matte" and random.random() < 0.6
    )
    if direct and carrier["material"] != "metal":
        return None, random.choice(INKS[carrier["colour"]])
    return random.choice([pair for pair in LABELS if pair[0] != carrier["colour"]])
