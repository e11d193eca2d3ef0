"""Clips that every player reads, with their settings; what cannot be read is one sentence."""

import io
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from polarlight.base.errors import UserError
from polarlight.media import clips
from polarlight.media.clips import clip_facts, encode_clip, rewrite_clip, sample_frames, sample_luma

ABOUT = {"prompt": "eine Katze, 고양이", "seed": 7}


def grey(*shades: int, height: int = 32, width: int = 48) -> np.ndarray:
    return np.stack([np.full((height, width, 3), shade, np.uint8) for shade in shades])


def clip(frames: int, fps: float = 10) -> bytes:
    return encode_clip(grey(*np.linspace(20, 200, frames).astype(np.uint8)), fps, ABOUT)


def with_sound(pixels: np.ndarray, rate: int = 8000, *, codec: str = "libx264", pix_fmt: str = "yuv420p") -> bytes:
    """A clip of another program: one second, with a tone, and with frames that do not last equally long."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        picture = container.add_stream(codec, rate=10)
        picture.height, picture.width, picture.pix_fmt = *pixels.shape[1:3], pix_fmt
        picture.codec_context.time_base = Fraction(1, 100)
        tone = container.add_stream("aac", rate=rate, layout="mono")
        for number, one in enumerate(pixels):
            frame = av.VideoFrame.from_ndarray(one, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = number * number, Fraction(1, 100)
            container.mux(picture.encode(frame))
        sine = np.sin(np.arange(rate, dtype=np.float32) / 5)[None]
        sound = av.AudioFrame.from_ndarray(sine, format="fltp", layout="mono")
        sound.rate, sound.pts = rate, 0
        for stream, last in ((tone, sound), (tone, None), (picture, None)):
            container.mux(stream.encode(last))
    return buffer.getvalue()


def contents(clip: bytes) -> tuple[list[float], list[int], bytes]:
    """The times and mean shades of the frames, and the sound's packets."""
    with av.open(io.BytesIO(clip)) as container:
        frames = [
            (frame.time, round(float(frame.to_ndarray(format="gray").mean()))) for frame in container.decode(video=0)
        ]
    with av.open(io.BytesIO(clip)) as container:
        sound = b"".join(bytes(packet) for packet in container.demux(audio=0)) if container.streams.audio else b""
    return [time for time, _ in frames], [shade for _, shade in frames], sound


def boxes_swapped(content: bytes) -> bytes:
    """The movie header before the pictures, as files for the web have it."""
    parts, place = [], 0
    while place < len(content):
        size = int.from_bytes(content[place : place + 4])
        parts.append(content[place : place + size])
        place += size
    return b"".join(sorted(parts, key=lambda part: (b"ftyp", b"moov", b"free", b"mdat").index(part[4:8])))


def test_a_clip_has_its_frames_in_order_at_its_rate() -> None:
    content = encode_clip(grey(20, 120, 220, 60), 12.5)
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.video[0]
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert float(stream.average_rate) == 12.5
    assert [frame.shape for frame in decoded] == [(32, 48, 3)] * 4
    assert [round(float(frame.mean())) for frame in decoded] == pytest.approx([20, 120, 220, 60], abs=2)


@pytest.mark.parametrize("colour", [(220, 30, 0), (0, 200, 30), (20, 40, 230)], ids=["red", "green", "blue"])
def test_a_player_that_heeds_the_colour_marks_sees_the_colour(colour: tuple[int, int, int]) -> None:
    content = encode_clip(np.full((2, 64, 64, 3), colour, np.uint8), 8)
    with av.open(io.BytesIO(content)) as container:
        marks = container.streams.video[0].codec_context
        assert (marks.colorspace, marks.color_primaries, marks.color_trc, marks.color_range) == (1, 1, 1, 1)
    assert sample_frames(content)[0][32, 32].tolist() == pytest.approx(colour, abs=5)


def test_the_settings_come_back_and_the_same_input_gives_the_same_bytes() -> None:
    assert dict(clip_facts(clip(3)).settings) == ABOUT
    assert clip(3) == clip(3)


def test_other_programs_show_the_prompt() -> None:
    with av.open(io.BytesIO(clip(2))) as container:
        assert container.metadata["description"].startswith("eine Katze, 고양이\nSeed: 7, Size: 48x32")


def test_a_clip_without_settings_has_none() -> None:
    assert dict(clip_facts(encode_clip(grey(50, 60), 8)).settings) == {}


def test_settings_that_are_damaged_are_one_sentence() -> None:
    content = clip(2).replace(b'"seed": 7}}', b'"seed": 7]]')
    with pytest.raises(UserError, match="settings inside the clip are damaged"):
        clip_facts(content)


def test_size_and_length_are_read() -> None:
    facts = clip_facts(clip(15))
    assert (facts.width, facts.height, facts.frames, round(facts.seconds, 3)) == (48, 32, 15, 1.5)


def test_the_first_the_middle_and_the_last_frame_are_taken() -> None:
    stills = sample_frames(clip(9))
    assert [still.shape for still in stills] == [(32, 48, 3)] * 3
    assert [round(float(still.mean()) / 10) for still in stills] == pytest.approx([2, 11, 20], abs=1)


@pytest.mark.parametrize(("frames", "stills"), [(1, 1), (2, 2), (3, 3)])
def test_a_short_clip_has_fewer(frames: int, stills: int) -> None:
    assert len(sample_frames(clip(frames))) == stills


@pytest.mark.parametrize(("most", "found"), [(4, [20, 67, 114, 162]), (100, [20, 43, 67, 90, 114, 138, 162, 186])])
def test_luma_is_taken_evenly_in_grey_levels(most: int, found: list[int]) -> None:
    shades = grey(20, 43, 67, 90, 114, 138, 162, 186)
    taken = list(sample_luma(encode_clip(shades, 8), most))
    assert [float(luma.mean()) for luma in taken] == pytest.approx(found, abs=1.5)


def test_a_change_of_luma_reaches_every_frame_and_leaves_times_and_sound_alone() -> None:
    before = with_sound(grey(40, 80, 120, 160))
    after = rewrite_clip(before, lambda luma: luma + 30, ABOUT)
    times, shades, sound = contents(after)
    assert times == [0.0, 0.01, 0.04, 0.09]
    assert shades == pytest.approx([70, 110, 150, 190], abs=2)
    assert sound == contents(before)[2]
    assert len(sound) > 1000
    assert dict(clip_facts(after).settings) == ABOUT


def test_without_a_change_the_pictures_are_the_same_to_the_bit() -> None:
    before = with_sound(grey(40, 80, 120, 160))
    after = rewrite_clip(before, None, ABOUT)
    assert contents(after) == contents(before)
    assert dict(clip_facts(after).settings) == ABOUT
    assert [np.array_equal(*pair) for pair in zip(sample_frames(after), sample_frames(before), strict=True)] == [
        True
    ] * 3


def test_colours_stay_when_the_luma_changes() -> None:
    before = encode_clip(np.full((3, 64, 64, 3), (200, 60, 30), np.uint8), 8)
    after = rewrite_clip(before, lambda luma: luma)
    assert sample_frames(after)[1][32, 32].tolist() == pytest.approx(sample_frames(before)[1][32, 32].tolist(), abs=3)


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuvj420p", "yuv420p10le"])
def test_clips_of_other_layouts_are_changed_too(pix_fmt: str) -> None:
    before = with_sound(grey(40, 80, 120, 160), pix_fmt=pix_fmt)
    assert contents(rewrite_clip(before, lambda luma: luma + 30))[1] == pytest.approx([70, 110, 150, 190], abs=2)


def test_an_odd_side_is_one_sentence() -> None:
    odd = with_sound(grey(40, 80, height=33), pix_fmt="yuv444p")
    with pytest.raises(UserError, match="48 x 33 px has an odd side"):
        rewrite_clip(odd, lambda luma: luma)


@pytest.mark.parametrize(
    "content", [b"", b"no clip", bytes(4) + b"ftypisom" + bytes(90)], ids=["empty", "text", "bare"]
)
def test_what_is_no_clip_is_one_sentence(content: bytes) -> None:
    for read in (clip_facts, sample_frames, lambda given: rewrite_clip(given, lambda luma: luma)):
        with pytest.raises(UserError, match="The clip is"):
            read(content)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.99])
@pytest.mark.parametrize("header_first", [False, True])
def test_a_clip_that_was_cut_off_is_called_so(share: float, header_first: bool) -> None:
    whole = boxes_swapped(clip(12)) if header_first else clip(12)
    cut = whole[: int(len(whole) * share)]
    for read in (clip_facts, sample_frames, lambda given: rewrite_clip(given, lambda luma: luma)):
        with pytest.raises(UserError, match="The clip is cut off"):
            read(cut)


def test_damaged_bytes_are_read_or_refused_in_one_sentence() -> None:
    whole, random = clip(12), np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 4):
            damaged[place] ^= int(random.integers(1, 256))
        try:
            rewrite_clip(bytes(damaged), lambda luma: luma)
        except UserError:
            refused += 1
    assert 0 < refused < 60


def test_a_clip_of_sound_alone_has_no_pictures() -> None:
    with av.open(io.BytesIO(with_sound(grey(40, 80)))) as source:
        buffer = io.BytesIO()
        with av.open(buffer, "w", format="mp4") as container:
            copy = container.add_stream_from_template(source.streams.audio[0])
            for packet in source.demux(audio=0):
                if packet.dts is not None:
                    packet.stream = copy
                    container.mux(packet)
    with pytest.raises(UserError, match="no pictures"):
        clip_facts(buffer.getvalue())


def test_bounds_of_length_and_size_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="longer than 600 seconds"):
        clip_facts(encode_clip(grey(40, 80), 1 / 400))
    monkeypatch.setattr(clips, "MOST_PIXELS", 1000)
    with pytest.raises(UserError, match="more than 1,000 px"):
        sample_frames(clip(2))


def test_without_the_package_there_is_one_sentence_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match="PyAV") as raised:
        encode_clip(np.zeros((1, 2, 2, 3), np.uint8), 8)
    assert "pip install av" in raised.value.fix
