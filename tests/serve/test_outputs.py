"""Every output leaves marked, described, signed and judged."""

import errno
import hashlib
import io
import os
from dataclasses import replace
from pathlib import Path

import c2pa
import numpy as np
import pytest
from PIL import Image
from service_doors import House, in_house

from polarlight.base.errors import UserError
from polarlight.infer.engine import VideoResult
from polarlight.infer.policy import Gate, GateRequest, Permit, Refused
from polarlight.media.clips import encode_clip, sample_frames
from polarlight.media.inspection import inspect
from polarlight.media.provenance import read_provenance
from polarlight.media.sealing import mark_of
from polarlight.media.signing_identity import SigningIdentity
from polarlight.media.watermark import PUBLIC_KEY, detect
from polarlight.serve.image_orders import ImageOrder, submit_images
from polarlight.serve.job_rows import Job
from polarlight.serve.outputs import Outputs, Sealed
from polarlight.serve.service import Caller
from polarlight.serve.video_orders import VideoOrder, submit_video
from polarlight.serve.work import Shown

GREY = np.full((128, 160, 3), 120, np.uint8)
NOISE = np.clip(GREY + np.random.default_rng(1).normal(0, 6, GREY.shape), 0, 255).astype(np.uint8)


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


def test_what_a_mask_keeps_keeps_the_mark_of_its_source(outputs: Outputs) -> None:
    first = outputs.seal_picture(NOISE, {"prompt": "a cat"}, permit=spent(outputs.gate), trace="a")
    source = np.array(Image.open(io.BytesIO(first.content)))
    edited = source.copy()
    edited[40:80, 40:90] = 200
    second = outputs.seal_picture(
        edited, {"prompt": "blue"}, permit=spent(outputs.gate), trace="b", parent=first.content, source=source
    )
    pixels = np.array(Image.open(io.BytesIO(second.content)))
    outside = np.ones(source.shape[:2], bool)
    outside[40:80, 40:90] = False
    assert np.array_equal(pixels[outside], source[outside])
    assert detect(pixels).payload == mark_of("a")


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


def test_a_preview_is_marked_described_and_judged_and_not_signed(outputs: Outputs) -> None:
    permit = spent(outputs.gate)
    shown = outputs.seal_preview(GREY, {"prompt": "a cat", "preview": 1}, permit=permit, trace="job/0", form="jpeg")
    assert read_provenance(shown.content) is None
    found = inspect(shown.content)
    assert (found.watermark.payload, found.settings["preview"]) == (mark_of("job/0"), 1)
    record = list(outputs.gate.audit.records())[-1]
    assert (record["event"], record["output_pdq"], record["c2pa"], shown.allowed) == ("output", shown.pdq, "", True)


def test_a_preview_that_the_gate_withholds_says_so(outputs: Outputs) -> None:
    busy = np.random.default_rng(1).integers(0, 255, (8, 8, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    permit = spent(outputs.gate)
    outputs.gate.takedown(outputs.seal_preview(busy, {}, permit=permit, trace="a").pdq, "a complaint")
    assert not outputs.seal_preview(busy, {}, permit=permit, trace="a").allowed


def test_no_preview_is_sealed_without_a_spent_permit(outputs: Outputs) -> None:
    permit = outputs.gate.check(GateRequest(task="draw", prompt="a cat", entry_point="test"))
    with pytest.raises(Refused):
        outputs.seal_preview(GREY, {}, permit=permit, trace="a")


def clip_of(side: int = 128) -> VideoResult:
    """Four frames in greys of 30 to 120."""
    frames = np.stack([np.full((side, 160, 3), 30 * number, np.uint8) for number in range(1, 5)])
    return VideoResult(content=encode_clip(frames, 8), seconds=0.5, size=(160, side), seed=3, metadata={})


def test_a_clip_is_signed_marked_described_and_its_frames_judged(outputs: Outputs) -> None:
    about = {"prompt": "a cat", "seed": 3}
    sealed, frames = outputs.seal_clip(clip_of(), about, permit=spent(outputs.gate, "video"), trace="job/0")
    found = inspect(sealed.content, outputs.identity.anchor)
    assert (found.credentials.state, found.credentials.synthetic) == ("trusted", True)
    assert (found.watermark.payload, found.watermark.frames) == (mark_of("job/0"), 4)
    assert dict(found.settings) == dict(found.credentials.generation) == {**about, "watermark": mark_of("job/0")}
    assert ([round(float(frame.mean()) / 30) for frame in frames], sealed.allowed) == ([1, 3, 4], True)
    assert (sealed.media_type, sealed.suffix, len(sealed.pdq)) == ("video/mp4", ".mp4", 64)


def test_a_clip_with_a_frame_that_was_taken_down_is_withheld(outputs: Outputs) -> None:
    busy = np.random.default_rng(1).integers(0, 255, (8, 8, 3), np.uint8).repeat(16, 0).repeat(16, 1)
    plain = np.full_like(busy, 120)

    def sealed(*frames: np.ndarray) -> Sealed:
        clip = replace(clip_of(), content=encode_clip(np.stack(frames), 8), size=(128, 128))
        return outputs.seal_clip(clip, {}, permit=spent(outputs.gate, "video"), trace="a")[0]

    outputs.gate.takedown(sealed(busy).pdq, "a complaint")
    withheld = sealed(plain, plain, busy)
    assert (withheld.allowed, bool(withheld.message)) == (False, True)
    assert sealed(plain, plain, plain).allowed


def test_a_clip_too_small_for_the_mark_is_not_encoded_again_and_says_so(outputs: Outputs) -> None:
    clip = clip_of(side=64)
    sealed, frames = outputs.seal_clip(clip, {"prompt": "x"}, permit=spent(outputs.gate, "video"), trace="a")
    assert dict(inspect(sealed.content).settings) == {"prompt": "x", "watermark": None}
    assert np.array_equal(frames[1], sample_frames(clip.content)[1])


def test_a_clip_that_its_engine_cut_off_is_one_sentence(outputs: Outputs) -> None:
    cut = replace(clip_of(), content=clip_of().content[:-300])
    with pytest.raises(UserError, match="The clip is cut off"):
        outputs.seal_clip(cut, {}, permit=spent(outputs.gate, "video"), trace="a")


def test_a_file_is_read_back_once_after_it_was_signed(outputs: Outputs, monkeypatch: pytest.MonkeyPatch) -> None:
    reads, reader = [], c2pa.Reader
    monkeypatch.setattr(c2pa, "Reader", lambda *given, **more: reads.append(1) or reader(*given, **more))
    outputs.seal_picture(GREY, {}, permit=spent(outputs.gate), trace="a")
    assert len(reads) == 1


def test_signing_and_marking_can_be_switched_off(tmp_path: Path) -> None:
    outputs = Outputs(gate=Gate(tmp_path / "policy"), identity=None, watermark_key=None)
    sealed = outputs.seal_picture(GREY, {}, permit=spent(outputs.gate), trace="a")
    assert read_provenance(sealed.content) is None
    assert np.array_equal(np.array(Image.open(io.BytesIO(sealed.content))), GREY)
    clip, _ = outputs.seal_clip(clip_of(), {"seed": 3}, permit=spent(outputs.gate, "video"), trace="a")
    found = inspect(clip.content)
    assert (found.credentials, found.watermark.found, found.settings["seed"]) == (None, False, 3)


def objects_of(house: House) -> list[Path]:
    """Every file in the service's object store, the hidden ones of half-done writes too."""
    return [path for path in (house.settings.home / "objects").rglob("*") if path.is_file()]


async def ordered(house: House, kind: str) -> Job:
    """A job for a picture with previews, or for a clip."""
    admission = await house.service.admit_model(Caller(key=house.key, door="test"), kind, None)
    if kind == "video":
        return await submit_video(house.service, admission, VideoOrder(prompt="a cat", seconds=4))
    return await submit_images(house.service, admission, ImageOrder(prompt="a cat", previews=2))


@pytest.mark.parametrize("kind", ["image", "video"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@in_house(sign=True)
async def test_a_full_disk_leaves_nothing_half_written_and_costs_nothing(
    house: House, kind: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def half(path: Path, content: bytes) -> int:
        write(path, content[: len(content) // 2])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", half)
    job = await ordered(house, kind)
    assert await house.settled(job.id) == "failed"
    assert "disk is full" in house.state.jobs.get(job.id).error_message
    assert (objects_of(house), house.state.files.of_job(job.id), house.charged()) == ([], [], 0)
    monkeypatch.setattr(Path, "write_bytes", write)
    again = await ordered(house, kind)
    assert await house.settled(again.id) == "done"
    assert sorted(path.stat().st_size for path in objects_of(house)) == sorted(
        file.bytes for file in house.state.files.of_job(again.id)
    )


@in_house()
async def test_an_output_is_stored_whole_while_a_client_reads_its_previews_slowly(house: House) -> None:
    job = await ordered(house, "image")
    events = house.service.workers.follow(job)
    first = await anext(events)
    assert await house.settled(job.id) == "done"  # though nobody took the second preview
    (file,) = house.state.files.of_job(job.id)
    assert hashlib.sha256(house.state.objects.get(file.object_key)).hexdigest() == file.sha256
    assert [type(first), *[type(event) async for event in events]] == [Shown, Shown, Job]
