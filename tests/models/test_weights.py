"""Weights as files: small, close to what was trained, and honest when damaged."""

import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny import codes, drawing, image_model, visual_tokenizer

from polarlight.base.errors import UserError
from polarlight.models.image_ar import causal_mask
from polarlight.models.visual_tokenizer import VisualTokenizerConfig
from polarlight.models.weights import export, load_into, made_for, quantise, read_card, record


@pytest.mark.parametrize("shape", [(7, 30), (5, 4, 3, 3), (3, 6, 10)])
def test_int8_is_within_half_a_step_of_every_output_channel(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape) * torch.logspace(-3, 3, shape[-2] if len(shape) == 3 else shape[0]).view(
        -1, *[1] * (1 if len(shape) == 3 else len(shape) - 1)
    )
    small, scale = quantise(weight)
    assert small.dtype == torch.int8
    assert ((small * scale - weight).abs() <= scale * 0.501).all()


def test_a_zero_channel_stays_zero() -> None:
    small, scale = quantise(torch.zeros(3, 4))
    assert not (small * scale).any()


def test_an_exported_model_comes_back_nearly_the_same(tmp_path: Path) -> None:
    model, other = image_model(), image_model()
    model.blocks[1].mlp.bias.copy_(torch.randn(4))
    card = export(model, tmp_path / "image.safetensors", {"steps": 3})
    load_into(other, tmp_path / "image.safetensors")
    for (name, ours), theirs in zip(model.state_dict().items(), other.state_dict().values(), strict=True):
        assert (ours - theirs).norm() <= 0.02 * ours.norm(), name
    assert torch.equal(model.blocks[1].mlp.bias, other.blocks[1].mlp.bias)
    tokens = drawing(codes(4, 4, model))
    with torch.no_grad():
        one, two = (m.hidden(tokens, causal_mask(tokens), torch.float32)[0] for m in (model, other))
    assert (one - two).norm() < 0.1 * one.norm()
    assert card["bytes"] < 0.4 * 4 * sum(p.numel() for p in model.parameters())


def test_matrices_are_int8_and_the_rest_is_not(tmp_path: Path) -> None:
    model = image_model()
    export(model, tmp_path / "image.safetensors", {})
    stored = load_file(tmp_path / "image.safetensors")
    assert stored["blocks.1.mlp.up"].dtype == stored["head.out.weight"].dtype == torch.int8
    assert stored["blocks.1.mlp.router"].dtype == torch.bfloat16
    assert stored["norm.weight"].dtype == torch.float32


def test_the_card_lies_beside_the_weights_and_knows_their_hash(tmp_path: Path) -> None:
    path = tmp_path / "new" / "tokenizer.safetensors"
    card = export(visual_tokenizer(), path, {"steps": 3, "config": {"levels": (3, 4)}})
    assert read_card(path) == json.loads(json.dumps(card))
    assert card["steps"] == 3
    assert card["bytes"] == path.stat().st_size
    assert export(visual_tokenizer(), path, {})["hash"] != card["hash"]


def test_the_same_weights_have_the_same_hash(tmp_path: Path) -> None:
    model = visual_tokenizer()
    assert (
        export(model, tmp_path / "a.safetensors", {})["hash"] == export(model, tmp_path / "b.safetensors", {})["hash"]
    )


def damaged(path: Path, how: str) -> None:
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif how == "garbage":
        path.write_bytes(bytes(reversed(content)))
    elif how == "of another shape":
        export(visual_tokenizer(coarse_channels=20), path, {})
    elif how == "of another model":
        export(image_model(), path, {})


@pytest.mark.parametrize("how", ["missing", "empty", "truncated", "garbage", "of another shape", "of another model"])
def test_a_file_that_does_not_fit_names_itself(tmp_path: Path, how: str) -> None:
    path, model = tmp_path / "tokenizer.safetensors", visual_tokenizer()
    export(model, path, {})
    damaged(path, how)
    with pytest.raises(UserError, match=re.escape(str(path))) as raised:
        load_into(model, path)
    assert raised.value.fix


@pytest.mark.parametrize("content", [None, "{", "[1, 2]"])
def test_a_missing_or_damaged_card_names_itself(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "image.json").write_text(content)
    with pytest.raises(UserError, match=re.escape(str(tmp_path / "image.json"))) as raised:
        read_card(tmp_path / "image.safetensors")
    assert raised.value.fix


def test_recorded_fields_join_the_card(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.safetensors"
    card = export(visual_tokenizer(), path, {"steps": 3})
    assert record(path, scores={"psnr": 24.2}) == read_card(path) == {**card, "scores": {"psnr": 24.2}}


def test_weights_are_made_for_the_config_on_their_card(tmp_path: Path) -> None:
    path, model = tmp_path / "model.safetensors", visual_tokenizer()
    assert not made_for(path, model.config)
    export(model, path, {"config": asdict(model.config)})
    assert made_for(path, model.config)
    assert not made_for(path, VisualTokenizerConfig(levels=(4, 4)))
