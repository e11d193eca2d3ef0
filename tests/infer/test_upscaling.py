"""Upscaling: the size, tiles that make the whole, what a picture says of itself, and mistakes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import upscaler_model

from polarlight.base.errors import UserError
from polarlight.infer.upscaling import Upscaler, Upscaling, span
from polarlight.models.upscaler import UpscalerConfig, UpscalerModel
from polarlight.models.weights import export

CARD = {"hash": "0123abcd"}


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def upscaler(tile: int = 192) -> Upscaler:
    return Upscaler(upscaler_model(), CARD, torch.float32, tile=tile)


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize(("height", "width"), [(40, 56), (33, 17), (1, 3), (12, 70)])
def test_tiles_make_the_very_picture_that_the_whole_makes(height: int, width: int, factor: int) -> None:
    pixels, whole = photo(height, width), upscaler()
    tiled = Upscaler(whole.model, CARD, torch.float32, tile=16)
    made = tiled.upscale(pixels, factor)
    assert made.shape == (factor * height, factor * width, 3)
    assert np.array_equal(made, whole.upscale(pixels, factor))


def test_the_shipped_sizes_tiles_make_the_whole_too() -> None:
    model = UpscalerModel(UpscalerConfig())
    torch.nn.init.normal_(model.head.weight, std=0.02)
    pixels = photo(70, 90)
    made = [Upscaler(model, CARD, torch.float32, tile=tile).upscale(pixels) for tile in (32, 192)]
    assert np.array_equal(*made)


def test_a_pixel_beyond_the_margin_changes_nothing_and_one_within_it_does() -> None:
    one, reach = upscaler(), upscaler_model().config.receptive_field
    before, after = (np.full((9, 40, 3), 100, np.uint8) for _ in range(2))
    after[:, 20:] = 250
    changed = (one.upscale(before) != one.upscale(after)).any((0, 2))
    assert changed.any()
    assert changed.argmax() >= 2 * (20 - reach)


@pytest.mark.parametrize("start", [0, 16, 32, 48])
def test_every_piece_with_its_margins_is_equally_long(start: int) -> None:
    inside, around = span(start, 16, 4, 50)
    assert around.stop - around.start == 24
    assert around.start <= max(0, inside.start - 4)
    assert around.stop >= min(50, inside.stop + 4)


def test_between_two_tiles_there_is_time_for_other_work() -> None:
    under_way = Upscaling(upscaler(tile=16), photo(20, 40), 4)
    assert (under_way.done, under_way.total) == (0, 2 * 3 + 3 * 5)
    while not under_way.finished:
        under_way.step()
    assert under_way.pixels.shape == (80, 160, 3)


def test_the_settings_say_from_what_and_by_what_it_was_made() -> None:
    one, pixels = upscaler(), photo(10, 20)
    made = one.picture(one.run(pixels, 4), prompt="a cat", seed=3)
    about = made.metadata
    assert (about["task"], about["factor"], about["model"], about["prompt"]) == ("upscale", 4, "0123abcd", "a cat")
    assert (about["width"], about["height"], len(about["parent"])) == (80, 40, 16)
    assert (made.seed, made.passes) == (3, 1)


@pytest.mark.parametrize(
    ("factor", "size", "sentence"),
    [(3, (8, 8), "cannot be made 3 times"), (4, (1025, 1024), "4096 x 4100 px"), (2, (2049, 2048), "4096 x 4098 px")],
)
def test_an_absurd_size_is_refused_before_any_work(factor: int, size: tuple[int, int], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        upscaler().upscale(np.zeros((*size, 3), np.uint8), factor)


def test_written_weights_are_found_and_give_the_same_picture(tmp_path: Path) -> None:
    model = upscaler_model()
    card = export(model, tmp_path / "upscaler.safetensors", {"config": vars(model.config)}, int8=())
    loaded = Upscaler.find(tmp_path)
    assert loaded is not None
    assert loaded.card == card
    again, pixels = Upscaler.load(tmp_path), photo(24, 16)
    assert np.array_equal(loaded.upscale(pixels), again.upscale(pixels))
    near = Upscaler(model, CARD, loaded.dtype).upscale(pixels).astype(int) - loaded.upscale(pixels)
    assert np.abs(near).max() <= 3  # weights are kept in bf16


def test_without_weights_it_says_how_to_train_some(tmp_path: Path) -> None:
    assert Upscaler.find(tmp_path) is None
    with pytest.raises(UserError, match="no upscaler") as raised:
        Upscaler.load(tmp_path)
    assert "polarlight train upscaler-mini" in raised.value.fix


def test_a_card_of_something_else_is_named(tmp_path: Path) -> None:
    export(upscaler_model(), tmp_path / "upscaler.safetensors", {"config": {"wings": 2}})
    with pytest.raises(UserError, match="does not describe an upscaler"):
        Upscaler.load(tmp_path)
