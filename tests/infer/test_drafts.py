"""Drafts of pictures under way: what is drawn stays, the rest is soft."""

import torch
from torch import Tensor

from polarlight.infer.drafts import GREY, draft, fill_undrawn


def flags(*positions: tuple[int, int]) -> Tensor:
    """A picture of 4 x 6 positions of which some are drawn."""
    drawn = torch.zeros(4, 6, dtype=torch.bool)
    for row, column in positions:
        drawn[row, column] = True
    return drawn


def noise() -> Tensor:
    return torch.randint(0, 256, (64, 96, 3), dtype=torch.uint8)


def roughness(pixels: Tensor) -> float:
    return float(pixels.float().diff(dim=1).abs().mean())


def test_undrawn_positions_take_the_codes_of_the_nearest_drawn_one() -> None:
    digits = torch.arange(24, dtype=torch.uint8)[:, None]
    filled = fill_undrawn(digits, flags((0, 0), (3, 5)).flatten(), 4, 6).view(4, 6)
    assert filled[:2, :2].unique().tolist() == [0]
    assert filled[2:, 4:].unique().tolist() == [23]


def test_nothing_drawn_is_grey_and_all_drawn_is_the_picture() -> None:
    pixels = noise()
    assert (draft(pixels, flags()) == GREY).all()
    assert torch.equal(draft(pixels, ~flags()), pixels)


def test_the_middle_of_a_drawn_position_stays_as_it_is() -> None:
    pixels = noise()
    out = draft(pixels, flags((1, 2), (1, 3)))
    assert torch.equal(out[23:25, 40:56], pixels[23:25, 40:56])


def test_what_is_not_drawn_is_smooth_and_has_the_colour_of_what_is_near() -> None:
    pixels = noise()
    pixels[:, :16], pixels[:, 80:] = torch.tensor([250, 0, 0]), torch.tensor([0, 0, 250])
    out = draft(pixels, flags(*[(row, column) for row in range(4) for column in (0, 5)]))
    assert roughness(out[:, 16:80]) < roughness(pixels[:, 16:80]) / 10
    assert out[32, 20, 0] > 150 > out[32, 20, 2]
    assert out[32, 75, 2] > 150 > out[32, 75, 0]


def test_colours_fade_towards_grey_far_from_all_that_is_drawn() -> None:
    wide, drawn = torch.full((16, 640, 3), 250, dtype=torch.uint8), torch.zeros(1, 40, dtype=torch.bool)
    drawn[0, 0] = True
    out = draft(wide, drawn)[8, :, 0].int()
    assert out[4] == 250
    assert out[40] > out[100] > out[600]
    assert abs(int(out[600]) - (250 + GREY) / 2) <= 1
