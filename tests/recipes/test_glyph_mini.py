"""The glyph reader's crops."""

import pytest
import torch

from polarlight.recipes.glyph_mini import GlyphCrops


@pytest.fixture(scope="module")
def crops() -> GlyphCrops:
    return GlyphCrops()


def test_a_batch_is_a_function_of_its_number(crops: GlyphCrops) -> None:
    (one, label), (again, same), (other, _) = (crops.batch(number, 8) for number in (3, 3, 4))
    assert torch.equal(one, again)
    assert torch.equal(label, same)
    assert not torch.equal(one, other)


def test_crops_show_ink_on_paper(crops: GlyphCrops) -> None:
    pixels, label = crops.batch(0, 64)
    assert pixels.shape == (64, 3, 32, 32)
    assert pixels.abs().max() < 1.5
    assert (pixels.amax((2, 3)) - pixels.amin((2, 3))).amax(1).min() > 0.3
    assert label.max() < len(crops.letters)


def test_two_crops_in_three_show_ascii(crops: GlyphCrops) -> None:
    _, label = crops.batch(1, 2000)
    share = sum(crops.letters[i].isascii() for i in label.tolist()) / 2000
    assert share == pytest.approx(2 / 3, abs=0.05)
