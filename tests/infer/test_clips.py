"""Clips that other programs can read."""

import io
import sys

import numpy as np
import pytest

from polarlight.base.errors import UserError
from polarlight.infer.clips import encode_clip


def test_a_clip_has_its_frames_in_order_at_its_rate() -> None:
    av = pytest.importorskip("av")
    shades = (20, 120, 220, 60)
    frames = np.stack([np.full((32, 48, 3), shade, np.uint8) for shade in shades])
    with av.open(io.BytesIO(encode_clip(frames, 12.5))) as container:
        stream = container.streams.video[0]
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert float(stream.average_rate) == 12.5
    assert [frame.shape for frame in decoded] == [(32, 48, 3)] * 4
    assert all(abs(frame.mean() - shade) < 4 for frame, shade in zip(decoded, shades, strict=True))


def test_without_the_package_there_is_one_sentence_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match="PyAV") as raised:
        encode_clip(np.zeros((1, 2, 2, 3), np.uint8), 8)
    assert "pip install av" in raised.value.fix
