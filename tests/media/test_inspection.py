"""A file says what it knows about its making, and what of it is proved."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

pytest.importorskip("c2pa")

from polarlight.base.errors import UserError
from polarlight.media.clip_watermark import ClipDetection, mark_clip
from polarlight.media.clips import encode_clip
from polarlight.media.inspection import Inspection, a1111_settings, comfyui_settings, inspect
from polarlight.media.pictures import encode_picture
from polarlight.media.provenance import sign
from polarlight.media.signing_identity import SigningIdentity
from polarlight.media.watermark import embed

A1111 = """a red fox, (snow:1.2)
in a birch wood
Negative prompt: blurry, text
Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 123, Size: 64x48, Model: "fox, v2", Version: 1.9"""
COMFYUI = {
    "3": {
        "class_type": "KSampler",
        "inputs": {"seed": 5, "steps": 20, "cfg": 7.0, "positive": ["10", 0], "negative": ["7", 0], "model": ["4", 0]},
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "base.safetensors"}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a lighthouse", "clip": ["4", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "people", "clip": ["4", 1]}},
    "10": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["6", 0]}},
}


def pixels(height: int = 96, width: int = 128) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([y + x, 2 * y, 255 - x], -1).clip(0, 255).astype(np.uint8)


def foreign(tmp_path: Path, **texts: str) -> Path:
    chunks = PngImagePlugin.PngInfo()
    for name, text in texts.items():
        chunks.add_text(name, text)
    Image.fromarray(pixels()).save(tmp_path / "foreign.png", pnginfo=chunks)
    return tmp_path / "foreign.png"


def test_a_signed_and_marked_picture_is_proved(tmp_path: Path) -> None:
    identity = SigningIdentity.open(tmp_path)
    content = encode_picture(embed(pixels(256, 256), 99), {"prompt": "a cat", "seed": 3}, ".png")
    found = inspect(sign(content, identity, {"prompt": "a cat"}), identity.anchor)
    assert (found.format, found.width, found.height) == ("image/png", 256, 256)
    assert found.credentials.state == "trusted"
    assert (found.watermark.found, found.watermark.payload) == (True, 99)
    assert (found.settings_from, found.settings["seed"]) == ("polarlight", 3)
    assert (found.generated, found.proved) == (True, True)
    text = " ".join(found.sentences())
    assert "unchanged since it was signed by Polarlight operator signer" in text
    assert "a watermark with the number 99" in text
    assert "the settings of Polarlight: a cat." in text


def test_an_altered_file_is_called_altered(tmp_path: Path) -> None:
    identity = SigningIdentity.open(tmp_path)
    content = sign(encode_picture(pixels(), {"prompt": "a cat"}, ".png"), identity, {})
    found = inspect(content.replace(b"a cat", b"a dog"), identity.anchor)
    assert not found.proved
    assert "It was altered after it was signed (assertion.dataHash.mismatch)." in found.sentences()


def test_an_altered_file_that_is_no_picture_any_more_is_called_both(tmp_path: Path) -> None:
    identity = SigningIdentity.open(tmp_path)
    content = bytearray(sign(encode_picture(pixels(), {}, ".png"), identity, {}))
    start = content.index(b"IDAT") + 8
    content[start : start + 20] = b"\xff" * 20
    sentences = inspect(bytes(content), identity.anchor).sentences()
    assert "It was altered after it was signed (assertion.dataHash.mismatch)." in sentences
    assert "The file is cut off or damaged." in sentences


def test_a_photograph_says_nothing(tmp_path: Path) -> None:
    found = inspect(foreign(tmp_path))
    assert (found.generated, found.proved, found.settings_from) == (False, False, "")
    assert "It has no content credentials." in found.sentences()
    assert "It has no watermark of this key that can be found." in found.sentences()


def test_settings_alone_prove_nothing(tmp_path: Path) -> None:
    found = inspect(foreign(tmp_path, parameters=A1111))
    assert (found.generated, found.proved, found.settings_from) == (True, False, "a1111")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_everything_is_plain_json(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix}"
    path.write_bytes(encode_picture(pixels(), {"prompt": "a cat", "seed": 3}, suffix))
    found = json.loads(json.dumps(inspect(path).to_json()))
    assert found["settings"] == {"prompt": "a cat", "seed": 3}
    assert found["bytes"] == path.stat().st_size
    assert found["watermark"]["found"] is False
    assert found["sentences"]


def test_the_settings_of_a1111_are_read() -> None:
    assert a1111_settings(A1111) == {
        "prompt": "a red fox, (snow:1.2)\nin a birch wood",
        "negative_prompt": "blurry, text",
        "steps": 28,
        "sampler": "DPM++ 2M Karras",
        "guidance": 6.5,
        "seed": 123,
        "model": "fox, v2",
    }
    assert a1111_settings("a poem\nabout nothing") == {}


def test_the_settings_of_a1111_are_read_from_a_jpeg(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + A1111.encode("utf-16-be")
    Image.fromarray(pixels()).save(tmp_path / "foreign.jpg", exif=exif)
    assert inspect(tmp_path / "foreign.jpg").settings["seed"] == 123


def test_the_settings_of_comfyui_are_read_through_its_links(tmp_path: Path) -> None:
    found = inspect(foreign(tmp_path, prompt=json.dumps(COMFYUI), workflow="{}"))
    assert found.settings_from == "comfyui"
    assert dict(found.settings) == {
        "model": "base.safetensors",
        "prompt": "a lighthouse",
        "negative_prompt": "people",
        "seed": 5,
        "steps": 20,
        "guidance": 7.0,
    }


def test_a_circle_of_nodes_ends() -> None:
    graph = {
        "1": {"class_type": "KSampler", "inputs": {"seed": 1, "positive": ["2", 0]}},
        "2": {"class_type": "Loop", "inputs": {"conditioning": ["2", 0]}},
    }
    assert comfyui_settings(graph) == {"seed": 1}


@pytest.mark.parametrize("text", ["not json", "[1, 2]", '{"1": 2}', '{"1": {"class_type": "X", "inputs": 5}}'])
def test_another_programs_prompt_chunk_is_left_alone(tmp_path: Path, text: str) -> None:
    assert dict(inspect(foreign(tmp_path, prompt=text)).settings) == {}


def film(*shades: int) -> np.ndarray:
    return np.stack([np.full((128, 160, 3), shade, np.uint8) for shade in shades])


def test_a_clip_says_what_it_is_who_signed_it_and_its_number(tmp_path: Path) -> None:
    identity = SigningIdentity.open(tmp_path)
    content = mark_clip(encode_clip(film(40, 80, 120, 160), 8), 99, metadata={"prompt": "a cat", "seed": 3})
    path = tmp_path / "clip.mp4"
    path.write_bytes(sign(content, identity, {"prompt": "a cat"}))
    found = inspect(path, identity.anchor)
    assert (found.format, found.width, found.height, found.frames, found.seconds) == ("video/mp4", 160, 128, 4, 0.5)
    assert (found.settings_from, found.settings["seed"], found.proved) == ("polarlight", 3, True)
    size = path.stat().st_size
    assert found.sentences() == [
        f"This is video/mp4, 160 x 128 px, 4 frames in 0.50 s, {size:,} bytes.",
        "It is unchanged since it was signed by Polarlight operator signer, Polarlight operator, a signer you trust.",
        "The signer says that a model made it or took part.",
        f"It has a watermark with the number 99, read in 4 of 4 frames looked at (score {found.watermark.score:.1f}).",
        "It carries the settings of Polarlight: a cat.",
    ]
    assert json.loads(json.dumps(found.to_json()))["watermark"]["votes"] == [[99, 4]]


def test_a_clip_that_was_changed_after_it_was_signed_is_called_altered(tmp_path: Path) -> None:
    identity = SigningIdentity.open(tmp_path)
    content = bytearray(sign(encode_clip(film(40, 80), 8), identity, {}))
    content[content.index(b"mdat") + 900] ^= 1
    found = inspect(bytes(content), identity.anchor)
    assert not found.proved
    assert "It was altered after it was signed (assertion.bmffHash.mismatch)." in found.sentences()


def test_a_clip_of_another_program_says_nothing() -> None:
    found = inspect(encode_clip(film(40, 80, 120), 8))
    assert (found.generated, found.settings_from, found.watermark.found) == (False, "", False)
    assert "It has no content credentials." in found.sentences()


def test_a_signed_clip_that_was_cut_off_is_called_both(tmp_path: Path) -> None:
    identity = SigningIdentity.open(tmp_path)
    content = sign(encode_clip(film(40, 80), 8), identity, {})[:-40]
    sentences = inspect(content, identity.anchor).sentences()
    assert any(sentence.startswith("It was altered after it was signed") for sentence in sentences)
    assert "The clip is cut off." in sentences


def test_an_unsigned_clip_that_was_cut_off_is_refused() -> None:
    with pytest.raises(UserError, match="The clip is cut off"):
        inspect(encode_clip(film(40, 80), 8)[:-40])


def test_the_numbers_of_a_film_of_several_clips_are_all_named() -> None:
    found = ClipDetection(found=True, score=12.0, payload=7, scale=1.0, frames=48, votes=((7, 32), (9, 8)))
    said = Inspection(format="video/mp4", width=0, height=0, bytes=1, watermark=found).sentences()
    assert "It has a watermark with the number 7, read in 32 of 48 frames looked at, and 9 in 8 (score 12.0)." in said
    together = replace(found, votes=())
    said = Inspection(format="video/mp4", width=0, height=0, bytes=1, watermark=together).sentences()
    assert "It has a watermark with the number 7, read from 48 frames together (score 12.0)." in said


def test_without_the_library_the_credentials_are_called_unchecked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "c2pa", None)
    found = inspect(foreign(tmp_path))
    assert not found.checked
    assert "It has no content credentials." not in found.sentences()
    assert any("were not checked" in sentence for sentence in found.sentences())


def test_a_file_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(UserError, match="neither PNG"):
        inspect(tmp_path / "notes.txt")
    with pytest.raises(UserError, match="Cannot read"):
        inspect(tmp_path / "nothing.png")
    with pytest.raises(UserError, match=r"not a picture|cut off"):
        inspect(b"\x89PNG\r\n\x1a\n" + bytes(100))
