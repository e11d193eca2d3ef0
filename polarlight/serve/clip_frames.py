"""Still frames of a clip: what the gate looks at and what a list shows."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from polarlight.base.errors import UserError

MOST_SECONDS = 600


def sample_frames(content: bytes) -> list[np.ndarray]:
    """The first, the middle and the last frame of a clip's bytes, uint8 [h, w, 3]; fewer where it has fewer.

    Raises:
        UserError: PyAV is not installed, the bytes are not a clip, it is cut off, or it is longer than ten minutes.
    """
    frames, count = {}, clip_length(content)[1]
    wanted = sorted({0, count // 2, count - 1})
    for number, frame in enumerate(_frames(content)):
        if number in wanted:
            frames[number] = frame.to_ndarray(format="rgb24")
    return list(frames.values())


def clip_length(content: bytes) -> tuple[float, int]:
    """Seconds and frames of a clip.

    Raises:
        UserError: as in `sample_frames`.
    """
    count, seconds = 0, 0.0
    for frame in _frames(content):
        count += 1
        seconds = max(seconds, float(frame.time or 0.0) + float(frame.duration or 0) * float(frame.time_base or 0))
        if seconds > MOST_SECONDS:
            raise UserError(f"The clip is longer than {MOST_SECONDS} seconds.", fix="Send a shorter one.")
    if count == 0:
        raise UserError("The clip has no frames.", fix="Send an mp4 file.")
    return seconds, count


def _frames(content: bytes) -> Iterator[Any]:
    try:
        import av
    except ImportError as error:
        raise UserError("Clips need the package av (PyAV).", fix="Install it: pip install av.") from error
    try:
        with av.open(io.BytesIO(content), "r", format="mp4") as container:
            yield from container.decode(video=0)
    except (av.error.FFmpegError, IndexError, ValueError) as error:
        raise UserError("The clip is not an mp4 that can be read.", fix="Send an mp4 file.") from error
