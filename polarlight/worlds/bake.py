"""Bake the atlases from fonts: `python -m polarlight.worlds.bake`. Rendering needs only what this leaves behind.

Fonts are looked up by file name below the usual font folders; the pictures come from Noto Color Emoji, the glyphs from
the files named in FONTS. Every outcome is a lossless WebP plus one JSON index.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..base.errors import UserError
from ..base.files import atomic_path, atomic_write
from .atlas import GLYPH_CAP, GLYPH_PAD, LEVELS, ROTATIONS, TILE, TILE_PAD
from .catalogue import FOLDER, catalogue
from .words import HANGUL_SYLLABLES

FONT_FOLDERS = (Path("/usr/share/fonts"), Path.home() / ".fonts", Path("/Library/Fonts"), Path("C:/Windows/Fonts"))
EMOJI_FONT = "NotoColorEmoji.ttf"
EMOJI_SIZE = 109  # the one size its bitmaps come in
FONTS = {  # name -> (file, covers Hangul)
    "sans": ("NotoSans-Regular.ttf", False),
    "sans bold": ("LiberationSans-Bold.ttf", False),
    "heavy": ("DejaVuSans-Bold.ttf", False),
    "serif": ("LiberationSerif-Regular.ttf", False),
    "serif bold": ("NotoSerif-Bold.ttf", False),
    "italic": ("DejaVuSerif-BoldItalic.ttf", False),
    "mono": ("DejaVuSansMono-Bold.ttf", False),
    "rounded": ("NanumSquareRoundB.ttf", True),
    "gothic": ("NanumGothicBold.ttf", True),
}
ASCII = [chr(code) for code in range(33, 127)]
ATLAS_WIDTH = 2048


def bake() -> None:
    """Write pictures.webp, glyphs.webp and index.json into the atlas folder.

    Raises:
        UserError: a font is missing.
    """
    pictures, extents = bake_pictures()
    glyphs, fonts = bake_glyphs(hangul_syllables())
    for name, image in (("pictures", pictures), ("glyphs", glyphs)):
        with atomic_path(FOLDER / f"{name}.webp") as path:
            image.save(path, lossless=True, quality=100, method=6, exact=False)
    atomic_write(
        FOLDER / "index.json",
        json.dumps({"extents": extents, "fonts": fonts}, separators=(",", ":"), ensure_ascii=False),
    )


def find_font(name: str) -> Path:
    """The first file of this name below the font folders."""
    for folder in FONT_FOLDERS:
        for path in sorted(folder.rglob(name)):
            return path
    raise UserError(f"The font {name} is not installed.", fix="Install the Noto, DejaVu, Liberation and Nanum fonts.")


def bake_pictures() -> tuple[Image.Image, list[list[list[float]]]]:
    """Every pictograph, trimmed, its longer side filling the tile but for a margin; and the extents by rotation."""
    font = ImageFont.truetype(find_font(EMOJI_FONT), EMOJI_SIZE)
    columns = ATLAS_WIDTH // TILE
    entries = catalogue()
    sheet = Image.new("RGBA", (columns * TILE, math.ceil(len(entries) / columns) * TILE))
    extents = []
    for index, entry in enumerate(entries):
        tile = picture_tile(entry.emoji, font)
        sheet.paste(tile, (index % columns * TILE, index // columns * TILE))
        extents.append([extent(tile, rotation) for rotation in ROTATIONS])
    return sheet, extents


def picture_tile(emoji: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """One TILE x TILE picture, centred, TILE_PAD of margin or more. The resize is premultiplied: no dark fringe."""
    large = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(large).text((12, 12), emoji, font=font, embedded_color=True)
    box = large.getchannel("A").point(lambda alpha: 255 * (alpha > 24)).getbbox()
    if box is None:
        raise UserError(f"{EMOJI_FONT} has no picture for {emoji}.", fix="Install a newer Noto Color Emoji.")
    cut = large.crop(box).convert("RGBa")
    scale = (TILE - 2 * TILE_PAD) / max(cut.size)
    cut = cut.resize(tuple(max(1, round(side * scale)) for side in cut.size), Image.Resampling.LANCZOS).convert("RGBA")
    tile = Image.new("RGBA", (TILE, TILE))
    tile.paste(cut, ((TILE - cut.width) // 2, (TILE - cut.height) // 2))
    return tile


def extent(tile: Image.Image, rotation: int) -> list[float]:
    """Visible extent x0 y0 x1 y1 about the tile's centre, in tile sides, after turning clockwise by `rotation` degrees."""
    ys, xs = np.nonzero(np.asarray(tile)[..., 3] > 127)
    x, y = (xs + 0.5) / TILE - 0.5, (ys + 0.5) / TILE - 0.5
    cos, sin = math.cos(math.radians(rotation)), math.sin(math.radians(rotation))
    u, v = x * cos - y * sin, x * sin + y * cos
    half = 0.5 / TILE
    return [round(float(side), 4) for side in (u.min() - half, v.min() - half, u.max() + half, v.max() + half)]


def hangul_syllables() -> list[str]:
    """The syllables of the word list, and the plainest others: no final consonant, or the finals n and ng."""
    initials = (0, 2, 3, 5, 6, 7, 9, 11, 12, 14, 15, 16, 17, 18)  # without the five doubled ones
    plain = {(initial, vowel, 0) for initial in initials for vowel in (0, 1, 2, 4, 5, 6, 8, 12, 13, 17, 18, 20)}
    closed = {(initial, vowel, final) for initial in initials for vowel in (0, 4, 6, 8, 13, 20) for final in (4, 21)}
    composed = {chr(0xAC00 + (initial * 21 + vowel) * 28 + final) for initial, vowel, final in plain | closed}
    return sorted(composed | set(HANGUL_SYLLABLES))


def bake_glyphs(syllables: list[str]) -> tuple[Image.Image, dict[str, dict[str, object]]]:
    """All glyph cells packed in rows, and each font's index: character -> [x, y, width, height, left, top, advance].

    Lengths are in atlas pixels at a cap height of GLYPH_CAP; left and top lead from the pen on the baseline to the
    cell's corner. A space has an advance alone.
    """
    packer = Packer(ATLAS_WIDTH)
    fonts: dict[str, dict[str, object]] = {}
    for name, (file, covers_hangul) in FONTS.items():
        font = sized_font(find_font(file))
        glyphs = {}
        for character in [*ASCII, *(syllables if covers_hangul else [])]:
            left, top, right, bottom = font.getbbox(character, anchor="ls")
            cell = Image.new("L", (right - left + 2 * GLYPH_PAD, bottom - top + 2 * GLYPH_PAD))
            ImageDraw.Draw(cell).text((GLYPH_PAD - left, GLYPH_PAD - top), character, font=font, fill=255, anchor="ls")
            x, y = packer.add(cell)
            advance = round(font.getlength(character), 2)
            glyphs[character] = [x, y, *cell.size, left - GLYPH_PAD, top - GLYPH_PAD, advance]
        fonts[name] = {"hangul": covers_hangul, "space": round(font.getlength(" "), 2), "glyphs": glyphs}
    return packer.image(), fonts


def sized_font(path: Path) -> ImageFont.FreeTypeFont:
    """The font at the size where "H" is GLYPH_CAP pixels high."""
    probe = ImageFont.truetype(path, 1000)
    _, top, _, bottom = probe.getbbox("H", anchor="ls")
    return ImageFont.truetype(path, round(1000 * GLYPH_CAP / (bottom - top)))


class Packer:
    """Cells left to right in rows, each row as high as its tallest cell, on a grid that every mip level keeps."""

    grain = 1 << (LEVELS - 1)

    def __init__(self, width: int) -> None:
        self.width = width
        self.x = self.y = self.row = 0
        self.cells: list[tuple[int, int, Image.Image]] = []

    def add(self, cell: Image.Image) -> tuple[int, int]:
        """Place a cell and return its corner."""
        width, height = (math.ceil(side / self.grain) * self.grain for side in cell.size)
        if self.x + width > self.width:
            self.x, self.y, self.row = 0, self.y + self.row, 0
        place = (self.x, self.y)
        self.cells.append((*place, cell))
        self.x += width
        self.row = max(self.row, height)
        return place

    def image(self) -> Image.Image:
        """The sheet with every cell pasted."""
        sheet = Image.new("L", (self.width, self.y + self.row))
        for x, y, cell in self.cells:
            sheet.paste(cell, (x, y))
        return sheet


if __name__ == "__main__":
    bake()
