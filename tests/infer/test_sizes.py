"""Native sizes: the nearest a model has, and a sentence where it is not what was asked."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from polarlight.base.errors import UserError
from polarlight.infer.sizes import nearest_size, ratio, upscaled_size

SIZES = {
    "1k": {"1:1": (1024, 1024), "16:9": (1408, 768), "9:16": (768, 1408)},
    "2k": {"1:1": (2048, 2048), "16:9": (2816, 1536)},
}


@pytest.mark.parametrize(
    ("size", "resolution", "native", "chosen"),
    [
        ("16:9", None, (2816, 1536), "2k"),
        ("16:9", "1k", (1408, 768), "1k"),
        ("auto", None, (2048, 2048), "2k"),
        ("1024x1024", None, (1024, 1024), "1k"),
        ("1408x768", None, (1408, 768), "1k"),
        ("2048x2048", "2k", (2048, 2048), "2k"),
    ],
)
def test_a_size_the_model_has_is_taken_without_a_word(
    size: str, resolution: str | None, native: tuple[int, int], chosen: str
) -> None:
    found = nearest_size(SIZES, size, resolution)
    assert ((found.width, found.height), found.resolution, found.note) == (native, chosen, "")


@pytest.mark.parametrize(
    ("size", "resolution", "native", "said"),
    [
        ("19.5:9", "1k", (1408, 768), "no aspect 19.5:9"),
        ("1:1", "4k", (2048, 2048), "no resolution 4k"),
        ("1500x1500", None, (1024, 1024), "no size 1500x1500"),
        ("512x512", None, (1024, 1024), "no size 512x512"),
        ("9999x9999", None, (2048, 2048), "no size 9999x9999"),
        ("500x900", "4k", (1024, 1024), "no resolution 4k and no size 500x900"),
    ],
)
def test_any_other_size_is_the_nearest_and_said(
    size: str, resolution: str | None, native: tuple[int, int], said: str
) -> None:
    found = nearest_size(SIZES, size, resolution)
    assert (found.width, found.height) == native
    assert said in found.note
    assert f"{native[0]}x{native[1]}" in found.note


@pytest.mark.parametrize(
    ("size", "native"),
    [("1000x600", (992, 608)), ("640x480", (640, 480)), ("4000x2000", (1440, 704)), ("3x3", (32, 32))],
)
def test_where_every_multiple_is_native_pixels_are_only_rounded(size: str, native: tuple[int, int]) -> None:
    found = nearest_size(SIZES, size, None, multiple=32, most_pixels=1 << 20)
    assert (found.width, found.height) == native
    assert bool(found.note) == (size != "640x480")


@example(width=96, height=8225, multiple=64)  # fits, and would not if both sides were rounded up
@given(width=st.integers(1, 9999), height=st.integers(1, 9999), multiple=st.sampled_from([None, 8, 64]))
def test_a_size_is_never_made_up(width: int, height: int, multiple: int | None) -> None:
    found = nearest_size(SIZES, f"{width}x{height}", None, multiple, 1 << 20 if multiple else None)
    if multiple:
        assert found.width % multiple == found.height % multiple == 0
        assert found.width * found.height <= max(1 << 20, multiple * found.width, multiple * found.height)
    else:
        assert (found.width, found.height) in [native for row in SIZES.values() for native in row.values()]


@pytest.mark.parametrize("factor", [2, 4])
def test_an_upscaled_picture_has_every_pixel_that_its_size_promises(factor: int) -> None:
    size = upscaled_size(120, 77, factor)
    assert (size.width, size.height, size.note) == (120 * factor, 77 * factor, "")


@pytest.mark.parametrize(
    ("width", "height", "factor"), [(100, 100, 3), (100, 100, 0), (1025, 1024, 4), (89_000, 1000, 2)]
)
def test_an_upscaling_beyond_reason_is_refused_with_a_way_out(width: int, height: int, factor: int) -> None:
    with pytest.raises(UserError) as raised:
        upscaled_size(width, height, factor)
    assert raised.value.fix


@pytest.mark.parametrize("size", ["", "big", "0:1", "1x0", "16/9", "-1:2", "1024 x 768", "1:1:1", "٣:٢"])
def test_what_is_no_size_is_refused(size: str) -> None:
    with pytest.raises(UserError, match="size") as raised:
        nearest_size(SIZES, size, None)
    assert raised.value.fix


def test_a_ratio_is_width_over_height() -> None:
    assert ratio("19.5:9") == 19.5 / 9
    assert ratio("1024x768") == 4 / 3
