"""PDQ, the open perceptual hash for matching copies of a picture, and block lists of such hashes.

Written from Meta's description "The TMK+PDQF video-hashing algorithm and the PDQ image-hashing algorithm" (2019) and its
published constants. Luma is filtered twice with a box along each axis (a tent, after Jarosz 2001), sampled at 64 x 64,
transformed to the 16 x 16 lowest cosine frequencies without the constant ones, and cut at the median.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from ..base.errors import UserError
from ..base.files import atomic_write

BITS = 256
MATCH_DISTANCE = 31  # the distance that Meta recommends; two unrelated pictures lie near 128
LEAST_QUALITY = 50  # below it a picture is too plain for its hash to mean anything
LEAST_SIDE = 5  # px
EXACT_BELOW = 512  # px
SIDE = 64
LOW = 16
LUMA = (0.299, 0.587, 0.114)
HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class PictureHash:
    """`hex`: 64 hexadecimal digits, the highest bit first; `quality`: 0 (flat) .. 100 (rich in edges)."""

    hex: str
    quality: int


@dataclass(frozen=True, kw_only=True)
class Match:
    """An entry of a block list near a picture: its hash, its note and the distance in bits (0..31)."""

    hex: str
    note: str
    distance: int


def pdq_hash(pixels: UInt8[np.ndarray, "h w 3"]) -> PictureHash:
    """The PDQ hash of an RGB picture. A side under 5 px gives the zero hash of quality 0."""
    if min(pixels.shape[:2]) < LEAST_SIDE:
        return PictureHash(hex="0" * 64, quality=0)
    small = downsample(pixels)
    return PictureHash(hex=_cut(_cosines(small)), quality=_quality(small))


def pdq_variants(pixels: UInt8[np.ndarray, "h w 3"]) -> dict[str, PictureHash]:
    """The hashes of the picture and its seven turned and mirrored versions, from one transform.

    Turning a picture transposes its cosine coefficients and changes the signs of the odd ones, so that the eight cost
    little more than one. Names: original, rotate_90, rotate_180, rotate_270 (counter-clockwise), flip_rows (upside
    down), flip_columns (left to right), transpose, anti_transpose.
    """
    if min(pixels.shape[:2]) < LEAST_SIDE:
        return dict.fromkeys(_VARIANTS, PictureHash(hex="0" * 64, quality=0))
    small = downsample(pixels)
    low, quality = _cosines(small), _quality(small)
    odd = np.where(np.arange(LOW) % 2, 1.0, -1.0)  # row 0 holds frequency 1: an odd function, negated by a mirror
    found = {}
    for name, (transposed, rows, columns) in _VARIANTS.items():
        turned = low.T if transposed else low
        turned = turned * (odd[:, None] if rows else 1.0) * (odd[None, :] if columns else 1.0)
        found[name] = PictureHash(hex=_cut(turned), quality=quality)
    return found


# name -> (transpose first, then mirror the rows, mirror the columns)
_VARIANTS = {
    "original": (False, False, False),
    "rotate_90": (True, True, False),
    "rotate_180": (False, True, True),
    "rotate_270": (True, False, True),
    "flip_rows": (False, True, False),
    "flip_columns": (False, False, True),
    "transpose": (True, False, False),
    "anti_transpose": (True, True, True),
}


def distance(first: str, second: str) -> int:
    """Bits in which two hashes differ, 0..256. Two unrelated pictures lie near 128.

    Raises:
        UserError: a hash that is not 64 hexadecimal digits.
    """
    return (int(check_hex(first), 16) ^ int(check_hex(second), 16)).bit_count()


def check_hex(text: str) -> str:
    """The hash in lower case.

    Raises:
        UserError: it is not 64 hexadecimal digits.
    """
    lower = text.strip().lower()
    if not HEX.fullmatch(lower):
        raise UserError(f"{text!r} is not a PDQ hash.", fix="A PDQ hash has 64 hexadecimal digits.")
    return lower


class BlockList:
    """Hashes of pictures that may be neither taken in nor given out.

    On disk: a text file, one hash a line, after it an optional note; `#` starts a comment line.
    """

    def __init__(self, entries: Iterable[tuple[str, str]] = ()) -> None:
        self._notes = {check_hex(hash_): note for hash_, note in entries}
        self._packed = _packed(list(self._notes))

    def __len__(self) -> int:
        return len(self._notes)

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._notes.items())

    @classmethod
    def load(cls, path: str | Path) -> BlockList:
        """Read a block list.

        Raises:
            UserError: no such file, or a line that does not start with a hash (the line is named).
        """
        try:
            lines = Path(path).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"Cannot read the block list {path}: {error}.", fix="Check the path.") from error
        entries = []
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue
            hash_, _, note = line.strip().partition(" ")
            if not HEX.fullmatch(hash_.lower()):
                raise UserError(
                    f"Line {number} of the block list {path} does not start with a PDQ hash.",
                    fix="Write 64 hexadecimal digits, then a space and a note.",
                )
            entries.append((hash_, note.strip()))
        return cls(entries)

    def save(self, path: str | Path) -> None:
        """Write the list, whole or not at all."""
        atomic_write(path, "".join(f"{hash_} {note}".rstrip() + "\n" for hash_, note in self))

    def nearest(self, hashes: Sequence[str], most: int = MATCH_DISTANCE) -> Match | None:
        """The entry nearest to any of `hashes` (a picture's variants), or None beyond `most` bits."""
        if not self._notes or not hashes:
            return None
        wanted = _packed([check_hex(hash_) for hash_ in hashes])
        apart = np.bitwise_count(wanted[:, None] ^ self._packed[None]).sum(-1, dtype=np.int64)
        entry = int(apart.min(0).argmin())
        found = int(apart[:, entry].min())
        hash_ = list(self._notes)[entry]
        return Match(hex=hash_, note=self._notes[hash_], distance=found) if found <= most else None


def matches(pixels: UInt8[np.ndarray, "h w 3"], blocked: BlockList, most: int = MATCH_DISTANCE) -> Match | None:
    """Whether a picture, turned or mirrored in any way, is on a block list.

    A picture of quality under 50 (nearly flat) matches only where the hashes are equal: its hash is mostly chance. A small
    picture is really turned before it is hashed: the filter's window of an even number of pixels lies off centre, which
    moves the transformed hash of a turned picture by 20 to 50 bits at 256 px and by 6 to 24 at 512 and above.
    """
    if not len(blocked):
        return None
    own = pdq_hash(pixels)
    if own.quality < LEAST_QUALITY:
        return blocked.nearest([own.hex], 0) if own.quality else None
    if max(pixels.shape[:2]) >= EXACT_BELOW:
        return blocked.nearest([one.hex for one in pdq_variants(pixels).values()], most)
    turned = [np.rot90(pixels, quarters) for quarters in range(4)]
    return blocked.nearest(
        [pdq_hash(np.ascontiguousarray(one)).hex for all_ in turned for one in (all_, all_[:, ::-1])], most
    )


def downsample(pixels: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "64 64"]:
    """Luma after two passes of box filters of 1/128 of the side, sampled at the centres of 64 x 64 cells."""
    luma = pixels.astype(np.float64) @ np.array(LUMA)
    for axis in (1, 0, 1, 0):
        if luma.shape != (SIDE, SIDE):
            luma = _box(luma, axis)
    rows, columns = (((np.arange(SIDE) + 0.5) * length / SIDE).astype(int) for length in luma.shape)
    return luma[rows][:, columns]


def _box(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean over a window of 1/128 of the length, cut off at the borders."""
    length = values.shape[axis]
    window = -(-length // (2 * SIDE))
    if window == 1:
        return values
    ahead = (window + 2) // 2  # cells at and after the centre; the rest of the window lies before it
    first = np.maximum(np.arange(length) - (window - ahead), 0)
    last = np.minimum(np.arange(length) + ahead, length)
    sums = np.concatenate([np.zeros_like(np.take(values, [0], axis)), np.cumsum(values, axis)], axis)
    counts = (last - first).reshape(-1, 1) if axis == 0 else last - first
    return (np.take(sums, last, axis) - np.take(sums, first, axis)) / counts


@cache
def _cosine_matrix() -> np.ndarray:
    """Rows 1..16 of the orthonormal DCT-II of length 64."""
    frequency, place = np.arange(1, LOW + 1)[:, None], np.arange(SIDE)[None]
    return np.sqrt(2 / SIDE) * np.cos(np.pi / (2 * SIDE) * frequency * (2 * place + 1))


def _cosines(small: np.ndarray) -> np.ndarray:
    return _cosine_matrix() @ small @ _cosine_matrix().T


def _cut(low: np.ndarray) -> str:
    """One bit a coefficient, set where it lies above the lower median; bit 16 i + j has the weight 2^(16 i + j)."""
    median = np.sort(low, axis=None)[low.size // 2 - 1]
    bits = np.packbits((low > median).ravel(), bitorder="little").tobytes()
    return f"{int.from_bytes(bits, 'little'):064x}"


def _quality(small: np.ndarray) -> int:
    """Steps between neighbours in whole hundredths of the range, summed, scaled by 1/90 and capped at 100."""
    steps = (np.abs(np.diff(small, axis=axis) * 100 / 255).astype(int).sum() for axis in (0, 1))
    return min(100, int(sum(steps)) // 90)


def _packed(hashes: Sequence[str]) -> UInt8[np.ndarray, "n 32"]:
    return np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(-1, BITS // 8)
