"""The upscaler's recipe: pairs that show one scene, batches that a number decides, and a training that resumes exactly."""

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tiny import visual_tokenizer

from polarlight.base.errors import UserError
from polarlight.models.upscaler import psnr
from polarlight.models.visual_tokenizer import to_signed
from polarlight.recipes import run as run_recipe
from polarlight.recipes import upscaler_mini
from polarlight.recipes.runs import Run
from polarlight.recipes.shipping import ship
from polarlight.recipes.upscaler_mini import CROP, cut, make_batch
from polarlight.recipes.upscaler_scenes import Pairs, Tokenizer, load_pairs


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs, whose scenes are rendered once."""
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    torch.manual_seed(3)
    return Tokenizer(visual_tokenizer(), "tiny", torch.float32)


def smoke(runs: Path, name: str, steps: int) -> Run:
    return Run(folder=runs / name, smoke=True, steps=steps)


@pytest.mark.parametrize("kind", ["posters", "tabletop"])
def test_both_sizes_show_the_same_scene(runs: Path, tokenizer: Tokenizer, kind: str) -> None:
    for part in load_pairs(runs / "scenes-smoke", kind, 0, 3, tokenizer):
        large = to_signed(part.large)
        assert large.shape[2:] == torch.Size(2 * side for side in part.clean.shape[1:3])
        for small, smaller in zip(to_signed(part.clean), F.avg_pool2d(large, 2), strict=True):
            assert psnr(smaller[None], small[None]) > 33


def test_a_shard_is_rendered_once_and_read_back(tmp_path: Path, tokenizer: Tokenizer) -> None:
    made, read = (load_pairs(tmp_path, "posters", 1, 2, tokenizer) for _ in range(2))
    assert [path.name for path in tmp_path.iterdir()] == ["upscaler-posters-0001.tiny.pt"]
    assert all(torch.equal(*pair) for one, two in zip(made, read, strict=True) for pair in zip(one, two, strict=True))


def test_a_crop_is_the_same_place_at_both_sizes_however_it_is_turned() -> None:
    clean = torch.randint(0, 256, (2, 64, 80, 3), dtype=torch.uint8)
    large = clean.repeat_interleave(2, 1).repeat_interleave(2, 2)
    pairs = [Pairs(clean, 255 - clean, large)]
    random = torch.Generator().manual_seed(1)
    for number in range(16):
        small, crop = cut(pairs, random, coded=number % 2 == 1)
        assert small.shape == (CROP, CROP, 3)
        given = 255 - small if number % 2 else small
        assert torch.equal(given.repeat_interleave(2, 0).repeat_interleave(2, 1), crop)


def test_a_batch_is_decided_by_its_number(runs: Path, tokenizer: Tokenizer) -> None:
    run = smoke(runs, "any", 1)
    first, again, next_one = (make_batch(run, number, tokenizer).data for number in (4, 4, 5))
    assert all(torch.equal(*pair) for pair in zip(first, again, strict=True))
    assert not torch.equal(first[0], next_one[0])
    assert (first[0].shape, first[1].shape) == ((24, 3, 48, 48), (24, 3, 96, 96))


def test_the_smoke_run_beats_bilinear_and_writes_weights_with_a_card(runs: Path) -> None:
    card = upscaler_mini.run(smoke(runs, "upscaler-smoke", 20))
    lines = [json.loads(line) for line in (runs / "upscaler-smoke" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["gain"] > 0
    assert (card["steps"], card["model"]) == (20, "upscaler")
    assert (runs / "upscaler-smoke" / "upscaler.safetensors").stat().st_size == card["bytes"]


def test_six_steps_are_three_and_then_three_more_bit_for_bit(runs: Path) -> None:
    whole = upscaler_mini.run(smoke(runs, "whole", 6))
    # the schedule looks at the number of steps, so the break comes from the clock
    broken = Run(folder=runs / "broken", smoke=True, steps=6, minutes=1e-9)
    parts = 0
    while upscaler_mini.run(broken)["steps"] < 6:
        parts += 1
    assert parts >= 3
    assert upscaler_mini.run(broken)["hash"] == whole["hash"]


def test_shipping_copies_weights_and_card(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no upscaler") as raised:
        run_recipe("upscaler-export", folder=tmp_path / "upscaler-export")
    assert "polarlight train upscaler-mini" in raised.value.fix
    made = tmp_path / "upscaler-mini" / "upscaler.safetensors"
    made.parent.mkdir()
    made.write_bytes(b"weights")
    made.with_suffix(".json").write_text('{"hash": "1"}')
    assert ship(made, tmp_path / "weights") == {"hash": "1"}
    assert (tmp_path / "weights" / "upscaler.safetensors").read_bytes() == b"weights"
