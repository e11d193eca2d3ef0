"""From nothing to pictures: train, imagine, edit, caption, through the command line."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from polarlight.cli import app
from polarlight.media.pictures import load_picture, read_metadata


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def polarlight(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="polarlight")


def last_line(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output + str(result.exception)
    return json.loads(result.stdout.splitlines()[-1])


def test_training_leaves_metrics_states_and_a_model(runs: Path, model: Path) -> None:
    for name, parts in (("tokenizer-smoke", {"psnr"}), ("image-smoke", {"digit_nats"})):
        last = json.loads((runs / name / "metrics.jsonl").read_text().splitlines()[-1])
        assert last["step"] == 3
        assert parts | {"loss", "grad_norm"} <= last.keys()
        assert (runs / name / "state.pt").exists()
    assert sorted(path.name for path in model.iterdir()) == [
        "image.json", "image.safetensors", "tokenizer.json", "tokenizer.safetensors",
    ]  # fmt: skip
    card = json.loads((model / "image.json").read_text())
    assert (card["steps"], card["recipe"]) == (3, "image-smoke")
    assert card["tokenizer"] == json.loads((model / "tokenizer.json").read_text())["hash"]


def test_imagine_makes_pictures_with_seeds_metadata_and_a_sheet(model: Path, here: Path) -> None:
    made = last_line(polarlight("imagine", "a red cat", "-n", 2, "--seed", 7, "--model", model))
    assert made["files"] == ["out/a-red-cat-7.png", "out/a-red-cat-8.png", "out/grid.png"]
    assert (made["seed"], made["passes"], made["mode"]) == (7, 16, "speed")
    first, second = (load_picture(here / name) for name in made["files"][:2])
    assert first.shape == second.shape == (128, 128, 3)
    assert not np.array_equal(first, second)
    about = read_metadata(here / made["files"][1])
    assert (about["prompt"], about["seed"], about["passes"]) == ("a red cat", 8, 16)
    assert about["model"] == json.loads((model / "image.json").read_text())["hash"]


def test_the_settings_of_a_picture_draw_it_again(model: Path, here: Path) -> None:
    settings = ("--seed", 5, "--aspect", "3:2", "--model", model, "-n", 1)
    for name in ("a.png", "b.png"):
        last_line(polarlight("imagine", "snow", *settings, "-o", name))
    first, again = (load_picture(here / name) for name in ("a.png", "b.png"))
    assert first.shape == (96, 144, 3)
    assert np.array_equal(first, again)


def test_quality_mode_draws_one_position_a_pass(model: Path, here: Path) -> None:
    made = last_line(polarlight("imagine", "snow", "-n", 1, "--aspect", "2:3", "--mode", "quality", "--model", model))
    assert made["passes"] == 54
    assert read_metadata(here / made["files"][0])["mode"] == "quality"


def test_a_picture_does_not_depend_on_how_many_are_drawn_with_it(model: Path, here: Path) -> None:
    """In the machine's own dtype; exactly so in fp32 (tests/infer)."""
    polarlight("imagine", "a dog", "-n", 3, "--seed", 1, "--model", model)
    polarlight("imagine", "a dog", "-n", 1, "--seed", 2, "--model", model, "-o", "alone.png")
    together, alone = load_picture(here / "out" / "a-dog-2.png"), load_picture(here / "alone.png")
    assert (together == alone).mean() > 0.5


def test_a_drawn_picture_is_edited_inside_a_mask_only(model: Path, here: Path) -> None:
    polarlight("imagine", "a red cat", "-n", 1, "--seed", 7, "--model", model, "-o", "cat.png")
    mask = np.zeros((128, 128), np.uint8)
    mask[32:64, 48:96] = 255
    Image.fromarray(mask).save("mask.png")
    edit = ("edit", "cat.png", "make the cat blue", "--mask", "mask.png", "--model", model, "--seed", 3)
    made = last_line(polarlight(*edit, "-o", "blue.png"))
    before, after = load_picture(here / "cat.png"), load_picture(here / made["files"][0])
    assert np.array_equal(before[mask == 0], after[mask == 0])
    assert not np.array_equal(before, after)
    about = read_metadata(here / "blue.png")
    assert (about["task"], about["prompt"], about["seed"]) == ("edit", "make the cat blue", 3)
    assert about["parent"]


def test_a_photo_of_any_size_is_edited_and_described(model: Path, here: Path) -> None:
    Image.new("RGB", (300, 170), "teal").save("photo.jpg")
    made = last_line(polarlight("edit", "photo.jpg", "add a cat", "--model", model, "--seed", 1))
    assert load_picture(here / made["files"][0]).shape == (96, 176, 3)
    described = last_line(polarlight("caption", "photo.jpg", "--model", model))
    assert isinstance(described["caption"], str)
    assert described["file"] == "photo.jpg"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["imagine", "a cat", "--size", "256"], "size 128, not 256"),
        (["imagine", "кот"], "unsupported script"),
        (["edit", "nothing.png", "add a cat"], "nothing.png"),
        (["edit", "photo.png", "add a cat", "--mask", "empty.png"], "marks nothing"),
        (["caption", "nothing.png"], "nothing.png"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_exit_code_2(
    model: Path, here: Path, arguments: list[str], sentence: str
) -> None:
    Image.new("RGB", (64, 64)).save("photo.png")
    Image.new("L", (64, 64)).save("empty.png")
    result = polarlight(*arguments, "--model", model)
    assert result.exit_code == 2, result.output
    assert sentence in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("file", ["image.safetensors", "tokenizer.safetensors"])
def test_a_damaged_model_is_named_and_leaves_no_picture(model: Path, here: Path, file: str) -> None:
    broken = shutil.copytree(model, here / "broken")
    content = (broken / file).read_bytes()
    (broken / file).write_bytes(content[: len(content) // 2])
    result = polarlight("imagine", "a cat", "--model", broken)
    assert result.exit_code == 2
    assert file in result.stderr
    assert not list((here / "out").glob("*"))
