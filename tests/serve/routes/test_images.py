"""Pictures over REST, in both dialects."""

import asyncio
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from service_doors import (
    House,
    data_uri,
    in_house,
    listening_house,
    made_home,
    mask_file,
    picture_file,
    pixels_of,
    soon,
    wait_for,
)
from service_engines import WITHHELD_SEED

GENERATIONS, EDITS, UPSCALE = "/v1/images/generations", "/v1/images/edits", "/v1/images/upscale"


@in_house()
async def test_a_prompt_becomes_a_picture_in_the_superset_answer(house: House) -> None:
    answer = await house.client.post(GENERATIONS, json={"prompt": "a red cat", "seed": 5, "size": "1:1"})
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) >= {"created", "data", "background", "output_format", "quality", "size", "usage"}
    picture = body["data"][0]
    assert (picture["mime_type"], picture["seed"], picture["size"]) == ("image/png", 5, "256x256")
    assert picture["respect_moderation"] is True
    assert abs(int(pixels_of(picture["b64_json"]).mean()) - 75) <= 2


@in_house()
async def test_the_price_is_charged_once_and_told_in_ticks(house: House) -> None:
    answer = await house.client.post(GENERATIONS, json={"prompt": "a red cat", "n": 3})
    assert answer.json()["usage"]["cost_in_usd_ticks"] == 3 * 200_000_000 == house.charged()
    assert house.state.ledger.balance(house.key.id) == -3 * 200_000_000


@in_house()
async def test_several_pictures_have_seeds_one_after_the_other(house: House) -> None:
    answer = await house.client.post(GENERATIONS, json={"prompt": "a red cat", "n": 3, "seed": 7})
    assert [each["seed"] for each in answer.json()["data"]] == [7, 8, 9]
    assert {task.mode for task in house.images.tasks} == {"speed"}
    assert house.images.owners == [house.key.id] * 3


@in_house()
async def test_a_grok_model_answers_with_the_url_of_a_jpeg(house: House) -> None:
    answer = await house.client.post(GENERATIONS, json={"prompt": "a cat", "model": "grok-imagine-image"})
    picture = answer.json()["data"][0]
    assert picture["b64_json"] is None
    found = await house.client_with(None).get(picture["url"])
    assert (found.status_code, found.headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(found.content)).format == "JPEG"


@pytest.mark.parametrize(
    ("model", "default"), [("gpt-image-1", "b64_json"), ("fake-image", "b64_json"), ("grok-imagine-image", "url")]
)
@in_house()
async def test_the_usual_form_of_an_answer_goes_by_the_models_family(house: House, model: str, default: str) -> None:
    given = (await house.client.post(GENERATIONS, json={"prompt": "a cat", "model": model})).json()["data"][0]
    assert [name for name in ("url", "b64_json") if given[name]] == [default]


@in_house()
async def test_a_size_is_accepted_on_a_grok_model_and_the_native_size_is_named(house: House) -> None:
    request = {"prompt": "a cat", "model": "grok-imagine-image", "size": "1024x576"}
    picture = (await house.client.post(GENERATIONS, json=request)).json()["data"][0]
    assert picture["size"] == "352x192"
    assert picture["note"] == "This model has no size 1024x576; made at 352x192 (16:9)."


@in_house()
async def test_a_resolution_that_the_model_lacks_is_not_faked(house: House) -> None:
    body = (await house.client.post(GENERATIONS, json={"prompt": "a cat", "resolution": "2k"})).json()
    assert "no resolution 2k" in body["data"][0]["note"]
    assert body["usage"]["cost_in_usd_ticks"] == 200_000_000


@in_house()
async def test_quality_chooses_the_mode_and_negative_prompts_reach_the_model(house: House) -> None:
    request = {"prompt": "a cat", "quality": "high", "negative_prompt": "a dog"}
    assert (await house.client.post(GENERATIONS, json=request)).status_code == 200
    assert (house.images.tasks[0].mode, house.images.tasks[0].negative_prompt) == ("quality", "a dog")


@in_house()
async def test_candidates_reach_the_model_and_are_paid_by_fours(house: House) -> None:
    house.images.info = replace(house.images.info, candidates=8)
    for candidates, times in ((4, 1), (5, 2), (8, 2)):
        answer = await house.client.post(GENERATIONS, json={"prompt": "a cat", "candidates": candidates})
        assert answer.json()["usage"]["cost_in_usd_ticks"] == times * 200_000_000
        assert house.images.tasks[-1].candidates == candidates
    refused = await house.client.post(GENERATIONS, json={"prompt": "a cat", "candidates": 9})
    assert refused.status_code == 400
    assert "from 9 candidates" in refused.json()["error"]["message"]


@in_house()
async def test_a_missing_prompt_is_plain_text_on_a_grok_model_and_an_object_elsewhere(house: House) -> None:
    grok = await house.client.post(GENERATIONS, json={"model": "grok-imagine-image"})
    assert (grok.status_code, grok.headers["content-type"]) == (422, "text/plain; charset=utf-8")
    assert grok.text.startswith("Failed to deserialize the JSON body into the target type: missing field `prompt`")
    other = await house.client.post(GENERATIONS, json={"model": "gpt-image-1"})
    assert other.status_code == 400
    assert (other.json()["error"]["param"], other.json()["error"]["code"]) == ("prompt", "missing_required_parameter")


@in_house()
async def test_an_unknown_quality_of_a_grok_model_is_answered_with_the_known_ones(house: House) -> None:
    request = {"prompt": "a cat", "model": "grok-imagine-image", "quality": "hd"}
    answer = await house.client.post(GENERATIONS, json=request)
    assert answer.status_code == 422
    assert "unknown variant `hd`" in answer.text


@in_house()
async def test_contradictions_and_what_no_model_does_are_refused(house: House) -> None:
    for wrong in (
        {"size": "128x128", "aspect_ratio": "16:9"},
        {"background": "transparent"},
        {"output_compression": 50},
    ):
        answer = await house.client.post(GENERATIONS, json={"prompt": "a cat", **wrong})
        assert answer.status_code == 400, wrong
    assert house.images.tasks == []


@in_house()
async def test_an_edit_takes_one_picture_several_and_a_mask_as_a_form(house: House) -> None:
    picture = ("in.png", picture_file(), "image/png")
    one = await house.client.post(EDITS, data={"prompt": "make it blue"}, files={"image": picture})
    assert one.status_code == 200, one.text
    two = [("image[]", picture), ("image[]", ("b.jpg", picture_file("JPEG", grey=30), "image/jpeg"))]
    assert (await house.client.post(EDITS, data={"prompt": "join the two"}, files=two)).status_code == 200
    masked = {"image": picture, "mask": ("mask.png", mask_file(), "image/png")}
    assert (await house.client.post(EDITS, data={"prompt": "a hat"}, files=masked)).status_code == 200
    tasks = house.images.tasks
    assert [len(task.pictures) for task in tasks] == [1, 2, 1]
    assert [task.task for task in tasks] == ["edit"] * 3
    assert int(tasks[2].mask.sum()) == 40 * 40


@in_house()
async def test_an_edit_takes_data_uris_and_file_ids_as_json(house: House) -> None:
    file = {"file": ("in.webp", picture_file("WEBP"), "image/webp")}
    file_id = (await house.client.post("/v1/files", files=file)).json()["id"]
    image = {"url": data_uri(picture_file()), "type": "image_url"}
    one = await house.client.post(EDITS, json={"prompt": "make it blue", "model": "grok-imagine-image", "image": image})
    assert one.status_code == 200
    # a grok model edits at the price of medium quality, and each input is paid
    assert one.json()["usage"]["cost_in_usd_ticks"] == 220_000_000
    many = {"prompt": "join <IMAGE_0> and <IMAGE_1>", "images": [{"file_id": file_id}, image]}
    assert (await house.client.post(EDITS, json=many)).status_code == 200
    assert [len(task.pictures) for task in house.images.tasks] == [1, 2]


@in_house()
async def test_an_edit_without_a_picture_or_with_a_bare_string_is_refused(house: House) -> None:
    base = {"prompt": "make it blue", "model": "grok-imagine-image"}
    assert (await house.client.post(EDITS, json=base)).status_code == 422
    assert (await house.client.post(EDITS, json=base | {"image": "https://example.com/a.png"})).status_code == 422
    assert (await house.client.post(EDITS, data={"prompt": "blue"}, files={"other": b"x"})).status_code == 400


@in_house()
async def test_a_variation_takes_a_form(house: House) -> None:
    files = {"image": ("in.png", picture_file(), "image/png")}
    answer = await house.client.post("/v1/images/variations", data={"n": "2"}, files=files)
    assert len(answer.json()["data"]) == 2
    assert [task.task for task in house.images.tasks] == ["variation"] * 2


@pytest.mark.parametrize(("fields", "factor"), [({}, 2), ({"factor": "4", "output_format": "webp"}, 4)])
@in_house()
async def test_a_picture_sent_as_a_form_becomes_larger(house: House, fields: dict[str, str], factor: int) -> None:
    files = {"image": ("in.png", picture_file(size=(120, 100)), "image/png")}
    answer = await house.client.post(UPSCALE, data=fields, files=files)
    body = answer.json()
    assert answer.status_code == 200, body
    picture = body["data"][0]
    assert picture["size"] == body["size"] == f"{120 * factor}x{100 * factor}"
    assert pixels_of(picture["b64_json"]).shape == (100 * factor, 120 * factor, 3)
    assert picture["mime_type"] == f"image/{fields.get('output_format', 'png')}"
    # the price of a picture, and of one sent along; tokens are 16 px cells of what was sent and of what was made
    assert body["usage"]["cost_in_usd_ticks"] == 220_000_000 == house.charged()
    assert body["usage"]["input_tokens"] * factor**2 == pytest.approx(body["usage"]["output_tokens"], abs=factor**2)
    task = house.images.tasks[0]
    assert (task.task, task.factor, task.prompt, task.gate_task) == ("upscale", factor, "", "edit")


@in_house()
async def test_a_picture_named_in_json_becomes_larger(house: House) -> None:
    file = {"file": ("in.png", picture_file(), "image/png")}
    file_id = (await house.client.post("/v1/files", files=file)).json()["id"]
    for image in ({"file_id": file_id}, {"url": data_uri(picture_file())}):
        answer = await house.client.post(UPSCALE, json={"image": image, "factor": 2, "model": "grok-imagine-image"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["data"][0]["size"] == "256x256"
        assert (await house.client.get(answer.json()["data"][0]["url"])).headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("model", "status", "field"),
    [("fake-image", 400, "Invalid value for 'factor'"), ("grok-imagine-image", 422, "factor")],
)
@in_house()
async def test_another_factor_is_refused_in_the_dialect(house: House, model: str, status: int, field: str) -> None:
    answer = await house.client.post(
        UPSCALE, json={"image": {"url": data_uri(picture_file())}, "factor": 3, "model": model}
    )
    assert answer.status_code == status
    assert field in answer.text


@in_house()
async def test_what_cannot_be_upscaled_is_said_and_costs_nothing(house: House) -> None:
    picture = ("in.png", picture_file(), "image/png")
    two = await house.client.post(UPSCALE, files=[("image[]", picture), ("image[]", picture)])
    none = await house.client.post(UPSCALE, json={})
    huge = {"image": ("in.png", picture_file(size=(4096, 1100)), "image/png")}
    large = await house.client.post(UPSCALE, data={"factor": "4"}, files=huge)
    info = house.images.info
    house.images.info = replace(info, tasks=("draw",))
    unable = await house.client.post(UPSCALE, files={"image": picture})
    assert [each.status_code for each in (two, none, large, unable)] == [400] * 4
    for each, words in (
        (two, "One picture"),
        (none, "Missing required parameter: 'image'"),
        (large, "16384 x 4400 px"),
        (unable, "The model fake-image cannot make pictures larger. It can draw pictures."),
    ):
        assert words in each.json()["error"]["message"]
    assert (house.images.tasks, house.jobs()) == ([], [])


@in_house()
async def test_an_upscaling_is_judged_as_an_edit(house: House) -> None:
    files = {"image": ("in.png", picture_file(), "image/png")}
    person = {"prompt": "a woman by a lake"}
    refused = await house.client.post(UPSCALE, data=person, files=files)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "moderation_blocked")
    agreed = await house.client.post(UPSCALE, data=person | {"subject_consent": "true"}, files=files)
    assert agreed.status_code == 200, agreed.text
    house.service.gate.switches.turn_off("edit", "maintenance")
    assert (await house.client.post(UPSCALE, files=files)).status_code == 503


@in_house()
async def test_an_upscaling_streams_its_end_and_repeats_under_its_idempotency_key(house: House) -> None:
    request = {"image": {"url": data_uri(picture_file())}, "model": "gpt-image-1"}
    events = read_events((await house.client.post(UPSCALE, json=request | {"stream": True})).text)
    assert [name for name, _ in events] == ["image_upscale.completed"]
    headers = {"idempotency-key": "once"}
    first, second = [(await house.client.post(UPSCALE, json=request, headers=headers)).json() for _ in range(2)]
    assert first["data"] == second["data"]
    other = await house.client.post(UPSCALE, json=request | {"factor": 4}, headers=headers)
    assert other.status_code == 409


@in_house()
async def test_a_mask_of_another_size_and_one_that_marks_nothing_are_refused(house: House) -> None:
    files = {"image": ("in.png", picture_file(), "image/png")}
    for mask, words in ((mask_file((64, 64)), "64x64"), (picture_file(grey=0), "marks nothing")):
        answer = await house.client.post(EDITS, data={"prompt": "a hat"}, files=files | {"mask": ("m.png", mask)})
        assert answer.status_code == 400
        assert words in answer.json()["error"]["message"]


@in_house()
async def test_partial_images_are_streamed_under_openais_names(house: House) -> None:
    request = {"prompt": "a red cat", "stream": True, "partial_images": 2, "seed": 1}
    answer = await house.client.post(GENERATIONS, json=request)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = read_events(answer.text)
    assert [name for name, _ in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert [data["partial_image_index"] for _, data in events[:2]] == [0, 1]
    assert pixels_of(events[0][1]["b64_json"]).shape == (128, 128, 3)
    assert events[2][1]["usage"]["cost_in_usd_ticks"] == 200_000_000
    assert abs(int(pixels_of(events[2][1]["b64_json"]).mean()) - 35) <= 2


@in_house()
async def test_an_edits_stream_has_its_own_names_and_an_error_is_an_event(house: House) -> None:
    request = {"prompt": "blue", "image": {"url": data_uri(picture_file())}, "stream": True, "model": "gpt-image-1"}
    house.images.error = RuntimeError("secret details")
    events = read_events((await house.client.post(EDITS, json=request)).text)
    assert [name for name, _ in events] == ["error"]
    assert events[0][1]["error"]["code"] == "internal_error"
    assert "secret" not in json.dumps(events)
    house.images.error = None
    events = read_events((await house.client.post(EDITS, json=request)).text)
    assert [name for name, _ in events] == ["image_edit.completed"]


@in_house()
async def test_a_withheld_picture_is_said_to_be_so_and_not_charged(house: House) -> None:
    answer = await house.client.post(GENERATIONS, json={"prompt": "a cat", "n": 2, "seed": WITHHELD_SEED})
    first, second = answer.json()["data"]
    assert (first["respect_moderation"], first["b64_json"], first["url"]) == (False, None, None)
    assert second["respect_moderation"] is True
    assert second["b64_json"]
    assert answer.json()["usage"]["cost_in_usd_ticks"] == 200_000_000 == house.charged()


@in_house()
async def test_a_request_of_which_nothing_may_be_shown_fails_in_its_dialect(house: House) -> None:
    grok = await house.client.post(
        GENERATIONS, json={"prompt": "x", "seed": WITHHELD_SEED, "model": "grok-imagine-image"}
    )
    assert grok.status_code == 400
    assert grok.json()["code"] == "invalid-argument"
    assert grok.json()["error"].startswith("Generated image rejected by content moderation.")
    assert grok.json()["usage"] == {"cost_in_usd_ticks": 0}
    other = await house.client.post(GENERATIONS, json={"prompt": "x", "seed": WITHHELD_SEED, "model": "gpt-image-1"})
    assert (other.status_code, other.json()["error"]["code"]) == (400, "moderation_blocked")
    assert house.charged() == 0


@in_house(bill_moderated=True)
async def test_an_operator_may_bill_what_is_withheld(house: House) -> None:
    grok = await house.client.post(
        GENERATIONS, json={"prompt": "x", "seed": WITHHELD_SEED, "model": "grok-imagine-image"}
    )
    assert grok.json()["usage"] == {"cost_in_usd_ticks": 200_000_000}
    assert house.charged() == 200_000_000


@in_house()
async def test_a_prompt_against_the_rules_never_reaches_the_engine_or_the_ledger(house: House) -> None:
    answer = await house.client.post(GENERATIONS, json={"prompt": "a nude child", "model": "gpt-image-1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "moderation_blocked")
    assert house.images.tasks == []
    assert house.jobs() == []


@in_house()
async def test_a_capability_that_is_switched_off_answers_503_at_once(house: House) -> None:
    house.service.gate.switches.turn_off("draw", "maintenance")
    answer = await house.client.post(GENERATIONS, json={"prompt": "a cat"})
    assert answer.status_code == 503
    assert "maintenance" in answer.json()["error"]["message"]


@in_house()
async def test_the_same_idempotency_key_draws_and_charges_once(house: House) -> None:
    headers = {"idempotency-key": "once"}
    first = await house.client.post(GENERATIONS, json={"prompt": "a cat"}, headers=headers)
    second = await house.client.post(GENERATIONS, json={"prompt": "a cat"}, headers=headers)
    assert first.json()["data"] == second.json()["data"]
    assert len(house.images.tasks) == 1
    assert house.charged() == 200_000_000
    other = await house.client.post(GENERATIONS, json={"prompt": "a dog"}, headers=headers)
    assert other.status_code == 409


@in_house()
async def test_an_edit_sent_twice_with_an_idempotency_key_is_the_same_request(house: House) -> None:
    request = {"prompt": "make it blue", "image": {"url": data_uri(picture_file())}}
    for _ in range(2):
        assert (await house.client.post(EDITS, json=request, headers={"idempotency-key": "e"})).status_code == 200
    assert len(house.images.tasks) == 1


@in_house()
async def test_storage_options_keep_the_picture_among_the_files(house: House) -> None:
    options = {"filename": "cat.png", "expires_after": 7200, "public_url": True}
    request = {"prompt": "a cat", "n": 2, "storage_options": options}
    outputs = [each["file_output"] for each in (await house.client.post(GENERATIONS, json=request)).json()["data"]]
    assert [each["filename"] for each in outputs] == ["cat.png", "cat-2.png"]
    assert (await house.client_with(None).get(outputs[0]["public_url"])).status_code == 200
    listed = (await house.client.get("/v1/files")).json()["data"]
    assert {file["id"] for file in listed} == {each["file_id"] for each in outputs}


@in_house()
async def test_a_prepaid_key_without_credit_is_refused_with_403(house: House) -> None:
    house.state.keys.update(house.key.id, prepaid=True)
    grok = await house.client.post(GENERATIONS, json={"prompt": "a cat", "model": "grok-imagine-image"})
    assert grok.status_code == 403
    assert "used all available credits" in grok.json()["error"]
    other = await house.client.post(GENERATIONS, json={"prompt": "a cat", "model": "gpt-image-1"})
    assert other.json()["error"]["code"] == "insufficient_quota"
    assert house.images.tasks == []


@in_house()
async def test_a_rate_limit_answers_429_with_the_time_to_wait(house: House) -> None:
    house.state.keys.update(house.key.id, requests_per_minute=1)
    assert (await house.client.post(GENERATIONS, json={"prompt": "a cat"})).status_code == 200
    answer = await house.client.post(GENERATIONS, json={"prompt": "a cat"})
    assert answer.status_code == 429
    assert 1 <= int(answer.headers["retry-after"]) <= 60


@in_house(queue=1)
async def test_a_full_queue_answers_429_and_charges_nothing(house: House) -> None:
    house.images.go.clear()
    first = asyncio.create_task(house.client.post(GENERATIONS, json={"prompt": "a cat"}))
    await soon(lambda: house.images.tasks)
    answer = await house.client.post(GENERATIONS, json={"prompt": "a dog"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "queue_full")
    assert "retry-after" in answer.headers
    house.images.go.set()
    assert (await first).status_code == 200
    assert house.charged() == 200_000_000


@in_house()
async def test_a_key_reaches_only_the_models_and_endpoints_on_its_lists(house: House) -> None:
    house.state.keys.update(house.key.id, acls=["api-key:endpoint:images", "api-key:model:gpt-*"])
    assert (await house.client.post(GENERATIONS, json={"prompt": "x", "model": "gpt-image-1"})).status_code == 200
    assert (await house.client.post(GENERATIONS, json={"prompt": "x", "model": "fake-image"})).status_code == 404
    assert (await house.client.get("/v1/files")).status_code == 403


@in_house()
async def test_the_picture_carries_its_settings_and_the_mark(house: House) -> None:
    from polarlight.media.pictures import decode_picture, settings_inside
    from polarlight.media.watermark import detect

    answer = await house.client.post(GENERATIONS, json={"prompt": "a red cat", "seed": 60, "response_format": "url"})
    content = (await house.client.get(answer.json()["data"][0]["url"])).content
    settings = settings_inside(decode_picture(content, "it"), "it")
    assert (settings["prompt"], settings["seed"]) == ("a red cat", 60)
    found = detect(np.array(Image.open(io.BytesIO(content)).convert("RGB")))
    assert (found.found, found.payload) == (True, settings["watermark"])


def test_a_client_that_hangs_up_stops_the_work_and_pays_nothing(tmp_path, migrated_file) -> None:
    import httpx

    with listening_house(made_home(tmp_path, migrated_file)) as (house, url):
        house.images.go.clear()
        headers = {"authorization": f"Bearer {house.secret}"}
        for request in ({"prompt": "a cat"}, {"prompt": "a cat", "stream": True}):
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(url + GENERATIONS, json=request, headers=headers, timeout=0.4)
        wait_for(lambda: [job.state for job in house.jobs()] == ["cancelled", "cancelled"])
        wait_for(lambda: house.images.cancelled == 2)
        assert house.charged() == 0


def read_events(text: str) -> list[tuple[str, dict]]:
    """(name, data) of every event in a stream."""
    events = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events
