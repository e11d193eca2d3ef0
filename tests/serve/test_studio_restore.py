"""Settings out of files: Polarlight's, A1111's, ComfyUI's."""

import io
import json

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from polarlight.base.errors import UserError
from polarlight.media.pictures import encode_picture
from polarlight.serve.studio_restore import NoSettings, Settings, from_graph, from_parameters, settings_of

PARAMETERS = (
    "a red cat, (on a table:1.2)\nin the sun\nNegative prompt: dogs, blurry\n"
    'Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 4294967297, Size: 64x32, Model: "sd, xl", Version: v1.9'
)
GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {"seed": ["9", 0], "positive": ["6", 0], "negative": ["7", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "xl.safetensors"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": ["8", 0], "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "dogs", "clip": ["4", 1]}},
    "8": {"class_type": "PrimitiveString", "inputs": {"value": "a red cat"}},
    "9": {"class_type": "Seed", "inputs": {"seed": 42}},
}


def picture(form: str = "PNG", **texts: str) -> bytes:
    buffer, chunks = io.BytesIO(), PngImagePlugin.PngInfo()
    for name, text in texts.items():
        chunks.add_text(name, text)
    Image.new("RGB", (64, 32), "red").save(buffer, form, pnginfo=chunks)
    return buffer.getvalue()


def commented(comment: bytes) -> bytes:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.UserComment] = comment
    Image.new("RGB", (64, 32), "red").save(buffer, "JPEG", exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_own_settings_come_back_from_every_format(suffix: str) -> None:
    about = {"prompt": "a cat, 猫", "seed": 7, "mode": "speed", "model": "polarlight", "negative_prompt": "dogs"}
    found = settings_of(encode_picture(np.zeros((32, 64, 3), np.uint8), about, suffix), "a")
    words = {"prompt": "a cat, 猫", "negative_prompt": "dogs", "seed": 7, "mode": "speed", "model": "polarlight"}
    assert found == Settings(program="Polarlight", width=64, height=32, **words)


def test_parameters_of_several_lines_are_read() -> None:
    found = settings_of(picture(parameters=PARAMETERS), "a")
    assert found.program == "A1111"
    assert found.prompt == "a red cat, (on a table:1.2)\nin the sun"
    assert found.negative_prompt == "dogs, blurry"
    assert found.model == "sd, xl"


def test_a_seed_too_large_is_folded_into_the_range() -> None:
    assert from_parameters(PARAMETERS)["seed"] == 1


@pytest.mark.parametrize(
    "comment",
    [
        b"UNICODE\0" + PARAMETERS.encode("utf-16-be"),
        b"UNICODE\0" + PARAMETERS.encode("utf-16-le"),
        b"ASCII\0\0\0" + PARAMETERS.encode(),
    ],
    ids=["big-endian", "little-endian", "ascii"],
)
def test_parameters_in_the_comment_of_a_jpeg_are_read(comment: bytes) -> None:
    assert settings_of(commented(comment), "a").negative_prompt == "dogs, blurry"


def test_a_comfyui_graph_is_followed_from_the_sampler_to_its_words() -> None:
    found = settings_of(picture(prompt=json.dumps(GRAPH)), "a")
    assert found == Settings(
        program="ComfyUI", prompt="a red cat", negative_prompt="dogs", seed=42, model="xl.safetensors", width=64, height=32
    )  # fmt: skip


def test_a_graph_without_a_sampler_still_has_its_words() -> None:
    assert from_graph(json.dumps({"7": GRAPH["7"]}), "a")["prompt"] == "dogs"


def test_a_graph_that_runs_in_circles_ends() -> None:
    circle = {str(n): {"inputs": {"text": [str(3 - n), 0], "seed": 1, "positive": ["1", 0]}} for n in (1, 2)}
    assert from_graph(json.dumps(circle), "a")["prompt"] == ""


def test_a_damaged_graph_is_said() -> None:
    with pytest.raises(UserError, match="damaged"):
        settings_of(picture(prompt="{"), "cat.png")


def test_a_picture_without_settings_names_another_use() -> None:
    with pytest.raises(NoSettings, match=r"cat\.png carries no settings.*Start from the picture"):
        settings_of(picture(), "cat.png")
