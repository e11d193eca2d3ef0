"""Frames to a clip."""

from __future__ import annotations

import io
from fractions import Fraction

import numpy as np
from jaxtyping import UInt8

from ..base.errors import UserError


def encode_clip(frames: UInt8[np.ndarray, "t h w 3"], fps: float) -> bytes:
    """An mp4 (H.264, yuv420p, which every browser plays). Sides must be even.

    Raises:
        UserError: PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise UserError("Clips need the package av (PyAV).", fix="Install it: pip install av.") from error
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()
