"""What the page asks for, read into orders."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from studio_pictures import SceneryEngine

from polarlight.base.errors import UserError
from polarlight.infer.engine import ModelInfo
from polarlight.serve.studio_orders import inner_mask, quality_of, varies_by


@pytest.fixture
def model() -> ModelInfo:
    return SceneryEngine().info


@pytest.mark.parametrize(
    ("tasks", "masks", "way"),
    [
        (("draw", "edit", "variation"), True, "variation"),
        (("draw", "edit"), True, "masked_edit"),
        (("draw", "edit"), False, "new_seeds"),
        (("draw",), False, "new_seeds"),
    ],
)
def test_more_like_this_is_what_the_model_can_do(
    model: ModelInfo, tasks: tuple[str, ...], masks: bool, way: str
) -> None:
    assert varies_by(replace(model, tasks=tasks, masks=masks)) == way


def test_a_masked_variation_keeps_an_eighth_of_each_side() -> None:
    mask = np.array(Image.open(io.BytesIO(inner_mask(64, 128)))) > 0
    assert mask[8:56, 16:112].all()
    assert mask.sum() == 48 * 96


def test_the_first_mode_is_the_cheap_one_and_the_last_the_dear(model: ModelInfo) -> None:
    three = replace(model, modes=("a", "b", "c"))
    assert [quality_of(three, mode) for mode in three.modes] == ["low", "medium", "high"]
    assert [quality_of(model, mode) for mode in model.modes] == ["low", "high"]
    with pytest.raises(UserError, match="Choose one of speed, quality"):
        quality_of(model, "slow")
