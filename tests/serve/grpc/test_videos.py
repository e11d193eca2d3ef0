"""Clips by xAI's own client."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import httpx
import pytest
from service_doors import data_uri, picture_file
from service_engines import WITHHELD
from service_grpc import Code, refused
from xai_sdk.proto import deferred_pb2
from xai_sdk.video import VideoGenerationError

MODEL = "grok-imagine-video"
SOON = {"interval": timedelta(milliseconds=50), "timeout": timedelta(seconds=20)}


@pytest.fixture(scope="module")
def clip(served) -> Iterator[str]:
    """A clip made here, as a data URI."""
    with served.client() as client:
        content = httpx.get(client.video.generate("a red cat runs", MODEL, duration=3, **SOON).url).content
    return data_uri(content, "video/mp4")


def test_a_clip_is_made_and_can_be_downloaded(client, served) -> None:
    made = client.video.generate("a red cat runs", MODEL, duration=4, aspect_ratio="16:9", resolution="720p", **SOON)
    assert (made.duration, made.respect_moderation, made.model) == (4, True, MODEL)
    assert made.cost_usd == pytest.approx(4 * 0.05)  # the clip's shorter side has 192 px
    assert httpx.get(made.url).content[4:8] == b"ftyp"
    task = served.house.clips.tasks[-1]
    assert (task.size, task.resolution, task.seconds) == ("16:9", "720p", 4)


def test_a_clip_is_started_and_asked_after(client, served) -> None:
    served.house.clips.go.clear()
    try:
        started = client.video.start("a red cat runs", MODEL, duration=2)
        pending = client.video.get(started.request_id)
        assert pending.status == deferred_pb2.DeferredStatus.PENDING
        assert 0 <= pending.response.progress < 100
    finally:
        served.house.clips.go.set()
    asyncio.run(served.house.settled(started.request_id))
    done = client.video.get(started.request_id)
    assert (done.status, done.response.progress) == (deferred_pb2.DeferredStatus.DONE, 100)
    assert done.response.video.url


def test_a_clip_that_nobody_asked_for_is_not_found(client, served) -> None:
    started = client.video.start("a cat", MODEL)
    for who, request_id in ((client, "no-such-id"), (served.client(served.house.other), started.request_id)):
        with refused(Code.NOT_FOUND):
            who.video.get(request_id)


def test_pictures_come_first_last_between_and_as_references(client, served) -> None:
    uri = data_uri(picture_file())
    keyframes = [{"image_url": uri, "timestamp": 1.0}]
    client.video.generate("it moves", MODEL, image_url=uri, last_frame_url=uri, keyframes=keyframes, **SOON)
    task = served.house.clips.tasks[-1]
    assert task.first is not None
    assert task.last is not None
    assert [at for at, _ in task.keyframes] == [1.0]
    client.video.generate("it moves", MODEL, reference_image_urls=[uri, uri], **SOON)
    assert len(served.house.clips.tasks[-1].references) == 2


def test_a_clip_is_edited(client, served, clip: str) -> None:
    made = client.video.generate("make it blue", MODEL, video_url=clip, **SOON)
    assert made.url
    assert served.house.clips.tasks[-1].task == "edit"


def test_an_edit_refuses_what_it_would_leave_out(client, clip: str) -> None:
    with refused(Code.INVALID_ARGUMENT, "duration"):
        client.video.start("make it blue", MODEL, video_url=clip, duration=4)


def test_a_clip_of_the_files_is_extended(client, served, clip: str) -> None:
    started = client.video.generate("a cat", MODEL, duration=2, storage_options={"filename": "cat.mp4"}, **SOON)
    kept = client.files.get(started.file_output.file_id)
    assert kept.filename == "cat.mp4"
    made = client.video.extend("and on", MODEL, video_file_id=kept.id, duration=3, **SOON)
    assert made.url
    task = served.house.clips.tasks[-1]
    assert (task.task, task.seconds, task.source[4:8]) == ("extend", 3, b"ftyp")


def test_an_extension_is_started_by_itself(client, served, clip: str) -> None:
    started = client.video.extend_start("and on", MODEL, video_url=clip)
    assert asyncio.run(served.house.settled(started.request_id)) == "done"


def test_a_failed_clip_raises_the_clients_own_error(client, served) -> None:
    served.house.clips.error = RuntimeError("secret details")
    try:
        with pytest.raises(VideoGenerationError) as error:
            client.video.generate("a cat", MODEL, **SOON)
    finally:
        served.house.clips.error = None
    assert error.value.code == "internal_error"
    assert "secret" not in str(error.value)


def test_a_withheld_clip_says_so_and_has_no_address(client, served) -> None:
    served.house.clips.grey = WITHHELD
    try:
        made = client.video.generate("a cat", MODEL, **SOON)
    finally:
        served.house.clips.grey = None
    assert not made.respect_moderation
    with pytest.raises(ValueError, match="moderation"):
        _ = made.url


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        ({"prompt": ""}, Code.INVALID_ARGUMENT),
        ({"duration": 99}, Code.INVALID_ARGUMENT),
        ({"model": "grok-none"}, Code.NOT_FOUND),
        ({"prompt": "a nude child"}, Code.INVALID_ARGUMENT),
        ({"reference_audios": [{"voice_id": "ara"}]}, Code.INVALID_ARGUMENT),
        ({"video_url": "not a clip"}, Code.INVALID_ARGUMENT),
    ],
)
def test_a_mistake_has_its_status(client, ask: dict, code: Code) -> None:
    with refused(code):
        client.video.start(**{"prompt": "a cat", "model": MODEL, **ask})


def test_the_asynchronous_client_makes_clips(served) -> None:
    async def go() -> int:
        async with served.aio_client() as client:
            return (await client.video.generate("a cat", MODEL, duration=2, **SOON)).duration

    assert asyncio.run(go()) == 2
