"""The upscaler's scores."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from polarlight.evals.upscaling import FILTERS, evaluate, held_out_scenes, record_scores, resized
from polarlight.media.pictures import load_picture
from polarlight.models.weights import read_card


def bicubic(picture: np.ndarray) -> np.ndarray:
    return resized(picture, Image.Resampling.BICUBIC)


def halved(pixels: torch.Tensor) -> torch.Tensor:
    """A tokenizer that forgets half of the brightness."""
    return pixels // 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("eval")


@pytest.fixture(scope="module")
def scores(folder: Path) -> dict:
    return evaluate(bicubic, halved, 6, folder)


def test_scenes_are_held_out_ones_of_both_worlds_and_do_not_depend_on_their_number() -> None:
    scenes = held_out_scenes(10)
    assert [world.name for world, _ in scenes].count("tabletop") == 2
    assert [scene for _, scene in held_out_scenes(4)] == [scene for _, scene in scenes[:4]]


def test_every_way_is_scored_on_clean_and_on_reconstructed_pictures(scores: dict) -> None:
    for kind in ("clean", "tokenizer"):
        assert list(scores[kind]) == [*FILTERS, "upscaler"]
        assert scores[kind]["upscaler"] == scores[kind]["bicubic"]
        assert all(0 < row["ssim"] <= 1 for row in scores[kind].values())
    assert scores["clean"]["lanczos"]["psnr"] > 20 > scores["tokenizer"]["lanczos"]["psnr"]


def test_texts_are_read_beside_the_truth_or_it_is_said_that_they_were_not(scores: dict) -> None:
    if shutil.which("tesseract"):
        assert 0 <= scores["truth"]["cer"] <= scores["clean"]["bilinear"]["cer"] <= 1
    else:
        assert "No text was read." in scores["note"]
        assert "cer" not in scores["clean"]["upscaler"]


def test_the_strip_shows_four_pictures_a_row(folder: Path, scores: dict) -> None:
    square = sum(scene.spec["aspect"] == "1:1" for _, scene in held_out_scenes(6))
    height, width = load_picture(folder / "upscale.png").shape[:2]
    assert width > 4 * 256
    assert height > 2 * min(3, square) * 256


def test_the_scores_go_onto_the_card(tmp_path: Path, scores: dict) -> None:
    (tmp_path / "upscaler.json").write_text('{"hash": "1"}')
    record_scores(scores, tmp_path)
    card = read_card(tmp_path / "upscaler.safetensors")
    assert card["hash"] == "1"
    assert card["scores"]["command"] == "polarlight eval upscaler --count 6"
    assert json.dumps(card["scores"]["clean"]) == json.dumps(scores["clean"])
