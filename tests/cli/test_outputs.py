"""Pictures from the command line carry what the server's carry: a mark, their settings, a signature, their parent."""

import errno
import json
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import Result

from polarlight.cli.outputs import Outputs
from polarlight.infer.images import Picture
from polarlight.infer.policy import Gate
from polarlight.media import provenance
from polarlight.media.inspection import Inspection, inspect
from polarlight.media.pictures import load_picture
from polarlight.media.signing_identity import SigningIdentity

Call = Callable[..., Result]
Ask = Callable[..., dict[str, Any]]


def sealed_by(here: Path, name: str) -> Inspection:
    """What a file says under this home's own anchor."""
    return inspect(here / name, (here / "home" / "signing" / "anchor.pem").read_text())


@pytest.mark.parametrize("name", ["cat.png", "cat.jpg", "cat.webp"])
def test_a_drawn_picture_is_signed_described_and_marked(name: str, painter: Any, here: Path, answer: Ask) -> None:
    answer("imagine", "a cat", "-n", "1", "--seed", "90", "-o", name)
    found = sealed_by(here, name)
    assert (found.credentials.state, found.credentials.synthetic, found.credentials.parents) == ("trusted", True, ())
    assert found.credentials.generation == found.settings
    assert (found.settings["prompt"], found.settings["seed"]) == ("a cat", 90)
    assert (found.watermark.found, found.watermark.payload) == (True, found.settings["watermark"])


def test_inspect_says_so(painter: Any, here: Path, polarlight: Call) -> None:
    polarlight("imagine", "a cat", "-n", "1", "--seed", "90", "-o", "cat.png")
    *sentences, line = polarlight("inspect", "cat.png").stdout.splitlines()
    said = json.loads(line)
    assert "a signer you trust" in sentences[1]
    assert sentences[-1] == "It carries the settings of Polarlight: a cat."
    assert (said["credentials"]["generator"].split()[0], said["credentials"]["state"]) == ("Polarlight", "trusted")
    assert (said["settings"]["seed"], said["watermark"]["payload"]) == (90, said["settings"]["watermark"])


def test_the_sheet_of_several_is_sealed_too(painter: Any, here: Path, answer: Ask) -> None:
    answer("imagine", "a cat", "-n", "3", "--seed", "90")
    found = sealed_by(here, "out/grid.png")
    assert (found.credentials.state, found.credentials.synthetic) == ("trusted", True)
    assert (found.settings["seeds"], found.watermark.payload) == ([90, 91, 92], found.settings["watermark"])


def test_the_same_command_again_writes_no_second_file(painter: Any, here: Path, answer: Ask) -> None:
    twice = [answer("imagine", "a cat", "-n", "2", "--seed", "1") for _ in range(2)]
    assert twice[0]["files"] == twice[1]["files"]
    assert len(list((here / "out").iterdir())) == 3


def test_an_edit_of_a_photograph_names_it_as_its_parent(painter: Any, photo: Path, here: Path, answer: Ask) -> None:
    answer("edit", "photo.png", "make it blue", "-o", "blue.png")
    found = sealed_by(here, "blue.png").credentials
    assert (found.state, found.parents) == ("trusted", ("parent",))
    assert (found.generated, found.synthetic) == (True, False)


def test_a_picture_of_this_house_is_edited_without_asking_for_consent(
    painter: Any, here: Path, answer: Ask, polarlight: Call
) -> None:
    answer("imagine", "a woman", "-n", "1", "--seed", "90", "-o", "woman.png")
    answer("edit", "woman.png", "make her smile", "-o", "smile.png", "-n", "2", "-o", "smiles")
    for name in (each.name for each in (here / "smiles").iterdir()):
        found = sealed_by(here, f"smiles/{name}").credentials
        assert (found.state, found.parents, found.synthetic) == ("trusted", ("parent",), True)
    Image.open(here / "woman.png").save(here / "copied.png")
    refused = polarlight("edit", "copied.png", "make her smile")
    assert refused.exit_code == 2
    assert "needs that person's consent" in refused.stderr


def test_a_photograph_in_a_format_without_credentials_can_be_edited(painter: Any, here: Path, answer: Ask) -> None:
    Image.new("RGB", (48, 32), "red").save(here / "photo.bmp")
    answer("edit", "photo.bmp", "make it blue", "-o", "blue.png")
    found = sealed_by(here, "blue.png").credentials
    assert (found.state, found.parents, found.synthetic) == ("trusted", ("parent",), False)


def test_what_a_mask_keeps_of_a_marked_picture_keeps_every_bit(painter: Any, here: Path, answer: Ask) -> None:
    answer("imagine", "a cat", "-n", "1", "--seed", "90", "-o", "cat.png")
    before = load_picture(here / "cat.png")
    mask = np.zeros((128, 128), np.uint8)
    mask[32:64, 48:96] = 255
    Image.fromarray(mask).save(here / "mask.png")

    def paint(seed: int) -> np.ndarray:
        return np.where(mask[..., None] > 0, np.uint8(seed), before)

    painter.paint = paint
    answer("edit", "cat.png", "make it blue", "--mask", "mask.png", "--seed", "200", "-o", "blue.png")
    after = load_picture(here / "blue.png")
    assert np.array_equal(after[mask == 0], before[mask == 0])
    assert sealed_by(here, "blue.png").watermark.payload == sealed_by(here, "cat.png").watermark.payload


def test_the_log_of_the_gate_names_the_manifest_of_each_file(painter: Any, here: Path, answer: Ask) -> None:
    made = answer("imagine", "a cat", "-n", "2", "--seed", "90")
    outputs = [one for one in Gate.at(here / "home").audit.records() if one["event"] == "output"]
    manifests = [sealed_by(here, name).credentials.manifest for name in made["files"][:2]]
    assert [one["c2pa"] for one in outputs] == manifests


def test_first_runs_at_the_same_time_make_one_identity(here: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: Outputs.open(here / "out"), range(4)))
    assert len({each.identity.anchor for each in opened}) == 1
    assert SigningIdentity.open(here / "home").anchor == opened[0].identity.anchor


def test_a_damaged_identity_is_a_sentence_and_no_picture(painter: Any, here: Path, polarlight: Call) -> None:
    SigningIdentity.open(here / "home")
    (here / "home" / "signing" / "key.pem").write_text("nothing", encoding="ascii")
    result = polarlight("imagine", "a cat", "-n", "1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "The signing identity in" in result.stderr
    assert list((here / "out").iterdir()) == []


def test_an_identity_that_others_can_read_is_found_before_anything_is_drawn(
    painter: Any, here: Path, polarlight: Call
) -> None:
    SigningIdentity.open(here / "home")
    (here / "home" / "signing" / "key.pem").chmod(0o644)
    assert polarlight("imagine", "a cat", "-n", "1").exit_code == 2
    assert painter.loads == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_leaves_no_file(
    number: int, painter: Any, here: Path, polarlight: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    polarlight("imagine", "a cat", "-n", "1", "-o", "first.png")  # the home is made
    write = Path.write_bytes

    def half(path: Path, content: bytes) -> int:
        write(path, content[: len(content) // 2])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", half)
    result = polarlight("imagine", "a cat", "-n", "2", "--seed", "1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "The disk is full" in result.stderr
    assert list((here / "out").iterdir()) == []


def test_ctrl_c_while_a_file_is_signed_is_not_lost(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs, signing = Outputs.open(here / "out"), threading.Event()
    sign = provenance.sign

    def slowly(*given: Any, **more: Any) -> Any:
        signing.set()
        os.kill(os.getpid(), signal.SIGINT)
        return sign(*given, **more)

    monkeypatch.setattr("polarlight.media.sealing.sign", slowly)
    picture = Picture(pixels=np.full((128, 128, 3), 90, np.uint8), seed=1, passes=1, metadata={"prompt": "a cat"})
    with pytest.raises(KeyboardInterrupt):
        outputs.seal(picture)
    assert signing.is_set()
