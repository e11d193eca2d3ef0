"""The watermark is invisible, survives what happens to pictures, and is never seen where it is not.

The rates over thousands of pictures are measured by bench/watermark.py; here a few stand for many.
"""

import io
import math

import numpy as np
import pytest
from PIL import Image

from polarlight.base.errors import UserError
from polarlight.media.watermark import LEAST_PSNR, THRESHOLD, TRIALS, detect, embed, pattern

PAYLOAD = 0xDEADBEEF


def scene(seed: int, size: int = 512) -> np.ndarray:
    """A gradient sky, rectangles in plain colours and a field of grass."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    pixels = random.uniform(60, 200, 3) + (y * 50 + x * 20)[..., None]
    for top, left, height, width in random.integers(0, size, (10, 4)):
        pixels[top : top + height // 2, left : left + width // 2] = random.uniform(0, 255, 3)
    pixels[3 * size // 4 :] += random.normal(0, 20, (size - 3 * size // 4, size, 1))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def jpeg(pixels: np.ndarray) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=50)
    return np.array(Image.open(buffer).convert("RGB"))


def resized(pixels: np.ndarray, factor: float) -> np.ndarray:
    height, width = (round(side * factor) for side in pixels.shape[:2])
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def cropped(pixels: np.ndarray) -> np.ndarray:
    height, width = (round(side * 0.9) for side in pixels.shape[:2])
    return np.ascontiguousarray(pixels[13 : 13 + height, 29 : 29 + width])


CHANGES = {
    "nothing": lambda pixels: pixels,
    "JPEG of quality 50": jpeg,
    "half the size": lambda pixels: resized(pixels, 0.5),
    "an odd size": lambda pixels: resized(pixels, 0.83),
    "a crop of a tenth": cropped,
    "a crop in JPEG": lambda pixels: jpeg(cropped(pixels)),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_number_is_read_after(change: str, seed: int) -> None:
    found = detect(CHANGES[change](embed(scene(seed), PAYLOAD)))
    assert found.found
    assert found.payload == PAYLOAD


def test_the_scale_of_a_resized_picture_is_found() -> None:
    assert detect(resized(embed(scene(0), 7), 0.83)).scale == pytest.approx(0.83, rel=0.003)


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_picture_can_be_marked(value: int) -> None:
    assert detect(jpeg(embed(np.full((512, 512, 3), value, np.uint8), 3))).payload == 3


@pytest.mark.parametrize("size", [(96, 96), (128, 200), (300, 97)])
def test_small_and_oblong_pictures_can_be_marked(size: tuple[int, int]) -> None:
    pixels = np.ascontiguousarray(scene(2)[: size[0], : size[1]])
    assert detect(embed(pixels, PAYLOAD)).payload == PAYLOAD


def test_a_marked_picture_looks_the_same() -> None:
    random = np.random.default_rng(0)
    for pixels in (scene(0), scene(1, 128), random.integers(0, 256, (256, 256, 3), dtype=np.uint8)):
        error = np.mean(np.square(embed(pixels, PAYLOAD).astype(float) - pixels))
        assert 10 * math.log10(255**2 / error) > LEAST_PSNR - 0.6  # rounding to whole grey levels


def test_the_same_number_and_picture_give_the_same_mark() -> None:
    assert np.array_equal(embed(scene(0, 128), 5), embed(scene(0, 128), 5))


def test_an_unmarked_picture_has_no_mark() -> None:
    for seed in range(6):
        found = detect(scene(seed, 256))
        assert not found.found
        assert found.payload is None
        assert found.score < 6


def test_another_key_sees_nothing() -> None:
    marked = embed(scene(0, 256), PAYLOAD, b"one operator")
    assert detect(marked, b"one operator").payload == PAYLOAD
    assert not detect(marked, b"another operator").found


def test_a_score_of_chance_exceeds_the_threshold_once_in_a_million_at_most() -> None:
    # the bound of the module's docstring, summed over all places and factors tried
    assert math.isclose(TRIALS * math.exp(-(THRESHOLD**2) / 2), 1e-6, rel_tol=1e-9)


def test_scores_of_unmarked_pictures_follow_the_bound() -> None:
    # phases of the key against noise: the best of 128 x 128 places lies where the bound expects it
    noise = np.random.default_rng(3).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    scores = [detect(noise, bytes([key])).score for key in range(10)]
    assert 3 < np.mean(scores) < math.sqrt(2 * math.log(TRIALS))


def test_the_pattern_is_a_ring_of_mid_frequencies() -> None:
    power = np.abs(np.fft.fft2(pattern(PAYLOAD))) ** 2
    radius = np.hypot(*np.meshgrid(*[np.fft.fftfreq(64, 1 / 64)] * 2))
    assert power[(radius < 3.9) | (radius > 13.3)].sum() < 1e-6 * power.sum()


def test_what_cannot_be_marked_is_refused() -> None:
    with pytest.raises(UserError, match="too small"):
        embed(np.zeros((95, 200, 3), np.uint8), 1)
    with pytest.raises(UserError, match="cannot hold"):
        embed(np.zeros((96, 96, 3), np.uint8), 2**32)


def test_a_picture_too_small_to_look_at_has_no_mark() -> None:
    assert not detect(np.zeros((20, 200, 3), np.uint8)).found
