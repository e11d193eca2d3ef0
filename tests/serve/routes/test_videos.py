"""Clips over REST, in both dialects."""

import io

import av
import pytest
from service_doors import House, data_uri, in_house, picture_file, soon
from service_engines import WITHHELD

VIDEOS = "/v1/videos"


async def created(house: House, **fields: object) -> dict:
    answer = await house.client.post(VIDEOS, json={"prompt": "a red cat runs", "model": "sora-2", **fields})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def finished(house: House, **fields: object) -> dict:
    made = await created(house, **fields)
    assert await house.settled(made["id"].removeprefix("video_")) == "done"
    return (await house.client.get(f"{VIDEOS}/{made['id']}")).json()


@in_house()
async def test_a_clip_in_openais_dialect_is_queued_made_and_fetched(house: House) -> None:
    house.clips.go.clear()
    made = await created(house, seconds="4", size="1280x720")
    assert (made["object"], made["status"], made["seconds"]) == ("video", "queued", "4")
    await soon(lambda: house.clips.tasks)
    going = await house.client.get(f"{VIDEOS}/{made['id']}")
    assert (going.json()["status"], going.headers["openai-poll-after-ms"]) == ("in_progress", "1000")
    assert (await house.client.get(f"{VIDEOS}/{made['id']}/content")).status_code == 404
    house.clips.go.set()
    assert await house.settled(made["id"].removeprefix("video_")) == "done"
    done = (await house.client.get(f"{VIDEOS}/{made['id']}")).json()
    assert (done["status"], done["progress"], done["size"], done["error"]) == ("completed", 100, "256x192", None)
    clip = await house.client.get(f"{VIDEOS}/{made['id']}/content")
    assert clip.headers["content-type"] == "video/mp4"
    with av.open(io.BytesIO(clip.content)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 4


@in_house()
async def test_ranges_and_stills_of_a_clip_are_served(house: House) -> None:
    made = await finished(house)
    part = await house.client.get(f"{VIDEOS}/{made['id']}/content", headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    for variant in ("thumbnail", "spritesheet"):
        still = await house.client.get(f"{VIDEOS}/{made['id']}/content", params={"variant": variant})
        assert (still.status_code, still.headers["content-type"]) == (200, "image/webp")


@in_house()
async def test_xais_status_is_202_while_pending_and_200_with_a_url_when_done(house: House) -> None:
    house.clips.go.clear()
    request = {"prompt": "a cat", "model": "grok-imagine-video", "duration": "5", "resolution": "720p"}
    request_id = (await house.client.post(f"{VIDEOS}/generations", json=request)).json()["request_id"]
    pending = await house.client.get(f"{VIDEOS}/{request_id}")
    assert (pending.status_code, pending.json()["status"]) == (202, "pending")
    house.clips.go.set()
    assert await house.settled(request_id) == "done"
    done = await house.client.get(f"{VIDEOS}/{request_id}")
    assert done.status_code == 200
    body = done.json()
    assert (body["status"], body["video"]["duration"], body["video"]["respect_moderation"]) == ("done", 5, True)
    # five seconds at the price of 480p, because the clip's shorter side has 192 px
    assert body["usage"]["cost_in_usd_ticks"] == 5 * 500_000_000 == house.charged()
    async with house.client_with(None) as anybody:
        assert (await anybody.get(body["video"]["url"])).content[4:8] == b"ftyp"


@in_house()
async def test_a_failed_clip_is_200_with_xai_and_an_object_with_openai(house: House) -> None:
    house.clips.error = RuntimeError("secret details")
    made = await created(house)
    job_id = made["id"].removeprefix("video_")
    assert await house.settled(job_id) == "failed"
    theirs = await house.client.get(f"{VIDEOS}/{job_id}")
    assert (theirs.status_code, theirs.json()["status"]) == (200, "failed")
    assert theirs.json()["error"]["code"] == "internal_error"
    assert not theirs.json().keys() & {"progress", "model"}
    ours = (await house.client.get(f"{VIDEOS}/{made['id']}")).json()
    assert (ours["status"], ours["error"]["code"]) == ("failed", "internal_error")
    assert "secret" not in theirs.text
    assert house.charged() == 0


@in_house()
async def test_a_clip_that_the_gate_withholds_has_an_empty_url_and_costs_nothing(house: House) -> None:
    house.clips.grey = WITHHELD
    made = await finished(house)
    assert (made["status"], made["error"]["code"]) == ("failed", "moderation_blocked")
    body = (await house.client.get(f"{VIDEOS}/{made['id'].removeprefix('video_')}")).json()
    assert (body["video"]["url"], body["video"]["respect_moderation"]) == ("", False)
    assert house.charged() == 0


@in_house()
async def test_pictures_reach_the_engine_as_frames_and_references(house: House) -> None:
    image = {"url": data_uri(picture_file())}
    request = {
        "prompt": "", "model": "grok-imagine-video", "image": image, "last_frame": image,
        "keyframes": [{"image": image, "timestamp_s": 1.0}], "reference_images": [image],
    }  # fmt: skip
    answer = await house.client.post(f"{VIDEOS}/generations", json=request)
    assert await house.settled(answer.json()["request_id"]) == "done"
    task = house.clips.tasks[0]
    assert (task.first.shape, task.last.shape) == ((128, 128, 3), (128, 128, 3))
    assert ([at for at, _ in task.keyframes], len(task.references)) == ([1.0], 1)
    form = {"input_reference": ("first.png", picture_file(), "image/png")}
    made = await house.client.post(VIDEOS, data={"prompt": "it moves", "model": "sora-2"}, files=form)
    assert await house.settled(made.json()["id"].removeprefix("video_")) == "done"
    assert house.clips.tasks[1].first is not None


@in_house()
async def test_a_clip_is_remixed_edited_and_extended(house: House) -> None:
    made = await finished(house)
    remix = (await house.client.post(f"{VIDEOS}/{made['id']}/remix", json={"prompt": "in blue"})).json()
    assert remix["remixed_from_video_id"] == made["id"]
    edit = await house.client.post(f"{VIDEOS}/edits", json={"prompt": "in blue", "video": {"id": made["id"]}})
    assert edit.json()["object"] == "video"
    url = (await house.client.get(f"{VIDEOS}/{made['id'].removeprefix('video_')}")).json()["video"]["url"]
    content = (await house.client.get(url)).content
    source = {"url": data_uri(content, "video/mp4")}
    request = {"prompt": "go on", "model": "grok-imagine-video", "video": source, "duration": 4}
    extension = (await house.client.post(f"{VIDEOS}/extensions", json=request)).json()
    ids = [remix["id"], edit.json()["id"], extension["request_id"]]
    assert [await house.settled(each.removeprefix("video_")) for each in ids] == ["done"] * 3
    tasks = {(task.task, task.prompt) for task in house.clips.tasks[1:]}
    assert tasks == {("edit", "in blue"), ("extend", "go on")}
    assert all(task.source[4:8] == b"ftyp" for task in house.clips.tasks[1:])


@in_house()
async def test_an_edit_without_a_clip_is_refused_in_its_dialect(house: House) -> None:
    for path in ("edits", "extensions"):
        theirs = await house.client.post(f"{VIDEOS}/{path}", json={"prompt": "x", "model": "grok-imagine-video"})
        assert (theirs.status_code, "missing field `video`" in theirs.text) == (422, True)
        ours = await house.client.post(f"{VIDEOS}/{path}", json={"prompt": "x", "model": "sora-2"})
        assert (ours.status_code, ours.json()["error"]["param"]) == (400, "video")


@in_house()
async def test_an_edit_takes_its_clip_as_a_form(house: House) -> None:
    made = await finished(house)
    clip = (await house.client.get(f"{VIDEOS}/{made['id']}/content")).content
    for path, task in (("edits", "edit"), ("extensions", "extend")):
        form = {"video": ("a.mp4", clip, "video/mp4")}
        answer = await house.client.post(f"{VIDEOS}/{path}", data={"prompt": "in blue", "model": "sora-2"}, files=form)
        assert await house.settled(answer.json()["id"].removeprefix("video_")) == "done"
        assert house.clips.tasks[-1].task == task


@in_house()
async def test_clips_are_listed_and_deleted(house: House) -> None:
    ids = [(await finished(house, prompt=f"cat {n}"))["id"] for n in range(3)]
    first = (await house.client.get(VIDEOS, params={"limit": 2})).json()
    assert ([each["id"] for each in first["data"]], first["has_more"]) == (ids[:0:-1], True)
    second = (await house.client.get(VIDEOS, params={"limit": 2, "after": first["last_id"]})).json()
    assert ([each["id"] for each in second["data"]], second["has_more"]) == (ids[:1], False)
    gone = (await house.client.delete(f"{VIDEOS}/{ids[0]}")).json()
    assert gone == {"id": ids[0], "object": "video.deleted", "deleted": True}
    assert (await house.client.get(f"{VIDEOS}/{ids[0]}")).status_code == 404


@in_house()
async def test_deleting_a_clip_under_way_stops_the_engine_and_costs_nothing(house: House) -> None:
    house.clips.go.clear()
    made = await created(house)
    await soon(lambda: house.clips.tasks)
    assert (await house.client.delete(f"{VIDEOS}/{made['id']}")).status_code == 200
    await soon(lambda: house.clips.cancelled)
    assert house.charged() == 0
    assert house.state.ledger.balance(house.key.id) == 0


@in_house()
async def test_asking_how_far_a_clip_is_does_not_use_up_the_rate_limit(house: House) -> None:
    house.state.keys.update(house.key.id, requests_per_minute=1)
    made = await created(house)
    for _ in range(3):
        assert (await house.client.get(f"{VIDEOS}/{made['id']}")).status_code == 200
    assert (await house.client.post(VIDEOS, json={"prompt": "x", "model": "sora-2"})).status_code == 429


@in_house()
async def test_another_keys_clip_does_not_exist(house: House) -> None:
    made = await finished(house)
    async with house.client_with(house.other) as other:
        for path in ("", "/content"):
            assert (await other.get(f"{VIDEOS}/{made['id']}{path}")).status_code == 404
        assert (await other.delete(f"{VIDEOS}/{made['id']}")).status_code == 404


@in_house(clips=False)
async def test_without_a_video_model_both_dialects_say_so(house: House) -> None:
    theirs = await house.client.post(f"{VIDEOS}/generations", json={"prompt": "x", "model": "grok-imagine-video"})
    assert (theirs.status_code, theirs.json()["error"]) == (404, "No video model is loaded.")
    ours = await house.client.post(VIDEOS, json={"prompt": "x", "model": "sora-2"})
    assert (ours.status_code, ours.json()["error"]["message"]) == (404, "No video model is loaded.")


@pytest.mark.parametrize(
    ("request_body", "status"),
    [({}, 422), ({"prompt": "x", "duration": 16}, 422), ({"prompt": "x", "output": {"upload_url": "https://a"}}, 400),
     ({"prompt": "x", "reference_audios": [{"voice_id": "a"}]}, 400),
     ({"prompt": "x", "image": {"url": "data:image/png;base64,AAAA"}}, 400)],
)  # fmt: skip
@in_house()
async def test_what_cannot_be_made_is_refused(house: House, request_body: dict, status: int) -> None:
    assert (await house.client.post(f"{VIDEOS}/generations", json=request_body)).status_code == status
