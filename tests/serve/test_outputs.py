"""Every output leaves marked, described, signed and judged."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from service_engines import FakeClips

from polarlight.infer.engine import VideoTask
from polarlight.infer.policy import Gate, GateRequest, Permit, Refused
from polarlight.media.provenance import read_provenance
from polarlight.media.signing_identity import SigningIdentity
from polarlight.media.watermark import PUBLIC_KEY, detect
from polarlight.serve.outputs import Outputs, mark_of

GREY = np.full((128, 160, 3), 120, np.uint8)


def spent(gate: Gate, task: str = "draw", prompt: str = "a cat") -> Permit:
    permit = gate.check(GateRequest(task=task, prompt=prompt, entry_point="test"))
    permit.spend(task, prompt)
    return permit


@pytest.fixture
def outputs(tmp_path: Path) -> Outputs:
    return Outputs(gate=Gate(tmp_path / "policy"), identity=SigningIdentity.open(tmp_path), watermark_key=PUBLIC_KEY)


@pytest.mark.parametrize("form", ["png", "jpeg", "webp"])
def test_a_picture_is_signed_and_marked_in_every_format(form: str, outputs: Outputs) -> None:
    sealed = outputs.seal_picture(
        GREY, {"prompt": "a cat", "seed": 3}, permit=spent(outputs.gate), trace="job/0", form=form
    )
    found = read_provenance(sealed.content, outputs.identity.anchor)
    assert (found.state, found.synthetic) == ("trusted", True)
    assert (found.generation["prompt"], found.generation["seed"]) == ("a cat", 3)
    picture = Image.open(io.BytesIO(sealed.content))
    assert picture.format.lower() == form
    seen = detect(np.array(picture.convert("RGB")))
    assert (seen.found, seen.payload) == (True, mark_of("job/0"))
    assert sealed.allowed
    assert len(sealed.pdq) == 64


def test_the_audit_log_names_the_hash_and_the_manifest_of_an_output(outputs: Outputs) -> None:
    sealed = outputs.seal_picture(GREY, {"prompt": "a cat"}, permit=spent(outputs.gate), trace="job/0")
    record = list(outputs.gate.audit.records())[-1]
    assert (record["event"], record["output_pdq"]) == ("output", sealed.pdq)
    assert record["c2pa"] == read_provenance(sealed.content, outputs.identity.anchor).manifest


def test_an_edits_parent_is_an_ingredient(outputs: Outputs) -> None:
    first = outputs.seal_picture(GREY, {"prompt": "a cat"}, permit=spent(outputs.gate), trace="a")
    second = outputs.seal_picture(GREY, {"prompt": "blue"}, permit=spent(outputs.gate), trace="b", parent=first.content)
    found = read_provenance(second.content, outputs.identity.anchor)
    assert (found.parents, "c2pa.edited" in found.actions) == (("parent",), True)


def test_nothing_is_sealed_without_a_spent_permit(outputs: Outputs) -> None:
    permit = outputs.gate.check(GateRequest(task="draw", prompt="a cat", entry_point="test"))
    with pytest.raises(Refused):
        outputs.seal_picture(GREY, {}, permit=permit, trace="a")


def test_a_picture_that_was_taken_down_is_withheld(outputs: Outputs) -> None:
    busy = np.random.default_rng(1).integers(0, 255, (8, 8, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    shown = outputs.seal_picture(busy, {}, permit=spent(outputs.gate), trace="a")
    outputs.gate.takedown(shown.pdq, "a complaint")
    again = outputs.seal_picture(busy, {}, permit=spent(outputs.gate), trace="b")
    assert (shown.allowed, again.allowed) == (True, False)
    assert again.message


def test_a_picture_too_small_for_the_mark_says_so_in_its_settings(outputs: Outputs) -> None:
    sealed = outputs.seal_picture(GREY[:64, :64], {}, permit=spent(outputs.gate), trace="a")
    assert read_provenance(sealed.content).generation["watermark"] is None


def test_a_clip_is_signed_and_its_frames_judged(outputs: Outputs) -> None:
    sealed, frames = outputs.seal_clip(_clip(), {"prompt": "a cat"}, permit=spent(outputs.gate, "video"))
    assert read_provenance(sealed.content, outputs.identity.anchor).state == "trusted"
    assert ([round(float(frame.mean()) / 30) for frame in frames], sealed.allowed) == ([1, 3, 4], True)


def _clip() -> object:
    import asyncio

    async def make() -> object:
        return FakeClips().make(VideoTask(prompt="a cat"))

    return asyncio.run(make())


def test_signing_and_marking_can_be_switched_off(tmp_path: Path) -> None:
    outputs = Outputs(gate=Gate(tmp_path / "policy"), identity=None, watermark_key=None)
    sealed = outputs.seal_picture(GREY, {}, permit=spent(outputs.gate), trace="a")
    assert read_provenance(sealed.content) is None
    assert np.array_equal(np.array(Image.open(io.BytesIO(sealed.content))), GREY)
