"""Stills of clips."""

import numpy as np
import pytest

from polarlight.base.errors import UserError
from polarlight.infer.clips import encode_clip
from polarlight.serve.clip_frames import clip_length, sample_frames


def clip(frames: int) -> bytes:
    shades = np.linspace(20, 200, frames).astype(np.uint8)
    return encode_clip(np.stack([np.full((64, 96, 3), shade, np.uint8) for shade in shades]), 10)


def test_the_first_the_middle_and_the_last_frame_are_taken() -> None:
    stills = sample_frames(clip(9))
    assert [still.shape for still in stills] == [(64, 96, 3)] * 3
    assert [round(float(still.mean()) / 10) for still in stills] == pytest.approx([2, 11, 20], abs=1)


@pytest.mark.parametrize(("frames", "stills"), [(1, 1), (2, 2), (3, 3)])
def test_a_short_clip_has_fewer(frames: int, stills: int) -> None:
    assert len(sample_frames(clip(frames))) == stills


def test_the_length_is_in_seconds_and_frames() -> None:
    seconds, frames = clip_length(clip(15))
    assert (round(seconds, 2), frames) == (1.5, 15)


@pytest.mark.parametrize("content", [b"", b"no clip", clip(3)[:200]], ids=["empty", "text", "cut off"])
def test_what_is_no_clip_is_one_sentence(content: bytes) -> None:
    with pytest.raises(UserError, match="The clip"):
        sample_frames(content)
