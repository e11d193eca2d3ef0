"""The mark of a clip is read from its frames after what happens to clips, and is never seen where it is not.

The rates over many clips are measured by bench/watermark_clips.py; here a few stand for many.
"""

import io
import math
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from polarlight.base.errors import UserError
from polarlight.media.clip_watermark import FRAMES, GROUPS, detect_clip, mark_clip
from polarlight.media.clips import clip_facts, encode_clip, sample_frames
from polarlight.media.watermark import TRIALS, detect, threshold

PAYLOAD = 0xDEADBEEF
SIZE, LENGTH = 256, 24


def moving(seed: int, frames: int = LENGTH, size: int = SIZE) -> np.ndarray:
    """A pan over plain shapes and grass."""
    random, large = np.random.default_rng(seed), size * 3 // 2
    y, x = np.mgrid[0:large, 0:large] / large
    pixels = random.uniform(60, 200, 3) + (y * 50 + x * 20)[..., None]
    for top, left, height, width in random.integers(0, large, (12, 4)):
        pixels[top : top + height // 3, left : left + width // 3] = random.uniform(0, 255, 3)
    pixels[3 * large // 4 :] += random.normal(0, 12, (large - 3 * large // 4, large, 1))
    whole = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    boxes = [(3 * number, 2 * number, 3 * number + size, 2 * number + size) for number in range(frames)]
    return np.stack([np.array(whole.crop(box)) for box in boxes])


def again(clip: bytes, crf: int, change=lambda pixels: pixels) -> bytes:
    """The clip as another program encodes it, every frame changed."""
    with av.open(io.BytesIO(clip)) as source:
        frames = [change(frame.to_ndarray(format="rgb24")) for frame in source.decode(video=0)]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(12), options={"crf": str(crf)})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def halved(pixels: np.ndarray) -> np.ndarray:
    return np.array(Image.fromarray(pixels).resize((SIZE // 2, SIZE // 2), Image.Resampling.LANCZOS))


def joined(*clips: bytes) -> bytes:
    """The frames of several clips, one clip after the other."""
    shots = []
    for clip in clips:
        with av.open(io.BytesIO(clip)) as source:
            shots += [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
    return encode_clip(np.stack(shots), 12)


def trimmed(clip: bytes) -> bytes:
    with av.open(io.BytesIO(clip)) as source:
        frames = [frame.to_ndarray(format="rgb24") for frame in source.decode(video=0)]
    return again(encode_clip(np.stack(frames[8:16]), 12), 28)


@pytest.fixture(scope="module")
def unmarked() -> bytes:
    return encode_clip(moving(1), 12)


@pytest.fixture(scope="module")
def marked(unmarked: bytes) -> bytes:
    return mark_clip(unmarked, PAYLOAD, metadata={"prompt": "a pan"})


CHANGES = {
    "nothing": lambda clip: clip,
    "CRF 28": lambda clip: again(clip, 28),
    "half the size": lambda clip: again(clip, 23, halved),
    "a crop of a tenth": lambda clip: again(clip, 28, lambda pixels: pixels[10:240, 22:252]),
    "the middle third": lambda clip: trimmed(clip),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_number_is_read_after(change: str, marked: bytes) -> None:
    found = detect_clip(CHANGES[change](marked))
    assert (found.found, found.payload) == (True, PAYLOAD)


def test_every_frame_bears_the_mark_of_a_picture(marked: bytes) -> None:
    assert [detect(frame).payload for frame in sample_frames(marked)] == [PAYLOAD] * 3


def test_a_marked_clip_looks_the_same(unmarked: bytes, marked: bytes) -> None:
    for before, after in zip(sample_frames(unmarked), sample_frames(marked), strict=True):
        error = np.mean(np.square(before.astype(float) - after))
        assert 10 * math.log10(255**2 / error) > 37  # 41 of the mark, and what encoding it again costs


def test_the_frames_vote(marked: bytes) -> None:
    found = detect_clip(marked)
    assert (found.frames, found.votes) == (LENGTH, ((PAYLOAD, LENGTH),))


def test_a_film_of_two_clips_has_two_numbers(marked: bytes) -> None:
    other = mark_clip(encode_clip(moving(2, 12), 12), 7)
    found = detect_clip(joined(marked, other))
    assert found.payload == PAYLOAD
    assert {number for number, _ in found.votes} == {PAYLOAD, 7}
    assert dict(found.votes)[PAYLOAD] > dict(found.votes)[7]


def test_a_marked_shot_is_found_in_an_unmarked_film(marked: bytes) -> None:
    film = joined(encode_clip(moving(3, 36), 12), trimmed(marked), encode_clip(moving(4, 20), 12))
    assert detect_clip(film).payload == PAYLOAD


def test_an_unmarked_clip_has_no_mark(unmarked: bytes) -> None:
    for clip in (unmarked, encode_clip(np.zeros((3, 128, 128, 3), np.uint8), 8), again(unmarked, 28)):
        found = detect_clip(clip)
        assert (found.found, found.payload, found.votes) == (False, None, ())


def test_another_key_sees_nothing(unmarked: bytes) -> None:
    marked = mark_clip(unmarked, PAYLOAD, b"one operator")
    assert detect_clip(marked, b"one operator").payload == PAYLOAD
    assert not detect_clip(marked, b"another operator").found


def test_the_looks_together_exceed_the_threshold_once_in_a_million_at_most() -> None:
    looks = 1 + GROUPS
    assert math.isclose(looks * TRIALS * math.exp(-(threshold(looks) ** 2) / 2), 1e-6, rel_tol=1e-9)


def test_a_long_clip_is_looked_at_in_places() -> None:
    long = mark_clip(encode_clip(np.full((2 * FRAMES + 5, 96, 96, 3), 120, np.uint8), 24), 5)
    found = detect_clip(long)
    assert (found.frames, found.payload) == (FRAMES, 5)


def test_the_settings_stand_in_the_file(marked: bytes) -> None:
    assert dict(clip_facts(marked).settings) == {"prompt": "a pan"}


def test_a_clip_too_small_is_refused_and_has_no_mark() -> None:
    small = encode_clip(np.full((3, 64, 128, 3), 90, np.uint8), 8)
    with pytest.raises(UserError, match="too small for a watermark"):
        mark_clip(small, 1)
    assert not detect_clip(small).found
