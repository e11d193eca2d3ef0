"""An invisible watermark with its detector: spread spectrum on a lattice of frequencies, with a 32-bit payload.

The mark is a pattern of 64 x 64 px, repeated over the picture, whose spectrum is a ring of about 250 mid-frequency waves.
Half of them, the pilots, have phases that the key alone decides; the other half carry the payload in theirs, protected by
a convolutional code of rate 1/4 and a 16-bit checksum. The detector measures those waves' phases over the whole picture:

- a crop moves the pattern, which turns each wave's phase in proportion to its frequency: the inverse transform of the
  pilots shows where the pattern lies;
- a resize moves every wave's frequency by one factor: a search over factors looks for the ring in the spectrum;
- a JPEG file keeps the band (periods of 5 to 16 px) longest.

Turning, mirroring and stretching in one direction are not undone.

Errors of the first kind. The score is a sum of cosines of phase differences, with weights that depend on magnitudes only,
divided by the square root of half the sum of squared weights. With keyed uniform phases a score above t at one place has
at most the probability exp(-t^2 / 2), whatever the picture shows (the moment generating function of a cosine of a uniform
phase, I0(x), is at most exp(x^2 / 4)). THRESHOLD bounds the sum over every place and factor that is tried by one in a
million. The factors are chosen by magnitudes alone, so that their search adds nothing.

After Cox, Kilian, Leighton, Shamoon (1997) for the spread spectrum, and Pereira, Pun (2000) for the template in the
Fourier domain. The mark is a help for honest search, not a lock: whoever redraws the picture with a model removes it.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Complex, Float, Float32, UInt8

from ..base.errors import UserError
from .watermark_code import coded_length, decode_bits, encode_bits

PUBLIC_KEY = b"polarlight"  # known to everyone, so that anyone can look; an operator may use a secret one of its own
PERIOD = 64  # px of the repeated pattern
RING = (4.0, 13.2)  # waves per period
LEAST_SIDE = 96  # px
PAYLOAD_BITS = 32
STRENGTH = 1.75  # grey levels, standard deviation of the mark in flat areas
BUSIEST = 2.0  # times as strong where the picture is busy
CUT_OFF = 1.8  # times as strong in black and white
LEAST_PSNR = 41.0  # dB: a busy picture's mark is held back to this
LOCAL = 13  # px: the neighbourhood that "flat" and "busy" mean
FLOOR = 2.0  # grey levels, below which the detector does not amplify
WINDOW = 512  # px: of a larger picture the middle is looked at, which a repeated pattern allows
GRID = 128  # places per period and axis at which the pilots are compared
FACTORS = (0.4, 2.5)  # the resizes that the search covers
COMMON = (0.5, 0.75, 2.0)  # factors measured whatever the search says
CANDIDATES = 4  # of the search
TRIALS = (1 + len(COMMON) + 3 * CANDIDATES) * GRID**2
Luma = Float32[np.ndarray, "h w"]


def threshold(looks: int = 1) -> float:
    """The score that chance exceeds once in a million at most, where it is looked for in several pictures."""
    return math.sqrt(2 * math.log(looks * TRIALS / 1e-6))


THRESHOLD = threshold()  # 7.25


@dataclass(frozen=True, kw_only=True)
class Detection:
    """What the detector found.

    `found`: the score is at least THRESHOLD; `score`: in standard deviations of an unmarked picture; `payload`: the
    number that was embedded, None where there is no mark or its bits did not survive; `scale`: the picture's size
    relative to when it was marked.
    """

    found: bool
    score: float
    payload: int | None
    scale: float


NOTHING = Detection(found=False, score=0.0, payload=None, scale=1.0)


@dataclass(frozen=True, eq=False)
class Carrier:
    """The waves of a key: frequencies (waves per period), their phases, which are pilots, which data, the code's order."""

    rows: np.ndarray
    columns: np.ndarray
    phases: np.ndarray
    pilots: np.ndarray
    data: np.ndarray
    order: np.ndarray


def embed(pixels: UInt8[np.ndarray, "h w 3"], payload: int, key: bytes = PUBLIC_KEY) -> UInt8[np.ndarray, "h w 3"]:
    """Mark a picture with a number of 0 .. 2^32 - 1. Every pixel changes by the same amount in all three channels.

    Raises:
        UserError: a side under 96 px, or a payload that does not fit.
    """
    change = luma_change(_luma(pixels), payload, key)
    return np.clip(np.rint(pixels + change[..., None]), 0, 255).astype(np.uint8)


def luma_change(luma: Luma, payload: int, key: bytes = PUBLIC_KEY) -> Luma:
    """The grey levels that the mark adds to each place of a picture with this luma, 0 to 255.

    Raises:
        UserError: as `embed`.
    """
    height, width = luma.shape
    if min(height, width) < LEAST_SIDE:
        raise UserError(
            f"A picture of {width} x {height} px is too small for a watermark.",
            fix=f"Both sides need at least {LEAST_SIDE} px.",
        )
    if not 0 <= payload < 1 << PAYLOAD_BITS:
        raise UserError(f"The watermark cannot hold {payload}.", fix=f"Use a number of 0 to 2^{PAYLOAD_BITS} - 1.")
    repeats = (-(-height // PERIOD), -(-width // PERIOD))
    tile = pattern(payload, key).astype(np.float32)
    change = np.tile(tile, repeats)[:height, :width] * _tolerance(luma)
    seen = np.clip(luma + change, 0, 255) - luma
    most = 255 * 10 ** (-LEAST_PSNR / 20)
    change *= min(1.0, most / float(np.sqrt(np.mean(np.square(seen)))))
    return change


def detect(pixels: UInt8[np.ndarray, "h w 3"], key: bytes = PUBLIC_KEY) -> Detection:
    """Look for the mark of a key, at the picture's own size first and then at every size that the spectrum suggests."""
    return search(flatten(_luma(pixels)), key)


def flatten(luma: Luma) -> Luma:
    """The middle of a picture without its local mean, and of like strength everywhere, which is what `search` looks at.

    Edges otherwise drown the mark of flat areas. The mean over several pictures that bear one mark at one place bears it
    too, and less of the pictures.
    """
    luma = _middle(luma)
    detail = luma - _mean(luma)
    return detail / np.sqrt(_mean(detail * detail) + FLOOR**2)


def search(flat: Luma, key: bytes = PUBLIC_KEY, *, looks: int = 1, scales: Sequence[float] | None = None) -> Detection:
    """`detect` in a flattened picture.

    `looks`: in how many pictures one mark is looked for; more take a higher score. `scales`: the sizes to try; None for the
    picture's own, and then every one that the spectrum suggests.
    """
    if min(flat.shape) < LEAST_SIDE * FACTORS[0]:
        return NOTHING
    carrier, least = _carrier(key), threshold(looks)

    def best_of(scales: Sequence[float]) -> tuple[float, float, np.ndarray]:
        looked = [(scale, *_compare(_waves(flat, scale, carrier), carrier)) for scale in scales]
        return max(looked, key=lambda one: one[1])

    scale, score, waves = best_of(scales or (1.0,))
    if score < least and scales is None:
        scale, score, waves = best_of((1.0, *COMMON, *_likely_scales(flat, carrier)))
    found = score >= least
    payload = _read(waves, carrier) if found else None
    return Detection(found=found, score=score, payload=payload, scale=scale)


def pattern(payload: int, key: bytes = PUBLIC_KEY) -> Float[np.ndarray, "64 64"]:
    """One period of the mark, with mean 0 and standard deviation 1."""
    carrier = _carrier(key)
    waves = np.exp(1j * carrier.phases)
    symbols = np.zeros(2 * len(carrier.data))
    symbols[carrier.order] = encode_bits(payload, PAYLOAD_BITS)
    waves[carrier.data] *= (symbols[::2] + 1j * symbols[1::2]) / math.sqrt(2)
    spectrum = np.zeros((PERIOD, PERIOD), complex)
    spectrum[carrier.rows, carrier.columns] = waves
    tile = np.fft.ifft2(spectrum).real
    return tile / tile.std()


@lru_cache(maxsize=8)
def _carrier(key: bytes) -> Carrier:
    """Everything is read off one stream of bytes, so that a key means the same on every machine."""
    side = math.ceil(RING[1])
    rows, columns = np.mgrid[-side : side + 1, 0 : side + 1].reshape(2, -1)
    radius = np.hypot(rows, columns)
    keep = (radius >= RING[0]) & (radius <= RING[1]) & ((columns > 0) | (rows > 0))
    rows, columns = rows[keep], columns[keep]
    count, symbols = len(rows), coded_length(PAYLOAD_BITS)
    stream = hashlib.shake_256(b"polarlight watermark 1" + key).digest(12 * count)
    phases, places, turns = (np.frombuffer(stream, "<u4") / 2**32).reshape(3, count)
    shuffled = np.argsort(places, kind="stable")
    data = symbols // 2  # two symbols a wave
    return Carrier(
        rows=rows,
        columns=columns,
        phases=2 * np.pi * phases,
        pilots=np.sort(shuffled[data:]),
        data=np.sort(shuffled[:data]),
        order=np.argsort(np.concatenate([turns[:data], turns[-data:]]), kind="stable"),
    )


def _luma(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32) @ np.array((0.299, 0.587, 0.114), np.float32)


def _middle(luma: np.ndarray) -> np.ndarray:
    top, left = (max(0, side - WINDOW) // 2 for side in luma.shape)
    return luma[top : top + WINDOW, left : left + WINDOW]


def _mean(values: np.ndarray) -> np.ndarray:
    """The mean over LOCAL x LOCAL px, borders repeated; 13 neighbours are three fours and one."""
    for _ in range(2):
        line = np.pad(values, ((LOCAL // 2, LOCAL // 2), (0, 0)), mode="edge")
        two = line[:-1] + line[1:]
        four = two[:-2] + two[2:]
        count = len(values)
        sums = four[:count] + four[4 : 4 + count] + four[8 : 8 + count] + line[12 : 12 + count]
        values = (sums / LOCAL).T
    return values


def _tolerance(luma: np.ndarray) -> np.ndarray:
    """Grey levels that each place may be changed by: STRENGTH where it is flat, BUSIEST times that where it is busy.

    In pure black and white half of the mark is cut off, so that it is made CUT_OFF times as strong there.
    """
    detail = luma - _mean(luma)
    spread = np.sqrt(_mean(detail * detail))
    busy = 1 + (BUSIEST - 1) * spread / (spread + 16)
    cut_off = np.clip(1 - np.minimum(luma, 255 - luma) / 8, 0, 1)
    return STRENGTH * busy * (1 + (CUT_OFF - 1) * cut_off)


def _waves(flat: np.ndarray, scale: float, carrier: Carrier) -> Complex[np.ndarray, " k"]:
    """The picture's Fourier coefficients at the carrier's frequencies, for a pattern of PERIOD x scale px."""
    height, width = flat.shape
    side = int(carrier.columns.max())
    step = 2 * np.pi / (PERIOD * scale)
    angles = step * np.outer(np.arange(width), np.arange(side + 1))
    across = flat @ np.hstack([np.cos(angles), np.sin(angles)]).astype(np.float32)
    down = np.exp(-1j * step * np.outer(np.arange(-side, side + 1), np.arange(height)))
    found = down @ (across[:, : side + 1] - 1j * across[:, side + 1 :])
    return found[carrier.rows + side, carrier.columns]


def _compare(waves: np.ndarray, carrier: Carrier) -> tuple[float, Complex[np.ndarray, " k"]]:
    """The score of the best place of the pattern, and the waves turned back to it, of magnitudes near 1."""
    strength = np.abs(waves) + 1e-12
    weights = np.minimum(strength / np.median(strength), 1.5)
    turned = weights * waves / strength * np.exp(-1j * carrier.phases)
    pilots, rows, columns = carrier.pilots, carrier.rows, carrier.columns
    spectrum = np.zeros((GRID, GRID), complex)
    spectrum[rows[pilots], columns[pilots]] = turned[pilots]
    scores = np.fft.fft2(spectrum).real / np.sqrt(np.square(weights[pilots]).sum() / 2)
    row, column = np.unravel_index(scores.argmax(), scores.shape)
    return float(scores[row, column]), turned * np.exp(-2j * np.pi * (rows * row + columns * column) / GRID)


def _read(waves: np.ndarray, carrier: Carrier) -> int | None:
    data = waves[carrier.data]
    symbols = np.stack([data.real, data.imag], 1).ravel()
    return decode_bits(symbols[carrier.order], PAYLOAD_BITS)


def _likely_scales(flat: np.ndarray, carrier: Carrier) -> list[float]:
    """Factors at which the spectrum shows the ring: more power on the lattice of the waves than between its points.

    A tapered spectrum finds them roughly, as it keeps strong edges to themselves; one without taper, at twice the
    resolution, finds the exact factor near each of them. The three best neighbours of each are returned.
    """
    size = max(flat.shape)
    taper = np.outer(*(np.hanning(side).astype(np.float32) for side in flat.shape))
    coarse = _log_spectrum(flat * taper, size)
    scales = np.exp(np.arange(math.log(FACTORS[0]), math.log(FACTORS[1]), 0.0024))
    scores = _contrast(coarse, scales, carrier)
    fine, found = _log_spectrum(flat, 2 * size), []
    for _ in range(CANDIDATES):
        near = scales[scores.argmax()]
        scores[np.abs(scales / near - 1) < 0.01] = -np.inf
        around = near * (1 + np.linspace(-0.008, 0.008, 33))
        best = around[_contrast(fine, around, carrier).argmax()]
        found += [float(best * (1 + offset)) for offset in (0.0, -0.001, 0.001)]
    return found


def _log_spectrum(flat: np.ndarray, size: int) -> np.ndarray:
    return np.log(np.abs(np.fft.rfft2(flat, (size, size))) + 1e-3)


def _contrast(spectrum: np.ndarray, scales: np.ndarray, carrier: Carrier) -> Float[np.ndarray, " s"]:
    """Mean log power at the waves' places less that half a step beside them, each wave cut off at 3, for each factor."""
    size = len(spectrum)
    unit = (size / (PERIOD * scales))[:, None]

    def look(down: float, across: float) -> np.ndarray:
        rows = np.rint(unit * (carrier.rows + down)).astype(np.int32) % size
        columns = np.rint(unit * (carrier.columns + across)).astype(np.int32)
        return spectrum[rows, np.minimum(columns, size // 2)]

    beside = (look(0.5, 0.5) + look(-0.5, 0.5) + look(0.5, 0.0) + look(0.0, 0.5)) / 4
    return np.clip(look(0.0, 0.0) - beside, -3, 3).mean(1)
