"""The proofreader: what it cuts out, what it says of it, and where it is found."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from tiny import proofreader

from polarlight.base.errors import UserError
from polarlight.models.proofreader import AROUND, HIGH, LETTER, NAME, STEP, Proofreader, misread, strips
from polarlight.models.weights import export

BOX = (0.25, 0.25, 0.75, 0.5)


def page(high: int = 64, wide: int = 96) -> torch.Tensor:
    """A white picture with one black bar where the first letter of three lies in BOX."""
    picture = torch.full((high, wide, 3), 255, dtype=torch.uint8)
    picture[high // 4 : high // 2, wide // 4 : wide // 4 + wide // 6] = 0
    return picture


def test_a_line_is_cut_out_with_letters_of_one_width() -> None:
    (strip,) = strips(page(), "ABC", BOX)
    assert strip.pixels.shape == (3, HIGH, round((3 + 2 * AROUND) * LETTER))
    dark = (strip.pixels[0, HIGH // 2] < 0).nonzero()[:, 0]
    assert dark.min() == pytest.approx(AROUND * LETTER, abs=1)
    assert dark.max() == pytest.approx((AROUND + 1) * LETTER, abs=1)
    assert float(strip.pixels.mean()) == pytest.approx(0, abs=1e-4)
    assert float(strip.pixels.square().mean()) == pytest.approx(1, abs=1e-3)
    assert 16 < strip.ink[1] < strip.ink[3] < 32


def test_every_line_with_letters_is_a_strip_in_the_middle_of_its_text() -> None:
    first, second = strips(page(), "ABCD\n\nE", BOX)
    assert (first.line, second.line) == ("ABCD", "E")
    assert first.ink[3] < second.ink[1]
    assert sum(first.ink[::2]) == pytest.approx(sum(second.ink[::2]))
    assert strips(page(), " ", BOX) == []


def test_what_does_not_change_leaves_no_trace() -> None:
    (strip,) = strips(torch.full((64, 64, 3), 7, dtype=torch.uint8), "A", (0.9, 0.9, 1.2, 1.2))
    assert float(strip.pixels.abs().max()) < 1e-5


def test_likelihood_is_the_mean_of_the_letters() -> None:
    torch.manual_seed(0)
    model, picture = proofreader().requires_grad_(False), page()
    lines = strips(picture, "AB\nB", BOX)
    each = [float(misread(model(one.pixels[None]), model.numbers(one.line)[None])) for one in lines]  # type: ignore[index]
    assert model.likelihood(picture, "AB\nB", BOX) == pytest.approx(-sum(each) / 3)
    assert model.likelihood(picture, "AX", BOX) is None
    assert model(lines[0].pixels[None]).shape[1] == lines[0].pixels.shape[2] // STEP
    assert set(model.read(picture, "AB\nB", BOX)) <= {"A", "B", "\n"}


def test_a_proofreader_is_found_beside_its_tokenizer_only(tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert Proofreader.find(tmp_path, "t") is None
    made = proofreader()
    card = export(made, tmp_path / NAME, {"tokenizer": "t", "config": asdict(made.config)})
    assert Proofreader.find(tmp_path, "another") is None
    found = Proofreader.find(tmp_path, "t")
    assert found is not None
    assert found.config == made.config
    (tmp_path / NAME).with_suffix(".json").write_text(json.dumps(card | {"config": {"eyes": 2}}))
    with pytest.raises(UserError, match="does not describe a proofreader"):
        Proofreader.find(tmp_path, "t")
