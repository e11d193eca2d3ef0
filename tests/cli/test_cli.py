"""What the verbs print, write and return."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from polarlight.cli import WorldName
from polarlight.media.pictures import read_metadata

Call = Callable[..., Result]
Ask = Callable[..., dict[str, Any]]


def test_the_worlds_to_choose_from_are_named() -> None:
    assert {world.value for world in WorldName} == {"posters", "tabletop"}


def test_an_unknown_recipe_lists_the_known_ones(polarlight: Call) -> None:
    from polarlight.recipes import RECIPES

    result = polarlight("train", "everything")
    assert result.exit_code == 2
    assert all(name in result.stderr for name in RECIPES)


def test_a_mistake_survives_the_restart_with_another_allocator() -> None:
    command = [sys.executable, "-m", "polarlight", "train", "no such recipe"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("polarlight: There is no recipe 'no such recipe'.")


@pytest.mark.parametrize("world", ["posters", "tabletop"])
def test_a_world_shows_a_sheet_of_scenes_with_their_truth(here: Path, world: str, answer: Ask) -> None:
    made = answer("worlds", "sample", "--world", world, "-n", "3", "--seed", "5")
    sheet, lines = made["files"]
    assert read_metadata(here / sheet) == {"world": world, "seed": 5, "count": 3, "split": "train"}
    scenes = [json.loads(line) for line in (here / lines).read_text(encoding="utf-8").splitlines()]
    assert [scene["seed"] for scene in scenes] == [5, 6, 7]
    assert all(scene["spec"]["world"] == world and scene["captions"] for scene in scenes)


def test_the_doctor_measures_and_lists(answer: Ask) -> None:
    found = answer("doctor")
    assert found["bf16_gflops"] > 0
    assert found["copy_gigabytes"] > 0
    assert found["dtype"] in ("bfloat16", "float32")


def test_a_mistyped_verb_gets_a_suggestion(polarlight: Call) -> None:
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
