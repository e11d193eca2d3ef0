"""What each verb prints, writes and returns."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from polarlight.base.errors import UserError
from polarlight.cli import Aspect, WorldName, app
from polarlight.infer.images import EditRequest, ImageGenerator, ImageRequest, Picture
from polarlight.media.pictures import read_metadata
from polarlight.worlds.scene import ASPECTS


class Painter:
    """A generator that paints each request in the one colour its seed names."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Any]] = []
        self.failure: BaseException | None = None

    def draw(self, requests: Sequence[ImageRequest], on_pass: Callable[..., None] | None = None) -> list[Picture]:
        self.batches.append(requests)
        if self.failure:
            raise self.failure
        pictures = [
            Picture(
                pixels=np.full((request.size, request.size, 3), request.seed % 256, np.uint8),
                seed=request.seed,
                passes=12,
                metadata={"prompt": request.prompt, "seed": request.seed},
            )
            for request in requests
        ]
        if on_pass:
            on_pass(12, 12, lambda: [picture.pixels for picture in pictures])
        return pictures

    def edit(self, requests: Sequence[EditRequest], on_pass: Callable[..., None] | None = None) -> list[Picture]:
        self.batches.append(requests)
        return self.draw([ImageRequest(prompt=r.instruction, seed=r.seed, mode=r.mode) for r in requests], on_pass)

    def caption(self, pictures: Sequence[np.ndarray]) -> list[str]:
        return [f"a picture {picture.shape[1]} wide" for picture in pictures]


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> Painter:
    painter = Painter()
    monkeypatch.setattr(ImageGenerator, "load", staticmethod(lambda folder=None: painter))
    return painter


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def photo(here: Path) -> Path:
    Image.new("RGB", (48, 32), "red").save(here / "photo.png")
    return here / "photo.png"


def polarlight(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, prog_name="polarlight")


def last_line(result: Result) -> dict[str, Any]:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def test_the_choices_of_the_command_line_are_those_of_the_worlds() -> None:
    assert [aspect.value for aspect in Aspect] == list(ASPECTS)
    assert {world.value for world in WorldName} == {"posters", "tabletop"}


def test_imagine_draws_a_batch_with_seeds_that_count_up(painter: Painter, here: Path) -> None:
    made = last_line(polarlight("imagine", "A cat!", "-n", "4", "--seed", "7", "--mode", "quality"))
    assert [(r.prompt, r.seed, r.mode) for r in painter.batches[0]] == [("A cat!", s, "quality") for s in (7, 8, 9, 10)]
    assert made["files"] == [f"out/a-cat-{seed}.png" for seed in (7, 8, 9, 10)] + ["out/grid.png"]
    assert (made["seed"], made["passes"]) == (7, 12)
    assert all((here / name).exists() for name in made["files"])


def test_imagine_hands_size_and_aspect_on(painter: Painter, here: Path) -> None:
    last_line(polarlight("imagine", "a cat", "-n", "1", "--size", "256", "--aspect", "9:16"))
    assert (painter.batches[0][0].size, painter.batches[0][0].aspect) == (256, "9:16")


def test_one_picture_goes_where_it_is_told(painter: Painter, here: Path) -> None:
    made = last_line(polarlight("imagine", "a cat", "-n", "1", "-o", "deep/mine.png", "--seed", "3"))
    assert made["files"] == ["deep/mine.png"]
    assert read_metadata(here / "deep" / "mine.png") == {"prompt": "a cat", "seed": 3}


def test_a_drawn_seed_is_shown_and_repeats_the_picture(painter: Painter, here: Path) -> None:
    first = polarlight("imagine", "a cat", "-n", "1")
    seed = last_line(first)["seed"]
    assert f"seed {seed}" in first.stderr
    assert (
        last_line(polarlight("imagine", "a cat", "-n", "1", "--seed", str(seed)))["files"] == last_line(first)["files"]
    )


def test_another_picture_under_the_same_name_is_kept(painter: Painter, here: Path) -> None:
    names = [
        last_line(polarlight("imagine", prompt, "-n", "1", "--seed", "1", "-o", "cat.png"))["files"][0]
        for prompt in ("a cat", "another cat")
    ]
    assert names == ["cat.png", "cat-2.png"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([""], "prompt is empty"),
        (["x" * 1001], "1,001 characters; the most is 1,000"),
        (["кот"], "unsupported script"),
        (["a cat", "-n", "4", "-o", "cat.png"], "4 pictures do not fit into one file"),
        (["a cat", "-o", "taken/here"], "Cannot write"),
        (["a cat", "-o", "cat.gif", "-n", "1"], "Cannot write pictures as '.gif'"),
        (["a cat", "--size", "100"], "--size"),
        (["a cat", "--aspect", "7:1"], "--aspect"),
        (["a cat", "--mode", "best"], "--mode"),
        (["a cat", "-n", "0"], "-n"),
        (["a cat", "--seed", "-1"], "--seed"),
        (["a cat", "--model", "nowhere"], "nowhere"),
        ([], "PROMPT"),
    ],
)
def test_a_users_mistake_gets_a_sentence_and_exit_code_2(here: Path, arguments: list[str], sentence: str) -> None:
    (here / "taken").write_bytes(b"")
    result = polarlight("imagine", *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_a_missing_file_is_named(here: Path) -> None:
    result = polarlight("caption", "nothing.png")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "There is no file nothing.png" in result.stderr


def test_an_edit_keeps_to_its_mask(painter: Painter, photo: Path, here: Path) -> None:
    mask = Image.new("L", (48, 32))
    mask.paste(255, (0, 0, 10, 32))
    mask.save(here / "mask.png")
    made = last_line(polarlight("edit", "photo.png", "make it blue", "--mask", "mask.png", "--seed", "5"))
    request = painter.batches[0][0]
    assert request.mask.sum() == 320
    assert request.picture.shape == (32, 48, 3)
    assert made["files"] == ["out/photo-make-it-blue-5.png"]


def test_a_mask_of_another_size_is_refused(painter: Painter, photo: Path, here: Path) -> None:
    Image.new("L", (8, 8), 255).save(here / "mask.png")
    result = polarlight("edit", "photo.png", "make it blue", "--mask", "mask.png")
    assert result.exit_code == 2
    assert "Make both the same size" in result.stderr


def test_caption_says_what_a_picture_shows(painter: Painter, photo: Path) -> None:
    assert last_line(polarlight("caption", "photo.png"))["caption"] == "a picture 48 wide"


def test_an_unknown_recipe_lists_the_known_ones(here: Path) -> None:
    from polarlight.recipes import RECIPES

    result = polarlight("train", "everything")
    assert result.exit_code == 2
    assert all(name in result.stderr for name in RECIPES)


def test_a_mistake_survives_the_restart_with_another_allocator(here: Path) -> None:
    command = [sys.executable, "-m", "polarlight", "train", "no such recipe"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("polarlight: There is no recipe 'no such recipe'.")


@pytest.mark.parametrize("world", ["posters", "tabletop"])
def test_a_world_shows_a_sheet_of_scenes_with_their_truth(here: Path, world: str) -> None:
    made = last_line(polarlight("worlds", "sample", "--world", world, "-n", "3", "--seed", "5"))
    sheet, lines = made["files"]
    assert read_metadata(here / sheet) == {"world": world, "seed": 5, "count": 3, "split": "train"}
    scenes = [json.loads(line) for line in (here / lines).read_text(encoding="utf-8").splitlines()]
    assert [scene["seed"] for scene in scenes] == [5, 6, 7]
    assert all(scene["spec"]["world"] == world and scene["captions"] for scene in scenes)


def test_the_doctor_measures_and_lists(here: Path) -> None:
    found = last_line(polarlight("doctor"))
    assert found["bf16_gflops"] > 0
    assert found["copy_gigabytes"] > 0
    assert found["dtype"] in ("bfloat16", "float32")


def test_ctrl_c_ends_with_one_line_and_no_file(painter: Painter, here: Path) -> None:
    painter.failure = KeyboardInterrupt()
    result = polarlight("imagine", "a cat", "-n", "1", "--seed", "1")
    assert result.exit_code == 130
    assert result.output.splitlines() == ["polarlight: stopped."]
    assert not any(path.is_file() for path in here.rglob("*"))


def test_a_users_mistake_deep_below_still_gets_exit_code_2(painter: Painter, here: Path) -> None:
    painter.failure = UserError("The model cannot draw that.", fix="Ask for less.")
    result = polarlight("imagine", "a cat", "-n", "1")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "polarlight: The model cannot draw that. Ask for less."


def test_our_own_mistake_is_exit_code_1(painter: Painter, here: Path) -> None:
    painter.failure = AssertionError("a bug")
    assert polarlight("imagine", "a cat", "-n", "1").exit_code == 1


def test_a_mistyped_verb_gets_a_suggestion() -> None:
    result = polarlight("imagin", "a cat")
    assert result.exit_code == 2
    assert "imagine" in result.stderr


def test_a_reader_that_goes_away_causes_no_traceback() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "polarlight", "caption", "--help"]
    left = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert left.stderr == ""


def test_ctrl_c_in_a_terminal_is_exit_code_130_without_a_traceback(here: Path) -> None:
    command = [sys.executable, "-m", "polarlight", "worlds", "sample", "-n", "256", "--seed", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        while not (here / "out").exists():  # made as soon as the command has started
            assert running.poll() is None, running.stderr.read()
        running.send_signal(signal.SIGINT)
        output, errors = running.communicate(timeout=30)
    assert (running.returncode, output) == (130, "")
    assert "Traceback" not in errors
    assert list((here / "out").iterdir()) == []
