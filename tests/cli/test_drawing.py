"""What imagine, edit and caption print and write, and that the gate stands before them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from polarlight.base.errors import UserError
from polarlight.cli.drawing import Aspect
from polarlight.infer.policy import Gate
from polarlight.media.pdq import pdq_hash
from polarlight.media.pictures import read_metadata
from polarlight.worlds.scene import ASPECTS

Call = Callable[..., Result]
Ask = Callable[..., dict[str, Any]]


def test_the_choices_of_aspect_are_those_of_the_worlds() -> None:
    assert [aspect.value for aspect in Aspect] == list(ASPECTS)


def test_imagine_draws_a_batch_with_seeds_that_count_up(painter: Any, here: Path, answer: Ask) -> None:
    made = answer("imagine", "A cat!", "-n", "4", "--seed", "7", "--mode", "quality")
    assert [(r.prompt, r.seed, r.mode) for r in painter.batches[0]] == [("A cat!", s, "quality") for s in (7, 8, 9, 10)]
    assert made["files"] == [f"out/a-cat-{seed}.png" for seed in (7, 8, 9, 10)] + ["out/grid.png"]
    assert (made["seed"], made["passes"]) == (7, 12)
    assert all((here / name).exists() for name in made["files"])


def test_imagine_hands_size_and_aspect_on(painter: Any, answer: Ask) -> None:
    answer("imagine", "a cat", "-n", "1", "--size", "256", "--aspect", "9:16")
    assert (painter.batches[0][0].size, painter.batches[0][0].aspect) == (256, "9:16")


def test_one_picture_goes_where_it_is_told(painter: Any, here: Path, answer: Ask) -> None:
    made = answer("imagine", "a cat", "-n", "1", "-o", "deep/mine.png", "--seed", "3")
    assert made["files"] == ["deep/mine.png"]
    assert {"prompt": "a cat", "seed": 3}.items() <= read_metadata(here / "deep" / "mine.png").items()


def test_a_drawn_seed_is_shown_and_repeats_the_picture(painter: Any, answer: Ask, polarlight: Call) -> None:
    first = polarlight("imagine", "a cat", "-n", "1")
    made = json.loads(first.stdout.splitlines()[-1])
    assert f"seed {made['seed']}" in first.stderr
    assert answer("imagine", "a cat", "-n", "1", "--seed", made["seed"])["files"] == made["files"]


def test_another_picture_under_the_same_name_is_kept(painter: Any, answer: Ask) -> None:
    names = [
        answer("imagine", prompt, "-n", "1", "--seed", "1", "-o", "cat.png")["files"][0]
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
def test_a_users_mistake_gets_a_sentence_and_exit_code_2(
    here: Path, arguments: list[str], sentence: str, polarlight: Call
) -> None:
    (here / "taken").write_bytes(b"")
    result = polarlight("imagine", *arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.output
    assert result.stdout == ""


def test_a_missing_file_is_named(polarlight: Call) -> None:
    result = polarlight("caption", "nothing.png")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "There is no file nothing.png" in result.stderr


def test_an_edit_keeps_to_its_mask(painter: Any, photo: Path, here: Path, answer: Ask) -> None:
    mask = Image.new("L", (48, 32))
    mask.paste(255, (0, 0, 10, 32))
    mask.save(here / "mask.png")
    made = answer("edit", "photo.png", "make it blue", "--mask", "mask.png", "--seed", "5")
    request = painter.batches[0][0]
    assert request.mask.sum() == 320
    assert request.picture.shape == (32, 48, 3)
    assert made["files"] == ["out/photo-make-it-blue-5.png"]


def test_a_mask_of_another_size_is_refused(painter: Any, photo: Path, here: Path, polarlight: Call) -> None:
    Image.new("L", (8, 8), 255).save(here / "mask.png")
    result = polarlight("edit", "photo.png", "make it blue", "--mask", "mask.png")
    assert result.exit_code == 2
    assert "Make both the same size" in result.stderr


def test_caption_says_what_a_picture_shows(painter: Any, photo: Path, answer: Ask) -> None:
    assert answer("caption", "photo.png")["caption"] == "a picture 48 wide"


def test_ctrl_c_ends_with_one_line_and_no_file(painter: Any, here: Path, polarlight: Call) -> None:
    painter.failure = KeyboardInterrupt()
    result = polarlight("imagine", "a cat", "-n", "1", "--seed", "1")
    assert result.exit_code == 130
    assert result.output.splitlines() == ["polarlight: stopped."]
    assert list((here / "out").iterdir()) == []


def test_a_users_mistake_deep_below_still_gets_exit_code_2(painter: Any, polarlight: Call) -> None:
    painter.failure = UserError("The model cannot draw that.", fix="Ask for less.")
    result = polarlight("imagine", "a cat", "-n", "1")
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1] == "polarlight: The model cannot draw that. Ask for less."


def test_our_own_mistake_is_exit_code_1(painter: Any, polarlight: Call) -> None:
    painter.failure = AssertionError("a bug")
    assert polarlight("imagine", "a cat", "-n", "1").exit_code == 1


@pytest.fixture
def gate(here: Path) -> Gate:
    """The gate that the commands open too."""
    return Gate.at(here / "home")


def busy(seed: int) -> np.ndarray:
    cells = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    return np.array(Image.fromarray(cells).resize((128, 128), Image.Resampling.BICUBIC))


def decisions(gate: Gate) -> list[tuple[str, str, str]]:
    return [(one["event"], one["task"], one["rule"]) for one in gate.audit.records()]


def test_a_refused_prompt_is_one_sentence_exit_code_2_and_no_model(painter: Any, gate: Gate, polarlight: Call) -> None:
    result = polarlight("imagine", "a swastika banner", "--seed", "1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "polarlight: Symbols of hate are not made here. Change the request.\n"
    assert painter.loads == 0
    assert decisions(gate) == [("check", "draw", "hate-symbols")]
    assert next(gate.audit.records())["entry_point"] == "cli"


def test_every_picture_has_a_permit_and_a_verdict_in_the_log(painter: Any, gate: Gate, answer: Ask) -> None:
    answer("imagine", "a cat", "-n", "3", "--seed", "1")
    assert decisions(gate) == [("check", "draw", "")] * 3 + [("output", "draw", "")] * 3
    assert gate.audit.verify() is None


def test_an_edit_of_a_person_needs_consent(painter: Any, photo: Path, gate: Gate, polarlight: Call) -> None:
    refused = polarlight("edit", "photo.png", "make her smile")
    assert refused.exit_code == 2
    assert "needs that person's consent" in refused.stderr
    assert polarlight("edit", "photo.png", "make her smile", "--subject-consent").exit_code == 0
    assert polarlight("edit", "photo.png", "undress her", "--subject-consent").exit_code == 2
    assert [rule for _, _, rule in decisions(gate)] == ["consent", "", "", "photo-undress"]


def test_a_blocked_picture_cannot_be_edited_nor_captioned(
    painter: Any, here: Path, gate: Gate, polarlight: Call
) -> None:
    Image.fromarray(busy(0)).save(here / "taken-down.png")
    gate.takedown(pdq_hash(busy(0)).hex, "a report")
    for call in (("edit", "taken-down.png", "make it blue"), ("caption", "taken-down.png")):
        result = polarlight(*call)
        assert result.exit_code == 2
        assert "on the block list" in result.stderr


def test_a_withheld_picture_is_not_written_and_the_others_are(
    painter: Any, here: Path, gate: Gate, answer: Ask
) -> None:
    painter.paint = busy
    gate.block([(pdq_hash(busy(2)).hex, "")])
    made = answer("imagine", "a cat", "-n", "3", "--seed", "1")
    assert (made["files"], made["withheld"]) == (["out/a-cat-1.png", "out/a-cat-3.png", "out/grid.png"], 1)
    assert not (here / "out" / "a-cat-2.png").exists()


def test_where_all_are_withheld_nothing_is_written(painter: Any, here: Path, gate: Gate, polarlight: Call) -> None:
    painter.paint = busy
    gate.block([(pdq_hash(busy(2)).hex, "")])
    result = polarlight("imagine", "a cat", "-n", "1", "--seed", "2")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "on the block list" in result.stderr
    assert list((here / "out").iterdir()) == []


@pytest.mark.parametrize(
    "call", [("imagine", "a cat"), ("edit", "photo.png", "make it blue"), ("caption", "photo.png")]
)
def test_a_kill_switch_stops_each_verb(painter: Any, photo: Path, gate: Gate, polarlight: Call, call: tuple) -> None:
    gate.turn_off({"imagine": "draw"}.get(call[0], call[0]), "a report is looked into")
    result = polarlight(*call)
    assert result.exit_code == 2
    assert "switched off at the moment: a report is looked into" in result.stderr
    assert painter.batches == []


def test_what_cannot_be_written_down_is_not_drawn(painter: Any, gate: Gate, polarlight: Call) -> None:
    gate.audit.path.mkdir()
    assert polarlight("imagine", "a cat").exit_code == 2
    assert painter.batches == []


def test_damaged_switches_mean_no_picture(painter: Any, photo: Path, gate: Gate, polarlight: Call) -> None:
    gate.switches.path.write_text("{", encoding="utf-8")
    assert polarlight("imagine", "a cat").exit_code == 2
    assert painter.batches == []
