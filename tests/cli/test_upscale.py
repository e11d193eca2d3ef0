"""What upscale prints and writes, and that the gate stands before it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from tiny import upscaler_model
from typer.testing import Result

from polarlight.infer.policy import Gate
from polarlight.infer.upscaling import Upscaler
from polarlight.media.inspection import inspect
from polarlight.media.pdq import pdq_hash
from polarlight.media.pictures import load_picture, read_metadata, save_picture
from polarlight.media.watermark import embed
from polarlight.models.weights import export

Call = Callable[..., Result]
Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def mine(here: Path) -> Path:
    """A folder with an upscaler."""
    export(upscaler_model(), here / "mine" / "upscaler.safetensors", {"config": {"channels": 8, "blocks": 2}})
    return here / "mine"


@pytest.fixture
def busy(here: Path) -> Path:
    cells = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(cells).resize((128, 96), Image.Resampling.BICUBIC).save(here / "busy.png")
    return here / "busy.png"


@pytest.mark.parametrize(("arguments", "factor"), [((), 2), (("--factor", "4"), 4)])
def test_a_picture_becomes_larger_and_names_its_settings(
    mine: Path, photo: Path, here: Path, answer: Ask, arguments: tuple[str, ...], factor: int
) -> None:
    made = answer("upscale", "photo.png", "--model", "mine", *arguments)
    assert made["files"] == [f"out/photo-{factor}x.png"]
    assert (made["factor"], made["width"], made["height"], made["passes"]) == (factor, 48 * factor, 32 * factor, 1)
    about = read_metadata(here / made["files"][0])
    assert {"task": "upscale", "factor": factor, "width": 48 * factor}.items() <= about.items()
    assert about["model"] == Upscaler.load(mine).card["hash"]
    assert len(about["parent"]) == 16


def test_it_goes_where_it_is_told_and_is_the_upscalers_own_but_for_the_mark(
    mine: Path, busy: Path, here: Path, answer: Ask
) -> None:
    made = answer("upscale", "busy.png", "--model", "mine", "-o", "deep/large.png")
    assert made["files"] == ["deep/large.png"]
    plain = Upscaler.load(mine).upscale(load_picture(busy))
    number = read_metadata(here / "deep" / "large.png")["watermark"]
    assert np.array_equal(load_picture(here / "deep" / "large.png"), embed(plain, number))


def test_it_is_marked_anew_and_signed_with_its_parent(mine: Path, busy: Path, here: Path, answer: Ask) -> None:
    answer("upscale", "busy.png", "--model", "mine", "-o", "two.png")
    answer("upscale", "two.png", "--model", "mine", "-o", "four.png")
    anchor = (here / "home" / "signing" / "anchor.pem").read_text()
    found = [inspect(here / name, anchor).to_json() for name in ("two.png", "four.png")]
    numbers = [read_metadata(here / name)["watermark"] for name in ("two.png", "four.png")]
    assert [one["watermark"]["payload"] for one in found] == numbers
    assert numbers[0] != numbers[1]
    assert not any(
        one["credentials"]["synthetic"] for one in found
    )  # no model made the photograph that they began with


def test_the_same_picture_keeps_its_file(mine: Path, photo: Path, answer: Ask) -> None:
    names = [answer("upscale", "photo.png", "--model", "mine")["files"] for _ in range(2)]
    assert names[0] == names[1]


def test_without_an_upscaler_it_says_how_to_get_one(photo: Path, here: Path, polarlight: Call) -> None:
    (here / "empty").mkdir()
    result = polarlight("upscale", "photo.png", "--model", "empty")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "There is no upscaler at empty/upscaler.safetensors" in result.stderr
    assert "polarlight train upscaler-mini" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("nothing.png",), "There is no file nothing.png"),
        (("photo.png", "--factor", "3"), "--factor"),
        (("photo.png", "-o", "large.gif"), "Cannot write pictures as '.gif'"),
        (("wide.png", "--factor", "4"), "20000 x 1200 px"),
    ],
)
def test_a_mistake_is_one_sentence_before_any_work(
    photo: Path, here: Path, polarlight: Call, arguments: tuple[str, ...], sentence: str
) -> None:
    Image.new("RGB", (5000, 300)).save(here / "wide.png")
    result = polarlight("upscale", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr


def test_it_keeps_the_prompt_of_its_parent_and_the_gate_reads_it(
    mine: Path, busy: Path, here: Path, answer: Ask, polarlight: Call
) -> None:
    save_picture(here / "woman.png", load_picture(busy), {"prompt": "a woman by a lake"})
    refused = polarlight("upscale", "woman.png", "--model", "mine")
    assert refused.exit_code == 2
    assert "needs that person's consent" in refused.stderr
    made = answer("upscale", "woman.png", "--model", "mine", "--subject-consent")
    assert read_metadata(here / made["files"][0])["prompt"] == "a woman by a lake"


def test_damaged_settings_keep_nobody_from_enlarging(mine: Path, here: Path, answer: Ask) -> None:
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("polarlight", "{")
    Image.new("RGB", (20, 10)).save(here / "damaged.png", pnginfo=chunks)
    assert answer("upscale", "damaged.png", "--model", "mine")["width"] == 40


def test_what_may_not_be_edited_may_not_be_upscaled(mine: Path, busy: Path, here: Path, polarlight: Call) -> None:
    gate = Gate.at(here / "home")
    gate.takedown(pdq_hash(load_picture(busy)).hex, "a report")
    blocked = polarlight("upscale", "busy.png", "--model", "mine")
    gate.turn_off("edit", "a report is looked into")
    off = polarlight("upscale", "busy.png", "--model", "mine")
    assert (blocked.exit_code, off.exit_code) == (2, 2)
    assert "on the block list" in blocked.stderr
    assert "switched off at the moment" in off.stderr
    assert [one["task"] for one in gate.audit.records() if one["event"] == "check"] == ["edit", "edit"]
    assert not (here / "out" / "busy-2x.png").exists()
