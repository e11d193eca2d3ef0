"""PDQ gives the published hashes, stays near for copies and far for other pictures."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from polarlight.base.errors import UserError
from polarlight.media.pdq import BlockList, distance, matches, pdq_hash, pdq_variants

# what the reference implementation in C++ (ThreatExchange, as packaged in pdqhash 0.2.8) gives for `reference_picture`:
# height, width, number, quality, then the hash and those of the seven turned and mirrored pictures
REFERENCE = [
    (64, 64, 0, 4, "3a4138c70117f245ef07051f9241011764b7981d148f05f7010f6df725ff7dff"),
    (200, 300, 1, 100, "eaaace64cecc8a3a8eaad4558f78cc748e748c7c9c781c783878f0f803f07fc0"),
    (513, 257, 2, 100, "9c7e1cfe1cfc1cfc3c7838f838f838f870f8f0f8e1f801f007f0ffe0ff800000"),
    (40, 50, 3, 17, "02485b311546fe219494b2ef3ea2ea2fba83e12f72c2307f0827b57f0427d57f"),
]
REFERENCE_VARIANTS = {
    "rotate_90": "ffe408fa800dfbc2bbf9900efa83adfc88079800dafea801ba1c9a1f9800bbff",
    "rotate_180": "9bff64ce991800009bff6edf9a08669ed9212696c921b6d26d2d5a5256a5d56a",
    "rotate_270": "aab1b050d5585168aeac3aa4afd65756fd5232aa8eab42abef293095cd555155",
    "flip_rows": "eaaa319bcecc75c58eaa2baa8f78338b8e7473839c78e38738780f0703f0803f",
    "flip_columns": "bfff92209b199e6fdbff81009a2d9901db21d921c921492d6d2da5ad56a52a95",
    "transpose": "ffe4e505800d043dfbf96ff1fa830203a80767ffdbfe17feba7c65c098000400",
    "anti_transpose": "aab145af4558aa97aeac455b8f56a8a9cd52cc1588abad54ef09cd4acd558caa",
}


def reference_picture(height: int, width: int, number: int) -> np.ndarray:
    """A picture of whole-number arithmetic alone, the same on every machine."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [(x * x * (number + 1) + y * 37) // 97 + x * y // (31 + channel * 11) for channel in range(3)]
    return (np.stack(waves, -1) % 256).astype(np.uint8)


def shapes(seed: int, size: int = 256) -> np.ndarray:
    """Twelve rectangles of random colours."""
    random = np.random.default_rng(seed)
    pixels = np.full((size, size, 3), random.integers(0, 256, 3), np.uint8)
    for top, left, height, width in random.integers(0, size, (12, 4)):
        pixels[top : top + height // 2, left : left + width // 2] = random.integers(0, 256, 3)
    return pixels


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer).convert("RGB"))


@pytest.mark.parametrize(("height", "width", "number", "quality", "expected"), REFERENCE)
def test_the_hash_is_that_of_the_reference_implementation(
    height: int, width: int, number: int, quality: int, expected: str
) -> None:
    found = pdq_hash(reference_picture(height, width, number))
    assert (found.hex, found.quality) == (expected, quality)


def test_the_variants_are_those_of_the_reference_implementation() -> None:
    found = pdq_variants(reference_picture(200, 300, 1))
    assert {name: one.hex for name, one in found.items()} == {"original": REFERENCE[1][4], **REFERENCE_VARIANTS}


def test_a_copy_in_jpeg_or_at_another_size_stays_near() -> None:
    for seed in range(6):
        pixels = shapes(seed)
        small = np.asarray(Image.fromarray(pixels).resize((128, 128), Image.Resampling.LANCZOS))
        for copy in (jpeg(pixels, 40), small, np.clip(pixels * 0.9 + 12, 0, 255).astype(np.uint8)):
            assert distance(pdq_hash(pixels).hex, pdq_hash(copy).hex) <= 20


def test_different_pictures_lie_far_apart() -> None:
    hashes = [pdq_hash(shapes(seed)).hex for seed in range(20)]
    apart = [distance(a, b) for i, a in enumerate(hashes) for b in hashes[:i]]
    assert min(apart) > 60
    assert 115 < np.mean(apart) < 140


def test_half_of_the_bits_are_set() -> None:
    assert int(pdq_hash(shapes(0)).hex, 16).bit_count() == 128


def test_a_flat_picture_has_no_quality() -> None:
    assert pdq_hash(np.full((100, 100, 3), 90, np.uint8)).quality == 0
    assert pdq_hash(np.zeros((4, 100, 3), np.uint8)).hex == "0" * 64


def test_a_block_list_finds_turned_and_mirrored_copies() -> None:
    blocked = BlockList([(pdq_hash(shapes(1)).hex, "case 7")])
    for turned in (np.rot90(shapes(1)), shapes(1)[:, ::-1], np.rot90(shapes(1), 2)):
        found = matches(jpeg(np.ascontiguousarray(turned), 50), blocked)
        assert found is not None
        assert found.note == "case 7"
    assert matches(shapes(2), blocked) is None


def test_a_plain_picture_matches_only_its_very_hash() -> None:
    plain = reference_picture(64, 64, 0)
    own = pdq_hash(plain).hex
    near = f"{int(own, 16) ^ 1:064x}"
    assert matches(plain, BlockList([(own, "")])) is not None
    assert matches(plain, BlockList([(near, "")])) is None


def test_an_entry_matches_up_to_31_bits() -> None:
    def flipped(bits: int) -> str:
        return f"{(1 << bits) - 1:064x}"

    blocked = BlockList([("0" * 64, "zero")])
    assert blocked.nearest([flipped(31)]).distance == 31
    assert blocked.nearest([flipped(32)]) is None
    assert BlockList().nearest([flipped(0)]) is None


def test_a_block_list_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "blocked.txt"
    first, second = pdq_hash(shapes(1)).hex, pdq_hash(shapes(2)).hex
    path.write_text(f"# from the hotline\n{first.upper()} report 12, two words\n\n{second}\n", encoding="utf-8")
    blocked = BlockList.load(path)
    assert list(blocked) == [(first, "report 12, two words"), (second, "")]
    BlockList([*blocked, ("0" * 64, "third")]).save(path)
    assert list(BlockList.load(path)) == [*blocked, ("0" * 64, "third")]


def test_a_bad_line_of_a_block_list_is_named(tmp_path: Path) -> None:
    path = tmp_path / "blocked.txt"
    path.write_text("0" * 64 + "\n0123 too short\n", encoding="utf-8")
    with pytest.raises(UserError, match="Line 2"):
        BlockList.load(path)


def test_what_is_no_hash_is_refused() -> None:
    with pytest.raises(UserError, match="not a PDQ hash"):
        distance("0" * 64, "xyz")
