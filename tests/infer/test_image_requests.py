"""Shapes, modes and orders of the image generator."""

import numpy as np
import pytest
import torch

from polarlight.base.errors import UserError
from polarlight.infer.image_requests import (
    CELL,
    GRIDS,
    MODES,
    SPREADS,
    drawing_order,
    fit_mask,
    fit_picture,
    mode_named,
    nearest_aspect,
    touched,
)


@pytest.mark.parametrize("aspect", GRIDS)
def test_a_picture_fits_its_nearest_aspect_whatever_its_size(aspect: str) -> None:
    rows, columns = GRIDS[aspect]
    picture = np.zeros((rows * 37, columns * 36, 3), np.uint8)
    assert nearest_aspect(*picture.shape[:2]) == aspect
    assert fit_picture(picture, aspect).shape == (rows * CELL, columns * CELL, 3)


def test_an_order_is_made_once_and_holds_every_position() -> None:
    order = drawing_order("spread", 6, 9)
    assert drawing_order("spread", 6, 9) is order
    assert order.sort().values.tolist() == list(range(54))
    assert drawing_order("raster", 2, 3).tolist() == [0, 1, 2, 3, 4, 5]


def test_spread_orders_differ_by_number() -> None:
    orders = {tuple(drawing_order("spread", 8, 8, number).tolist()) for number in range(SPREADS)}
    assert len(orders) == SPREADS


def test_a_mode_has_its_name() -> None:
    assert mode_named("quality") is MODES["quality"]
    with pytest.raises(UserError, match="no mode 'best'") as raised:
        mode_named("best")
    assert "speed, quality" in str(raised.value.fix)


def test_a_mask_marks_every_position_that_it_reaches_into() -> None:
    mask = np.zeros((256, 256), bool)
    mask[31:33, 40] = True  # the second row's last pixel and the third row's first, at half size
    fitted = fit_mask(mask, 256, 256, "1:1")
    assert fitted.shape == (128, 128)
    assert torch.nonzero(touched(fitted)).flatten().tolist() == [1, 9]


@pytest.mark.parametrize(("shape", "sentence"), [((8, 8), "mask is empty"), ((8, 9), "9 x 8 px, the picture 8 x 8 px")])
def test_a_mask_that_is_empty_or_of_another_size_is_refused(shape: tuple[int, int], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        fit_mask(np.zeros(shape, bool), 8, 8, "1:1")
