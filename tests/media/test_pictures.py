"""Pictures keep their settings, and a bad file says what is wrong with it."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polarlight.base.errors import UserError
from polarlight.media.pictures import (
    encode_picture,
    file_stem,
    load_mask,
    load_picture,
    read_metadata,
    save_new_picture,
    save_picture,
)

METADATA = {"prompt": "'OPEN' 고양이", "seed": 7, "mode": "speed", "passes": 12, "plan": [{"box": [0.1, 0.2]}]}


@pytest.fixture
def pixels() -> np.ndarray:
    y, x = np.mgrid[0:48, 0:80]
    return np.stack([y * 5, x * 3, y + x], -1).astype(np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".JPEG", ".webp"])
def test_settings_come_back_from_the_file(tmp_path: Path, pixels: np.ndarray, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    save_picture(path, pixels, METADATA)
    assert read_metadata(path) == METADATA
    assert load_picture(path).shape == pixels.shape


def test_a_png_comes_back_pixel_for_pixel(tmp_path: Path, pixels: np.ndarray) -> None:
    save_picture(tmp_path / "picture.png", pixels, METADATA)
    assert np.array_equal(load_picture(tmp_path / "picture.png"), pixels)


def test_a_png_shows_its_parameters_to_other_programs(tmp_path: Path, pixels: np.ndarray) -> None:
    save_picture(tmp_path / "picture.png", pixels, METADATA)
    with Image.open(tmp_path / "picture.png") as picture:
        assert picture.text["parameters"] == (
            "'OPEN' 고양이\nSteps: 12, Sampler: speed, Seed: 7, Size: 80x48, Version: Polarlight"
        )


def test_a_picture_made_elsewhere_has_no_settings(tmp_path: Path, pixels: np.ndarray) -> None:
    for name in ("foreign.png", "foreign.jpg"):
        Image.fromarray(pixels).save(tmp_path / name)
        assert read_metadata(tmp_path / name) == {}


def test_a_new_picture_never_replaces_another(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "cat-7.png"
    names = [save_new_picture(path, pixels, {"seed": seed}).name for seed in (7, 8, 9)]
    assert names == ["cat-7.png", "cat-7-2.png", "cat-7-3.png"]
    assert read_metadata(path) == {"seed": 7}


def test_the_very_same_picture_keeps_its_name(tmp_path: Path, pixels: np.ndarray) -> None:
    save_new_picture(tmp_path / "cat.png", pixels, METADATA)
    assert save_new_picture(tmp_path / "cat.png", pixels, METADATA) == tmp_path / "cat.png"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_quality_trades_size_for_likeness(pixels: np.ndarray, suffix: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, pixels.shape, np.uint8)
    files = [encode_picture(pixels, METADATA, suffix, quality=quality) for quality in (0, 50, 95, 100)]
    far = [np.abs(np.array(Image.open(io.BytesIO(file))).astype(int) - pixels).mean() for file in files]
    assert [len(file) for file in files] == sorted(len(file) for file in files)
    assert far == sorted(far, reverse=True)
    assert files[2] == encode_picture(pixels, METADATA, suffix)


def test_a_png_is_the_same_at_any_quality(pixels: np.ndarray) -> None:
    assert encode_picture(pixels, METADATA, ".png", quality=0) == encode_picture(pixels, METADATA, ".png")


@pytest.mark.parametrize("quality", [-1, 101])
def test_a_quality_out_of_range_is_refused(pixels: np.ndarray, quality: int) -> None:
    with pytest.raises(UserError, match=f"quality of {quality} ") as raised:
        encode_picture(pixels, METADATA, ".jpg", quality=quality)
    assert raised.value.fix


def test_an_unknown_suffix_is_refused_before_anything_is_written(tmp_path: Path, pixels: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"\.gif.*\.png"):
        save_picture(tmp_path / "picture.gif", pixels, {})
    assert list(tmp_path.iterdir()) == []


def test_settings_too_long_for_a_jpeg_are_refused(tmp_path: Path, pixels: np.ndarray) -> None:
    with pytest.raises(UserError, match="too long for a JPEG"):
        save_picture(tmp_path / "picture.jpg", pixels, {"prompt": "x" * 70_000})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"There is no file .*nothing\.png"):
        load_picture(tmp_path / "nothing.png")


def test_a_folder_is_not_a_picture(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Cannot read"):
        load_picture(tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"%PDF-1.4", bytes(1000)])
def test_a_file_that_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"notes\.png is not a picture"):
        load_picture(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_picture_cut_off_anywhere_is_a_users_mistake(
    tmp_path: Path, pixels: np.ndarray, suffix: str, share: float
) -> None:
    path = tmp_path / f"cut{suffix}"
    save_picture(path, np.repeat(np.repeat(pixels, 4, 0), 4, 1), {})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match=r"cut off or damaged|not a picture"):
        load_picture(path)


def test_a_truncated_picture_says_that_it_is_cut_off(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "cut.png"
    save_picture(path, pixels, METADATA)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(UserError, match=r"cut\.png is cut off or damaged"):
        load_picture(path)


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_decompression_bomb_is_refused_unopened(tmp_path: Path, side: int) -> None:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
    with pytest.raises(UserError, match="more than 89 megapixels"):
        load_picture(path)


def test_damaged_settings_are_reported(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "picture.png"
    chunks = Image.Exif()
    chunks[0x010E] = '{"polarlight": {"prompt": '
    Image.fromarray(pixels).save(path, exif=chunks)
    with pytest.raises(UserError, match=r"settings inside .* are damaged"):
        read_metadata(path)


def test_a_sideways_photograph_is_turned_upright(tmp_path: Path, pixels: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side: turn a quarter clockwise to show
    Image.fromarray(pixels).save(tmp_path / "photo.png", exif=exif)
    assert np.array_equal(load_picture(tmp_path / "photo.png"), np.rot90(pixels, -1))


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "RGBA", "LA", "I;16"])
def test_every_kind_of_pixel_becomes_rgb(tmp_path: Path, pixels: np.ndarray, mode: str) -> None:
    grey = mode == "I;16"
    picture = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257) if grey else Image.fromarray(pixels).convert(mode)
    path = tmp_path / ("picture.tiff" if mode == "CMYK" else "picture.png")
    picture.save(path)
    loaded = load_picture(path)
    assert loaded.shape == (48, 80, 3)
    if grey:
        assert np.array_equal(loaded[..., 1], pixels[..., 0])


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    assert (load_picture(tmp_path / "clear.png") == 255).all()


def test_the_white_of_a_mask_is_the_place_that_may_change(tmp_path: Path) -> None:
    picture = Image.new("L", (6, 4))
    picture.paste(255, (0, 0, 3, 4))
    picture.save(tmp_path / "mask.png")
    mask = load_mask(tmp_path / "mask.png", 4, 6)
    assert mask[:, :3].all()
    assert not mask[:, 3:].any()


def test_the_hole_in_a_transparent_mask_is_the_place_that_may_change(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (6, 4), (255, 255, 255, 255))
    picture.paste((0, 0, 0, 0), (4, 0, 6, 4))
    picture.save(tmp_path / "mask.png")
    mask = load_mask(tmp_path / "mask.png", 4, 6)
    assert mask[:, 4:].all()
    assert not mask[:, :4].any()


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    Image.new("L", (6, 4), 255).save(tmp_path / "mask.png")
    with pytest.raises(UserError, match="6x4 pixels, the picture 8x8"):
        load_mask(tmp_path / "mask.png", 8, 8)


def test_a_mask_that_marks_nothing_is_refused(tmp_path: Path) -> None:
    Image.new("L", (6, 4)).save(tmp_path / "mask.png")
    with pytest.raises(UserError, match="marks nothing"):
        load_mask(tmp_path / "mask.png", 4, 6)


@pytest.mark.parametrize(
    ("text", "stem"),
    [
        ("A cat and a dog", "a-cat-and-a-dog-7"),
        ("a sign that says 'OPEN!'", "a-sign-that-says-open-7"),
        ("../../etc/passwd", "etc-passwd-7"),
        ("고양이 한 마리", "고양이-한-마리-7"),
        ("?!", "picture-7"),
        ("word " * 100, "word-word-word-word-word-word-word-word-word-7"),
    ],
)
def test_a_file_name_is_short_and_safe(text: str, stem: str) -> None:
    assert file_stem(text, 7) == stem


def test_a_file_name_fits_the_file_system_in_any_script(tmp_path: Path) -> None:
    (tmp_path / f"{file_stem('고양이' * 300, 2**32)}.png").write_bytes(io.BytesIO().getvalue())
