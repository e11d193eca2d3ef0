"""Reading drawn text with Tesseract, and scoring what was read against what was asked for.

Tesseract knows nothing of Polarlight and no training loss has ever seen it. It is not reliable on pictures of 128 px, so every
score stands beside the score of real renders of the same texts, which is the most that a generator can reach.
A crop is read in several ways and the reading is chosen by Tesseract's own confidence, never by the expected answer.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from ..base.errors import UserError

Box = Sequence[float]  # x0 y0 x1 y1, fractions
LANGUAGES = {"latin": "eng", "hangul": "kor"}
TEXT_HEIGHT = 72  # px that a crop of one line is enlarged to: Tesseract reads best at capitals of 30 to 40 px
STRAIGHT = str.maketrans("‘’“”—–", "''\"\"--")  # Tesseract likes typographic marks, signs carry plain ones
LEAST_CONTRAST = 24  # of 255: what varies less is blank and stays so
FRAME = 12  # px of plain paper around a crop
# Tesseract's page segmentation: 7 one line, 6 one block of lines, 11 words anywhere. On 200 real renders these two together
# misread 1.4 % of the characters of posters and 9 % of those of tabletops; brightness instead of the colour axis does no better
LINE_MODES = (7, 6)
PAGE_MODES = (11, 6)
LENGTHS = ((1, 3), (4, 5), (6, 8), (9, 99))  # characters; the buckets of the report


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What Tesseract read, and how sure it was, 0..100 (the mean of its words, weighted by their length)."""

    text: str
    confidence: float


@dataclass(frozen=True, kw_only=True)
class TextScore:
    """One expected text against the best of the readings of its picture."""

    expected: str
    read: str
    errors: int  # edits from the nearest substring of `read` to `expected`, upper and lower case told apart
    errors_any_case: int

    @property
    def error_rate(self) -> float:
        """Character error rate, 0..1: never more than losing every character."""
        return min(1.0, self.errors / len(self.expected))

    @property
    def exact(self) -> bool:
        return self.errors == 0


def substring_errors(expected: str, read: str) -> int:
    """The fewest insertions, deletions and substitutions that turn some substring of `read` into `expected`.

    Sellers' algorithm: an edit-distance table whose first row is free, so that the match may begin anywhere.
    """
    row = [0] * (len(read) + 1)
    for count, wanted in enumerate(expected, start=1):
        above, row = row, [count]
        for (diagonal, up), got in zip(pairwise(above), read, strict=True):
            row.append(min(diagonal + (wanted != got), up + 1, row[-1] + 1))
    return min(row)


def score_text(expected: str, readings: Sequence[Reading]) -> TextScore:
    """`expected` against the readings of one picture: the nearest counts, because a picture may hold other texts.

    Spaces count, except in Hangul, where Tesseract puts them between any two syllables.
    """
    best = TextScore(expected=expected, read="", errors=len(expected), errors_any_case=len(expected))
    for reading in readings:
        wanted, got = (plain(text) for text in (expected, reading.text))
        errors, any_case = substring_errors(wanted, got), substring_errors(wanted.lower(), got.lower())
        if (errors, any_case) < (best.errors, best.errors_any_case):
            best = TextScore(expected=expected, read=reading.text, errors=errors, errors_any_case=any_case)
    return best


def plain(text: str) -> str:
    """Composed characters, straight quotation marks, and no space beside a Hangul syllable."""
    text = unicodedata.normalize("NFC", text).translate(STRAIGHT)
    return re.sub(r"(?<=[가-힣]) | (?=[가-힣])", "", text)


def contrast_axis(crop: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
    """Grey along the colour direction in which the crop varies most: red on green of one brightness stays legible."""
    flat = crop.reshape(-1, 3).astype(np.float32)
    flat = flat - flat.mean(axis=0)
    _, directions = np.linalg.eigh(flat.T @ flat)
    return (flat @ directions[:, -1]).reshape(crop.shape[:2])


def prepare(crop: UInt8[np.ndarray, "h w 3"]) -> Image.Image:
    """A crop as dark letters on a light margin, enlarged to TEXT_HEIGHT with Lanczos."""
    values = contrast_axis(crop)
    low, high = np.percentile(values, (1, 99))
    values = np.clip((values - low) / max(high - low, LEAST_CONTRAST), 0, 1)
    paper = float(np.median(np.concatenate([values[0], values[-1], values[:, 0], values[:, -1]])))
    if paper < 0.5:
        values, paper = 1 - values, 1 - paper
    scale = max(2.0, TEXT_HEIGHT / len(values))
    small = Image.fromarray((values * 255).astype(np.uint8))
    large = small.resize((round(small.width * scale), round(small.height * scale)), Image.Resampling.LANCZOS)
    framed = Image.new("L", (large.width + 2 * FRAME, large.height + 2 * FRAME), round(255 * paper))
    framed.paste(large, (FRAME, FRAME))
    return framed


def cut(pixels: UInt8[np.ndarray, "h w 3"], box: Box, margin: float = 2.0) -> UInt8[np.ndarray, "y x 3"]:
    """The part of a picture inside `box` (x0 y0 x1 y1, fractions), widened by `margin` px of the 128 px family."""
    high, wide = pixels.shape[:2]
    extra = margin * max(high, wide) / 128
    x0, x1 = int(max(0, box[0] * wide - extra)), int(np.ceil(min(wide, box[2] * wide + extra)))
    y0, y1 = int(max(0, box[1] * high - extra)), int(np.ceil(min(high, box[3] * high + extra)))
    return pixels[y0 : max(y1, y0 + 4), x0 : max(x1, x0 + 4)]


def read_crops(
    crops: Sequence[UInt8[np.ndarray, "_ _ 3"]], script: str, modes: Sequence[int] = LINE_MODES
) -> list[Reading]:
    """Read every crop in every page segmentation mode of Tesseract, and keep each crop's surest reading.

    Raises:
        UserError: Tesseract or its language data is not installed, or it failed.
    """
    if not crops:
        return []
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(len(modes)) as pool:
        paths = [Path(folder, f"{number}.png") for number in range(len(crops))]
        for path, crop in zip(paths, crops, strict=True):
            prepare(crop).save(path, compress_level=1)
        listing = Path(folder, "crops.txt")
        listing.write_text("".join(f"{path}\n" for path in paths))
        by_mode = list(pool.map(lambda mode: run_tesseract(listing, LANGUAGES[script], mode, len(crops)), modes))
    return [max(readings, key=lambda reading: reading.confidence) for readings in zip(*by_mode, strict=True)]


def run_tesseract(listing: Path, language: str, mode: int, count: int) -> list[Reading]:
    """One process for all `count` images named in `listing`: starting it costs as much as reading 15 crops."""
    program = find_tesseract()
    command = [program, str(listing), "stdout", "--psm", str(mode), "--dpi", "300", "-l", language, "tsv"]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"OMP_THREAD_LIMIT": "1"})
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise UserError(
            f"Tesseract could not read with language {language!r}: {' '.join(reason)}",
            fix="Install its data (Debian: tesseract-ocr-eng and tesseract-ocr-kor).",
        )
    words: list[list[tuple[str, float]]] = [[] for _ in range(count)]
    for line in done.stdout.decode(errors="replace").splitlines():
        fields = line.split("\t")
        if len(fields) == 12 and fields[0] == "5" and fields[11].strip():
            words[int(fields[1]) - 1].append((fields[11].strip(), float(fields[10])))
    return [join_words(page) for page in words]


def find_tesseract() -> str:
    """The path of the program.

    Raises:
        UserError: it is not installed.
    """
    program = shutil.which("tesseract")
    if program is None:
        raise UserError(
            "Drawn text is judged with Tesseract, and the program tesseract is not on the PATH.",
            fix="Install it (Debian: apt install tesseract-ocr tesseract-ocr-kor).",
        )
    return program


def join_words(words: Sequence[tuple[str, float]]) -> Reading:
    """Words in reading order with their confidences as one reading; nothing read has confidence 0."""
    letters = sum(len(word) for word, _ in words)
    mean = sum(len(word) * confidence for word, confidence in words) / letters if letters else 0.0
    return Reading(text=" ".join(word for word, _ in words), confidence=mean)


def summarise(scores: Sequence[TextScore]) -> dict[str, float | int]:
    """Count, share read exactly, and character error rates, with upper and lower case told apart and not."""
    if not scores:
        return {"count": 0}
    characters = sum(len(score.expected) for score in scores)
    return {
        "count": len(scores),
        "exact": sum(score.exact for score in scores) / len(scores),
        "exact_any_case": sum(score.errors_any_case == 0 for score in scores) / len(scores),
        "cer": sum(min(score.errors, len(score.expected)) for score in scores) / characters,
        "cer_any_case": sum(min(score.errors_any_case, len(score.expected)) for score in scores) / characters,
    }


def by_length(scores: Sequence[TextScore]) -> dict[str, dict[str, float | int]]:
    """`summarise` for each bucket of LENGTHS that holds a text."""
    buckets = {f"{low}-{high}" if high < 99 else f"{low}+": (low, high) for low, high in LENGTHS}
    parts = {key: [s for s in scores if low <= len(s.expected) <= high] for key, (low, high) in buckets.items()}
    return {key: summarise(part) for key, part in parts.items() if part}


def read_pictures(
    pictures: Sequence[UInt8[np.ndarray, "_ _ 3"]], boxes: Sequence[Sequence[Box]], script: str
) -> list[list[Reading]]:
    """Read every picture inside its boxes, one reading a box; the whole picture where it has no box."""
    crops = [cut(picture, box) for picture, inside in zip(pictures, boxes, strict=True) for box in inside]
    pages = [picture for picture, inside in zip(pictures, boxes, strict=True) if not inside]
    lines, whole = iter(read_crops(crops, script)), iter(read_crops(pages, script, PAGE_MODES))
    return [[next(lines) for _ in inside] if inside else [next(whole)] for inside in boxes]
