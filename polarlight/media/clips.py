"""Clips as MP4 files: frames with the settings that made them, read back with a clear sentence where that fails.

H.264 in yuv420p, which every browser plays, marked as BT.709, so that players agree on the colours. The library is PyAV.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from ..base.errors import UserError
from .pictures import KEY, parameters_text

MOST_SECONDS = 600
MOST_PIXELS = 4096 * 4096  # a frame
CRF = "18"  # of x264: the mark and the picture both last
BT709, LIMITED, FULL = 1, 1, 2  # FFmpeg's numbers of the colour space and of the two ranges of luma
SETTINGS_TAG, TEXT_TAG = "comment", "description"
NO_CLIP = "The clip is not an mp4 that can be read."
Luma = Float32[np.ndarray, "h w"]


@dataclass(frozen=True, kw_only=True)
class ClipFacts:
    """What a clip's container says: pixels a side, frames, seconds, and the settings that Polarlight put there."""

    width: int
    height: int
    frames: int
    seconds: float
    settings: Mapping[str, Any] = field(default_factory=dict)


def encode_clip(frames: UInt8[np.ndarray, "t h w 3"], fps: float, metadata: Mapping[str, Any] | None = None) -> bytes:
    """An mp4 of frames; the same input gives the same bytes. Sides must be even.

    `metadata` (plain JSON) goes into the file twice: as JSON, which `clip_facts` returns, and as text that players show.

    Raises:
        UserError: PyAV is not installed.
    """
    av = _library()
    height, width = frames.shape[1:3]
    assert height % 2 == width % 2 == 0, "a clip has even sides"
    with _writing(av, metadata, (width, height)) as (container, buffer):
        stream = _add_video(container, Fraction(fps).limit_denominator(1000), (width, height))
        for name in ("colorspace", "color_primaries", "color_trc"):
            setattr(stream.codec_context, name, BT709)
        stream.codec_context.color_range = LIMITED
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame = frame.reformat(format="yuv420p", dst_colorspace=BT709, dst_color_range=LIMITED)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def rewrite_clip(
    content: bytes, change: Callable[[Luma], Luma] | None, metadata: Mapping[str, Any] | None = None
) -> bytes:
    """The clip with the luma of every frame changed (grey levels of 0 to 255), and new settings.

    Colours, times and sound stay as they are; the pictures are encoded again, unless `change` is None.

    Raises:
        UserError: PyAV is not installed, the clip cannot be read or is cut off, or a side is odd.
    """
    av = _library()
    with _reading(av, content) as (source, video):
        size = video.width, video.height
        if change is not None and (size[0] % 2 or size[1] % 2):
            raise UserError(f"The clip of {size[0]} x {size[1]} px has an odd side.", fix="Make both sides even.")
        with _writing(av, metadata, size) as (container, buffer):
            encoder = None if change is None else _encoder_like(container, video)
            kept = [*source.streams.audio, *([video] if encoder is None else [])]
            copies = {each.index: container.add_stream_from_template(each) for each in kept}
            for packet in source.demux(video, *source.streams.audio):
                if packet.stream.index in copies:
                    if packet.dts is not None:  # the last packet of a stream is an empty one
                        packet.stream = copies[packet.stream.index]
                        container.mux(packet)
                    continue
                for frame in packet.decode():
                    container.mux(encoder.encode(_changed(av, _plain(frame, size), change)))
            if encoder is not None:
                container.mux(encoder.encode())
    return buffer.getvalue()


def clip_facts(content: bytes) -> ClipFacts:
    """Size, length and settings of a clip's bytes, without decoding a frame.

    Raises:
        UserError: PyAV is not installed, the bytes are not a clip, it is cut off, it is longer than ten minutes, its frames
            have more than 4096 x 4096 px, or its settings are damaged.
    """
    with _reading(_library(), content) as (container, video):
        times = [
            float((packet.pts + (packet.duration or 0)) * packet.time_base)
            for packet in container.demux(video)
            if packet.size and packet.pts is not None
        ]
        if not times:
            raise UserError("The clip has no frames.", fix="Give an mp4 file with pictures.")
        if max(times) > MOST_SECONDS:
            raise UserError(f"The clip is longer than {MOST_SECONDS} seconds.", fix="Give a shorter one.")
        return ClipFacts(
            width=video.width,
            height=video.height,
            frames=len(times),
            seconds=max(times),
            settings=_settings(container.metadata),
        )


def sample_frames(content: bytes) -> list[UInt8[np.ndarray, "h w 3"]]:
    """The first, the middle and the last frame of a clip's bytes; fewer where it has fewer.

    Raises:
        UserError: as `clip_facts`.
    """
    count = clip_facts(content).frames
    frames = _chosen(content, {0, count // 2, count - 1})
    return [frame.to_ndarray(format="rgb24") for frame, _ in frames]


def sample_luma(content: bytes, most: int) -> Iterator[Luma]:
    """The luma of at most `most` frames, spread evenly over the clip; grey levels of 0 to 255.

    Raises:
        UserError: as `clip_facts`.
    """
    count = clip_facts(content).frames
    wanted = {number * count // min(most, count) for number in range(min(most, count))}
    return (_luma(_plain(frame, size)) for frame, size in _chosen(content, wanted))


def _chosen(content: bytes, wanted: Iterable[int]) -> Iterator[tuple[Any, tuple[int, int]]]:
    """The frames of these numbers, and the clip's size."""
    with _reading(_library(), content) as (container, video):
        for number, frame in enumerate(container.decode(video)):
            if number in wanted:
                yield frame, (video.width, video.height)


def _plain(frame: Any, size: tuple[int, int]) -> Any:
    """A decoded frame in yuv420p and of the clip's size, whatever the codec made of it."""
    plain = frame.reformat(format="yuv420p", width=size[0], height=size[1])
    plain.pts, plain.time_base = frame.pts, frame.time_base
    return plain


def _luma(frame: Any) -> Luma:
    low, scale = _range(frame)
    return (frame.to_ndarray()[: frame.height].astype(np.float32) - low) / scale


def _changed(av: ModuleType, frame: Any, change: Callable[[Luma], Luma]) -> Any:
    """The frame with its luma changed and all else as it was."""
    low, scale = _range(frame)
    planes = frame.to_ndarray()
    luma = change((planes[: frame.height].astype(np.float32) - low) / scale)
    planes[: frame.height] = np.clip(np.rint(luma * scale + low), 0, 255)
    changed = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    for name in ("pts", "time_base", "colorspace", "color_range", "color_primaries", "color_trc"):
        setattr(changed, name, getattr(frame, name))
    return changed


def _range(frame: Any) -> tuple[float, float]:
    """What black is in the file, and how many of its steps a grey level takes."""
    return (0.0, 1.0) if frame.color_range == FULL else (16.0, 219 / 255)


def _add_video(container: Any, rate: Fraction, size: tuple[int, int]) -> Any:
    stream = container.add_stream("libx264", rate=rate, options={"crf": CRF})
    stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
    return stream


def _encoder_like(container: Any, video: Any) -> Any:
    """A stream with the size, the times and the colours of another."""
    stream = _add_video(container, video.average_rate or Fraction(25), (video.width, video.height))
    stream.codec_context.time_base = video.time_base
    for name in ("colorspace", "color_primaries", "color_trc", "color_range"):
        setattr(stream.codec_context, name, getattr(video.codec_context, name))
    return stream


@contextmanager
def _writing(
    av: ModuleType, metadata: Mapping[str, Any] | None, size: tuple[int, int]
) -> Iterator[tuple[Any, io.BytesIO]]:
    """An mp4 in memory, finished when the block ends, with its settings."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        if metadata:
            text = parameters_text(metadata, size).replace("\0", " ").encode(errors="replace").decode()
            container.metadata.update({SETTINGS_TAG: json.dumps({KEY: metadata}, sort_keys=True), TEXT_TAG: text})
        yield container, buffer


@contextmanager
def _reading(av: ModuleType, content: bytes) -> Iterator[tuple[Any, Any]]:
    """The opened clip and its pictures; every way in which reading fails is one sentence."""
    if _cut_off(content):
        raise UserError("The clip is cut off.", fix="Copy or download it again.")
    try:
        with av.open(io.BytesIO(content), "r", format="mp4", metadata_errors="replace") as container:
            if not container.streams.video:
                raise UserError("The clip has no pictures.", fix="Give an mp4 file with pictures.")
            video = container.streams.video[0]
            if video.codec_context is None:
                raise UserError("The clip's pictures are of an unknown codec.", fix="Give an mp4 file with H.264.")
            if video.width * video.height > MOST_PIXELS:
                raise UserError(f"The clip's frames have more than {MOST_PIXELS:,} px.", fix="Make it smaller first.")
            video.codec_context.options = {"max_pixels": str(MOST_PIXELS)}  # a later header can say another size
            yield container, video
    except av.error.FFmpegError as error:
        raise UserError(NO_CLIP, fix="Give an mp4 file.") from error


def _cut_off(content: bytes) -> bool:
    """Whether the last of the file's boxes is longer than what is there of it (ISO 14496-12, section 4.2)."""
    place = 0
    while place + 8 <= len(content):
        size = int.from_bytes(content[place : place + 4])
        if size == 1:
            size = int.from_bytes(content[place + 8 : place + 16])
        if size < 8:
            return False  # 0: the box goes to the end of the file; anything else is for the decoder to refuse
        place += size
    return place != len(content)


def _settings(tags: Mapping[str, str]) -> dict[str, Any]:
    text = tags.get(SETTINGS_TAG, "")
    if not text.startswith(f'{{"{KEY}":'):
        return {}
    try:
        data = json.loads(text)[KEY]
    except ValueError as error:
        raise UserError("The settings inside the clip are damaged.", fix="Set prompt and seed by hand.") from error
    return data if isinstance(data, dict) else {}


def _library() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise UserError("Clips need the package av (PyAV).", fix="Install it: pip install av.") from error
    return av
