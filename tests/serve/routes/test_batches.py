"""Batches over REST."""

import asyncio
import json
from io import BytesIO

from PIL import Image
from service_doors import House, data_uri, in_house, picture_file

BATCHES = "/v1/batches"


def drawing(name: str, prompt: str = "a cat") -> dict:
    return {"batch_request_id": name, "batch_request": {"image_generation": {"prompt": prompt, "model": "fake-image"}}}


async def emptied(house: House, batch_id: str) -> dict:
    for _ in range(300):
        batch = (await house.client.get(f"{BATCHES}/{batch_id}")).json()
        if not batch["state"]["num_pending"]:
            return batch
        await asyncio.sleep(0.02)
    raise AssertionError(batch)


@in_house()
async def test_a_batch_takes_requests_works_them_off_and_gives_results(house: House) -> None:
    batch = (await house.client.post(BATCHES, json={"name": "cats"})).json()
    image = {"url": data_uri(picture_file())}
    edit = {"batch_request_id": "edit", "batch_request": {"image_edit": {"prompt": "blue", "image": image}}}
    larger = {"batch_request_id": "larger", "batch_request": {"image_upscale": {"image": image, "factor": 4}}}
    clip = {"batch_request_id": "clip", "batch_request": {"video_generation": {"prompt": "it runs", "duration": 2}}}
    path = f"{BATCHES}/{batch['batch_id']}"
    added = await house.client.post(f"{path}/requests", json={"batch_requests": [drawing("one"), edit, larger, clip]})
    assert added.json()["state"]["num_requests"] == 4
    done = await emptied(house, batch["batch_id"])
    assert done["state"]["num_success"] == 4
    assert done["cost_breakdown"]["total_cost_usd_ticks"] == house.charged() > 0
    results = {each["batch_request_id"]: each["batch_result"] for each in (await _results(house, path))["results"]}
    assert results["one"]["response"]["image_generation"]["data"][0]["b64_json"]
    assert results["edit"]["response"]["image_edit"]["data"][0]["respect_moderation"] is True
    upscaled = results["larger"]["response"]["image_upscale"]["data"][0]
    side = Image.open(BytesIO(picture_file())).width
    assert upscaled["size"] == f"{4 * side}x{4 * side}"
    assert results["clip"]["response"]["video_generation"]["video"]["url"].endswith(".mp4")


async def _results(house: House, path: str, **parameters: object) -> dict:
    return (await house.client.get(f"{path}/results", params=parameters)).json()


@in_house()
async def test_a_batch_reads_its_requests_from_a_file_of_json_lines(house: House) -> None:
    body = {"prompt": "a cat", "model": "grok-imagine-image"}
    lines = [{"custom_id": f"r{n}", "method": "POST", "url": "/v1/images/generations", "body": body} for n in range(3)]
    content = "\n".join(map(json.dumps, lines)).encode()
    file = (await house.client.post("/v1/files", files={"file": ("b.jsonl", content)})).json()
    batch = (await house.client.post(BATCHES, json={"name": "file", "input_file_id": file["id"]})).json()
    assert (batch["state"]["num_requests"], batch["input_file_id"]) == (3, file["id"])
    await emptied(house, batch["batch_id"])
    path = f"{BATCHES}/{batch['batch_id']}"
    first = await _results(house, path, limit=2)
    second = await _results(house, path, limit=2, pagination_token=first["pagination_token"])
    found = [each["batch_request_id"] for each in first["results"] + second["results"]]
    assert (found, second["pagination_token"]) == (["r0", "r1", "r2"], None)
    assert first["results"][0]["batch_result"]["response"]["image_generation"]["data"][0]["url"]


@in_house()
async def test_a_wrong_request_keeps_all_of_them_out(house: House) -> None:
    batch = (await house.client.post(BATCHES, json={"name": "cats"})).json()
    path = f"{BATCHES}/{batch['batch_id']}/requests"
    unknown = {"batch_request_id": "x", "batch_request": {"poem": {}}}
    for wrong in (unknown, drawing("x", "a nude child"), drawing("one")):
        answer = await house.client.post(path, json={"batch_requests": [drawing("one"), wrong]})
        assert answer.status_code == 400
    bad_file = (await house.client.post("/v1/files", files={"file": ("b.jsonl", b"{}\nnot json")})).json()
    answer = await house.client.post(BATCHES, json={"name": "bad", "input_file_id": bad_file["id"]})
    assert (answer.status_code, house.jobs()) == (400, [])


@in_house()
async def test_a_batch_is_cancelled_with_what_has_not_ended(house: House) -> None:
    house.images.go.clear()
    batch = (await house.client.post(BATCHES, json={"name": "cats"})).json()
    path = f"{BATCHES}/{batch['batch_id']}"
    await house.client.post(f"{path}/requests", json={"batch_requests": [drawing("one"), drawing("two")]})
    cancelled = (await house.client.post(f"{path}:cancel")).json()
    assert (cancelled["state"]["num_cancelled"], house.charged()) == (2, 0)
    assert cancelled["cancel_time"] is not None
    result = (await _results(house, path))["results"][0]["batch_result"]
    assert result["error"]["code"] == "failed_precondition"
    states = (await house.client.get(f"{path}/requests")).json()["batch_request_metadata"]
    assert {each["state"] for each in states} == {"cancelled"}


@in_house()
async def test_a_batch_repeated_with_its_idempotency_key_is_one_batch_and_another_is_a_conflict(house: House) -> None:
    content = "\n".join(json.dumps(drawing(f"r{n}")) for n in range(2)).encode()
    file = (await house.client.post("/v1/files", files={"file": ("b.jsonl", content)})).json()
    body, headers = {"name": "cats", "input_file_id": file["id"]}, {"idempotency-key": "once"}
    first = (await house.client.post(BATCHES, json=body, headers=headers)).json()
    await emptied(house, first["batch_id"])
    await house.client.delete(f"/v1/files/{file['id']}")  # what it was made from is not asked for again
    again = await house.client.post(BATCHES, json=body, headers=headers)
    assert (again.status_code, again.json()["batch_id"], len(house.jobs())) == (200, first["batch_id"], 2)
    other = await house.client.post(BATCHES, json={"name": "dogs"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "aborted")
    assert len((await house.client.get(BATCHES)).json()["batches"]) == 1


@in_house()
async def test_a_batch_that_cannot_be_paid_is_refused_whole(house: House) -> None:
    house.state.keys.update(house.key.id, monthly_limit_ticks=300_000_000)
    lines = [drawing(f"r{n}") for n in range(2)]
    content = "\n".join(map(json.dumps, lines)).encode()
    file = (await house.client.post("/v1/files", files={"file": ("b.jsonl", content)})).json()
    answer = await house.client.post(BATCHES, json={"name": "dear", "input_file_id": file["id"]})
    assert (answer.status_code, house.jobs(), house.images.tasks) == (403, [], [])
    assert (await house.client.get(BATCHES)).json()["batches"] == []


@in_house(queue=1)
async def test_a_batch_leaves_the_queue_open_for_those_who_wait(house: House) -> None:
    house.images.go.clear()
    batch = (await house.client.post(BATCHES, json={"name": "cats"})).json()
    many = {"batch_requests": [drawing(f"r{n}") for n in range(3)]}
    await house.client.post(f"{BATCHES}/{batch['batch_id']}/requests", json=many)
    house.images.go.set()
    assert (await house.client.post("/v1/images/generations", json={"prompt": "a dog"})).status_code == 200


@in_house()
async def test_batches_are_listed_and_anothers_does_not_exist(house: House) -> None:
    ids = [(await house.client.post(BATCHES, json={"name": f"b{n}"})).json()["batch_id"] for n in range(3)]
    first = (await house.client.get(BATCHES, params={"limit": 2})).json()
    assert [each["batch_id"] for each in first["batches"]] == ids[:0:-1]
    rest = {"pagination_token": first["pagination_token"]}
    assert [each["batch_id"] for each in (await house.client.get(BATCHES, params=rest)).json()["batches"]] == ids[:1]
    async with house.client_with(house.other) as other:
        assert (await other.get(f"{BATCHES}/{ids[0]}")).status_code == 404
        assert (await other.get(f"{BATCHES}/{ids[0]}/results")).status_code == 404
