"""The tokenizer's loss and batches."""

from pathlib import Path

import pytest
import torch
from tiny import visual_tokenizer

from polarlight.base.errors import UserError
from polarlight.models.glyph_reader import GlyphReader, GlyphReaderConfig
from polarlight.models.visual_tokenizer import VisualTokenizer
from polarlight.models.weights import export
from polarlight.recipes.tokenizer_mini import RATE_WEIGHT, TEXT_WEIGHT, Learner, load_file, tokenizer_loss


def pictures() -> tuple[torch.Tensor, torch.Tensor]:
    """Four pictures, and masks of texts that cover a little more of each next one."""
    text = torch.zeros(4, 32, 32, dtype=torch.bool)
    for number in range(4):
        text[number, : 8 * number + 4, :16] = True
    return torch.rand(4, 3, 32, 32) * 2 - 1, text


@pytest.mark.parametrize("reading", [True, False])
def test_the_loss_is_finite_and_reaches_every_parameter(reading: bool) -> None:
    model = Learner(visual_tokenizer())
    reader = GlyphReader(GlyphReaderConfig(glyphs=5, channels=4)).requires_grad_(False) if reading else None
    loss, metrics = tokenizer_loss(model, *pictures(), reader)
    loss.backward()
    assert torch.isfinite(loss)
    assert ("glyph" in metrics) == reading
    assert all(p.grad is not None and torch.isfinite(p.grad).all() and p.grad.any() for p in model.parameters())


def test_an_error_under_text_costs_more() -> None:
    model, (pixels, text) = Learner(visual_tokenizer()), pictures()
    plain, _ = tokenizer_loss(model, pixels, torch.zeros_like(text), None)
    heavy, _ = tokenizer_loss(model, pixels, torch.ones_like(text), None)
    rate = RATE_WEIGHT * model.prior(model.tokenizer(pixels).raw)[0].mean()
    torch.testing.assert_close(heavy - rate, TEXT_WEIGHT * (plain - rate))


def test_pictures_without_any_text_have_a_finite_reading_loss() -> None:
    reader = GlyphReader(GlyphReaderConfig(glyphs=5, channels=4)).requires_grad_(False)
    pixels, text = pictures()
    _, metrics = tokenizer_loss(Learner(visual_tokenizer()), pixels, torch.zeros_like(text), reader)
    assert torch.isfinite(metrics["glyph"])


def test_a_written_tokenizer_is_read_back_frozen_with_its_hash(tmp_path: Path) -> None:
    model: VisualTokenizer = visual_tokenizer()
    card = export(model, tmp_path / "tokenizer.safetensors", {"config": vars(model.config)})
    read, name = load_file(tmp_path / "tokenizer.safetensors")
    assert (read.config, name) == (model.config, card["hash"])
    assert not any(p.requires_grad for p in read.parameters())


def test_a_missing_tokenizer_says_how_to_train_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no tokenizer") as raised:
        load_file(tmp_path / "tokenizer.safetensors")
    assert "polarlight train tokenizer-mini" in raised.value.fix
