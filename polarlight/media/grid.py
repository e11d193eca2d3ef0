"""Many pictures at a glance: a contact sheet as pixels, or a row of half blocks for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

MARGIN = 8  # pixels around every cell
FONT_SIZE = 13
HANGUL_FONTS = ("NanumGothic.ttf", "NotoSansCJK-Regular.ttc", "AppleSDGothicNeo.ttc", "malgun.ttf")
PAPER, INK = (246, 246, 244), (40, 40, 44)
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def contact_sheet(
    pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    labels: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    scale: int = 1,
) -> UInt8[np.ndarray, "h w 3"]:
    """Lay pictures out in rows, each on the floor of a cell of the largest size, enlarged `scale` times without smoothing.

    `labels` are wrapped below their pictures. `columns` defaults to a sheet about as wide as it is high.
    """
    assert pictures, "a contact sheet needs a picture"
    assert labels is None or len(labels) == len(pictures), "one label a picture"
    columns = min(columns or math.ceil(math.sqrt(len(pictures))), len(pictures))
    rows = math.ceil(len(pictures) / columns)
    wide = max(picture.shape[1] for picture in pictures) * scale
    high = max(picture.shape[0] for picture in pictures) * scale
    font = _font("".join(labels or ()))
    wrapped = [_wrap(label, font, wide) for label in labels or [""] * len(pictures)]
    line = FONT_SIZE + 3
    caption = max(len(lines) for lines in wrapped) * line
    cell_wide, cell_high = wide + MARGIN, high + caption + MARGIN
    sheet = Image.new("RGB", (columns * cell_wide + MARGIN, rows * cell_high + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    for index, (picture, lines) in enumerate(zip(pictures, wrapped, strict=True)):
        left, top = MARGIN + index % columns * cell_wide, MARGIN + index // columns * cell_high
        image = Image.fromarray(np.ascontiguousarray(picture))
        image = image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)
        sheet.paste(image, (left + (wide - image.width) // 2, top + high - image.height))
        for row, text in enumerate(lines):
            draw.text((left, top + high + 2 + row * line), text, fill=INK, font=font)
    return np.array(sheet)


def half_blocks(pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], columns: int = 32) -> str:
    """Pictures of one size side by side as terminal text in 24-bit colour, each `columns` characters wide.

    One character shows two pixels, one above the other: the upper half block in the upper colour on the lower one.
    """
    small = []
    for picture in pictures:
        image = Image.fromarray(np.ascontiguousarray(picture))
        rows = max(1, round(image.height / image.width * columns / 2))
        small.append(np.array(image.resize((columns, rows * 2), Image.Resampling.BOX)))
    lines = []
    for y in range(0, min(len(picture) for picture in small), 2):
        parts = ["".join(_half_block(picture[y, x], picture[y + 1, x]) for x in range(columns)) for picture in small]
        lines.append("\x1b[0m ".join(parts) + "\x1b[0m")
    return "\n".join(lines)


def _half_block(upper: UInt8[np.ndarray, "3"], lower: UInt8[np.ndarray, "3"]) -> str:
    return "\x1b[38;2;{};{};{};48;2;{};{};{}m▀".format(*upper, *lower)


def _font(text: str) -> Font:
    """Pillow's own font, or a Hangul font of the system where the text needs one and there is one."""
    if any("\uac00" <= letter <= "\ud7a3" for letter in text):
        for name in HANGUL_FONTS:
            try:
                return ImageFont.truetype(name, FONT_SIZE)
            except OSError:
                continue
    return ImageFont.load_default(FONT_SIZE)


def _wrap(text: str, font: Font, width: int) -> list[str]:
    """Break a text into lines of at most `width` pixels, between words where there is room to."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        while font.getlength(word) > width and len(word) > 1:
            fit = max(1, next(n for n in range(len(word), -1, -1) if font.getlength(word[:n]) <= width))
            lines.append(word[:fit])
            word = word[fit:]
        lines.append(word)
    return lines
