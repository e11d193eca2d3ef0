"""What is written in a scene, letter by letter as it is drawn, and the glyphs of faces, for who is to learn to write."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ..text.lettering import BASELINE, CANVAS, CAP, PEN, rise_and_fall
from ..text.plan import Box
from ..text.typesetting import MONO, Letter, Setting
from .atlas import GLYPH_CAP, glyph_levels, index, place_glyphs, text_width
from .carriers import pens
from .scene import Spec
from .tabletop_labels import LINE, block_size, label_points
from .tabletop_layout import half_extent, place, project

SHRINK = GLYPH_CAP // CAP
NARROW, HANGUL = "sans", "rounded"


def plain_letters() -> str:
    """Every letter that a font has."""
    return "".join(sorted({letter for font in index()["fonts"].values() for letter in font["glyphs"]}))


def plain_faces() -> dict[str, str]:
    """The faces to write in, in the order in which they are tried, each with its letters."""
    known = index()["fonts"]
    latin = "".join(sorted(known[MONO]["glyphs"]))
    return {MONO: latin, NARROW: latin, HANGUL: "".join(sorted(set(known[HANGUL]["glyphs"])))}


def face_glyphs(faces: dict[str, str]) -> tuple[Float[Tensor, "n h w"], Float[Tensor, " n"], Float[Tensor, " f"]]:
    """Of all letters of the faces, one after another: coverage 0..255 in the canvas of `text.lettering`, and how far the pen goes
    in cap heights; and the width of each face's space."""
    known = index()["fonts"]
    pairs = [(face, letter) for face, letters in faces.items() for letter in letters]
    glyphs = torch.stack([glyph(*pair) for pair in pairs]).round()
    advances = torch.tensor([known[face]["glyphs"][letter][6] for face, letter in pairs]) / GLYPH_CAP
    return glyphs, advances, torch.tensor([known[face]["space"] for face in faces]) / GLYPH_CAP


@cache
def glyph(face: str, letter: str) -> Float[Tensor, "h w"]:
    """Coverage 0..255 of a letter."""
    x, y, width, height, left, top, _ = index()["fonts"][face]["glyphs"][letter]
    canvas = torch.zeros([SHRINK * side for side in CANVAS])
    part = canvas[SHRINK * BASELINE + top :, SHRINK * PEN + left :][:height, :width]
    part.copy_(glyph_levels("cpu")[0][0, 0, y : y + height, x : x + width][: part.shape[0], : part.shape[1]])
    return F.avg_pool2d(canvas[None], SHRINK)[0] * 255


def setting_of(spec: Spec, size: tuple[int, int], only: Collection[str] | None = None) -> Setting:
    """The texts of a scene as they are drawn in a picture of `size` (height, width) px of the 128 px family. only: these words."""
    letters, boards = list[Letter](), list[Box]()
    for text in spec["texts"]:
        if only is None or " ".join(text["text"].split()) in only:
            write = _on_poster if spec["world"] == "posters" else _on_table
            board = write(spec, text, size, letters)
            boards += [board] if board else []
    return Setting(letters=tuple(letters), boards=tuple(boards))


def _on_poster(spec: Spec, text: Spec, size: tuple[int, int], letters: list[Letter]) -> Box | None:
    """Put the letters of a poster's text; returns its board."""
    high, wide = size
    cap, face = text["cap"] * high, text["font"]
    rise, _ = rise_and_fall(text["lines"], text["script"])
    middle = (text["box"][0] + text["box"][2]) / 2 * wide
    letters += [
        Letter(face=face, letter=letter, x=x, baseline=foot, cap=cap, across=cap)
        for letter, _, x, foot in pens(text, middle, text["box"][1] * high + rise * cap, cap, 1.0)
    ]
    if "board" not in text:
        return None
    x0, y0, x1, y1 = text["board"]
    return x0 * wide, y0 * high, x1 * wide, y1 * high


def _on_table(spec: Spec, text: Spec, size: tuple[int, int], letters: list[Letter]) -> Box | None:
    """Put the letters of a label, each as it is seen where it stands; returns the label."""
    placed, face, cap = place(spec["objects"][text["on"]]), text["font"], text["cap"]
    _, high = block_size(text["lines"], face)

    def seen(u: Sequence[float], v: Sequence[float]) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """Where points of the label lie in the picture, px."""
        points = placed.world(label_points(placed.shape, torch.tensor(u), text["middle"] + torch.tensor(v)))
        right, up, _ = project(spec["setting"], points)
        half = half_extent(spec["aspect"])
        return (right / half[0] + 1) / 2 * size[1], (1 - up / half[1]) / 2 * size[0]

    for number, line in enumerate(text["lines"]):
        said, foot = line.replace(" ", ""), cap * (high / 2 - 1 - LINE * number)
        starts = [cap * (pen - text_width(line, face) / 2) for _, pen in place_glyphs(line, face)]
        steps = [cap * text_width(letter, face) for letter in said]
        ends, middles = ([pen + share * step for pen, step in zip(starts, steps, strict=True)] for share in (1.0, 0.5))
        count = len(said)
        x, y = seen([*starts, *ends, *middles], [foot] * 2 * count + [foot + cap] * count)
        for at, letter in enumerate(said):
            left, right, baseline = float(x[at]), float(x[count + at]), float(y[at] + y[count + at]) / 2
            across = (right - left) * cap / steps[at]
            letters.append(
                Letter(
                    face=face,
                    letter=letter,
                    x=left,
                    baseline=baseline,
                    cap=baseline - float(y[2 * count + at]),
                    across=across,
                )
            )
    if text["background"] is None and text["kind"] != "sign":
        return None
    wide, tall = text["half"]
    x, y = seen([-wide, 0.0, wide, -wide, 0.0, wide], [-tall] * 3 + [tall] * 3)
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())
