"""Prices in whole ticks."""

from pathlib import Path

import pytest

from polarlight.base.errors import UserError
from polarlight.serve.prices import ImagePrice, Prices, dollars

CENT = 10**8


def prices_with(tmp_path: Path, text: str) -> Prices:
    path = tmp_path / "prices.toml"
    path.write_text(text, encoding="utf-8")
    return Prices(path)


def test_the_shipped_table_has_the_published_prices() -> None:
    prices = Prices()
    assert prices.image("grok-imagine-image") == 2 * CENT
    assert prices.image("grok-imagine-image-2.0", quality="medium", resolution="2k") == 8 * CENT
    assert prices.video("grok-imagine-video", seconds=6, resolution="720p") == 42 * CENT
    assert prices.video("grok-imagine-video-1.5", seconds=1, resolution="1080p") == 25 * CENT


def test_pictures_are_paid_each_and_what_is_sent_along_once() -> None:
    assert Prices().image("grok-imagine-image-2.0", n=3, inputs=2) == 3 * 4 * CENT + 2 * 1 * CENT


def test_a_video_pays_for_the_pictures_and_seconds_sent_along() -> None:
    ticks = Prices().video("grok-imagine-video", seconds=2, inputs=1, input_seconds=3.5)
    assert ticks == 2 * 5 * CENT + CENT // 5 + 35 * CENT // 10


def test_a_part_of_a_tick_rounds_up(tmp_path: Path) -> None:
    prices = prices_with(tmp_path, '[videos."*"]\nsecond = { "480p" = 0.0000000001 }')
    assert prices.video("any", seconds=1.001) == 2


def test_the_operators_entries_lie_over_the_shipped_ones(tmp_path: Path) -> None:
    prices = prices_with(tmp_path, '[images."*"]\nlow = { "1k" = 0.001 }\n[credits]\nat_creation = 5')
    assert prices.image("any") == CENT // 10
    assert prices.image("any", resolution="2k") == 2 * CENT
    assert (prices.credit_at_creation, prices.monthly_grant) == (5 * 100 * CENT, 0)


def test_the_price_list_of_a_model_names_quality_and_resolution() -> None:
    listed = Prices().image_list("grok-imagine-image-2.0")
    assert listed[0] == ImagePrice(quality="low", resolution="1k", ticks=4 * CENT)
    assert len(listed) == 9


def test_a_price_that_is_not_in_the_table_is_refused_and_not_zero() -> None:
    with pytest.raises(UserError, match=r"no entry images / \* / low / 8k"):
        Prices().image("any", resolution="8k")


@pytest.mark.parametrize("value", ["-1", '"cheap"', "0.00000000001", "true", "nan", "[1]"])
def test_a_price_that_is_no_amount_names_its_place(tmp_path: Path, value: str) -> None:
    with pytest.raises(UserError, match=r"credits\.at_creation"):
        prices_with(tmp_path, f"[credits]\nat_creation = {value}")


def test_a_broken_prices_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"prices\.toml"):
        prices_with(tmp_path, "[credits")


@pytest.mark.parametrize(
    ("ticks", "text"), [(0, "$0.00"), (2 * CENT, "$0.02"), (CENT // 5, "$0.002"), (-150 * CENT, "$-1.50")]
)
def test_ticks_are_shown_in_dollars(ticks: int, text: str) -> None:
    assert dollars(ticks) == text.replace("$-", "-$")
