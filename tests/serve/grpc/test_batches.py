"""Batches by xAI's own client."""

import asyncio
import json

from service_doors import data_uri, picture_file, wait_for
from service_grpc import Code, refused
from xai_sdk.image import _make_generate_request as image_request
from xai_sdk.proto import batch_pb2, chat_pb2, video_pb2

MODEL = "grok-imagine-image"
State = batch_pb2.BatchRequestMetadata.State


def picture(name: str | None, prompt: str = "a cat", **more: object) -> batch_pb2.BatchRequest:
    return batch_pb2.BatchRequest(batch_request_id=name, image_request=image_request(prompt, MODEL, **more))


def ended(client, batch_id: str) -> batch_pb2.Batch:
    wait_for(lambda: not client.batch.get(batch_id).state.num_pending)
    return client.batch.get(batch_id)


def test_a_batch_of_pictures_edits_and_clips_is_worked_off(client) -> None:
    batch = client.batch.create("night")
    clip = video_pb2.GenerateVideoRequest(prompt="a cat runs", model="grok-imagine-video", duration=2)
    requests = [
        picture("one", image_format="base64"),
        picture("two", "make it blue", image_url=data_uri(picture_file())),
        batch_pb2.BatchRequest(batch_request_id="three", video_request=clip),
    ]
    client.batch.add(batch.batch_id, requests)
    done = ended(client, batch.batch_id)
    assert (done.state.num_requests, done.state.num_success) == (3, 3)
    results = {each.batch_request_id: each for each in client.batch.list_batch_results(batch.batch_id).succeeded}
    assert results["one"].image_response.base64.startswith("data:image/jpeg;base64,")
    assert results["two"].image_response.url
    assert results["three"].video_response.duration == 2
    costs = [results["one"].image_response, results["two"].image_response, results["three"].video_response]
    assert done.cost_breakdown.total_cost_usd_ticks == sum(each.usage.cost_in_usd_ticks for each in costs) > 0


def test_a_request_without_a_name_gets_one(client) -> None:
    batch = client.batch.create("nameless")
    client.batch.add(batch.batch_id, [picture(None), picture(None)])
    names = [each.batch_request_id for each in client.batch.list_batch_requests(batch.batch_id).batch_request_metadata]
    assert len(set(names)) == 2
    assert all(names)


def test_requests_without_names_sent_again_with_their_idempotency_key_are_added_once(served) -> None:
    with served.client(metadata=(("idempotency-key", "again"),)) as client:
        batch = client.batch.create("again")
        for _ in range(2):
            client.batch.add(batch.batch_id, [picture(None), picture(None)])
        assert client.batch.get(batch.batch_id).state.num_requests == 2
        with refused(Code.ABORTED):
            client.batch.add(batch.batch_id, [picture(None, "a dog")])
    with served.client() as client:
        client.batch.add(batch.batch_id, [picture(None), picture(None)])
        assert client.batch.get(batch.batch_id).state.num_requests == 4


def test_requests_and_results_come_page_by_page(client) -> None:
    batch = client.batch.create("pages")
    client.batch.add(batch.batch_id, [picture(str(n)) for n in range(3)])
    ended(client, batch.batch_id)
    for ask in (client.batch.list_batch_requests, client.batch.list_batch_results):
        first = ask(batch.batch_id, limit=2)
        rest = ask(batch.batch_id, limit=2, pagination_token=first.pagination_token)
        pages = [getattr(page, "results", None) or page.batch_request_metadata for page in (first, rest)]
        assert [each.batch_request_id for page in pages for each in page] == ["0", "1", "2"]
        assert not rest.pagination_token
    states = client.batch.list_batch_requests(batch.batch_id).batch_request_metadata
    assert {each.state for each in states} == {State.STATE_SUCCEEDED}


def test_a_batch_comes_from_a_file(client) -> None:
    body = {"prompt": "a cat", "model": MODEL}
    lines = [json.dumps({"custom_id": f"r{n}", "url": "/v1/images/generations", "body": body}) for n in range(2)]
    file = client.files.upload("\n".join(lines).encode(), filename="requests.jsonl")
    batch = client.batch.create("from a file", input_file_id=file.id)
    assert batch.input_file_id == file.id
    assert ended(client, batch.batch_id).state.num_success == 2
    assert batch.batch_id in [each.batch_id for each in client.batch.list().batches]


def test_a_cancelled_batch_makes_nothing_more(client, served) -> None:
    served.house.images.go.clear()
    try:
        batch = client.batch.create("stopped")
        client.batch.add(batch.batch_id, [picture("one")])
        cancelled = client.batch.cancel(batch.batch_id)
    finally:
        served.house.images.go.set()
    assert (cancelled.state.num_cancelled, cancelled.HasField("cancel_time")) == (1, True)
    (result,) = client.batch.list_batch_results(batch.batch_id).failed
    assert "cancelled" in result.error_message
    with refused(Code.INVALID_ARGUMENT):
        client.batch.add(batch.batch_id, [picture("two")])


def test_a_batch_takes_no_chats_and_then_nothing_at_all(client) -> None:
    batch = client.batch.create("mixed")
    chat = batch_pb2.BatchRequest(batch_request_id="chat", completion_request=chat_pb2.GetCompletionsRequest())
    with refused(Code.INVALID_ARGUMENT):
        client.batch.add(batch.batch_id, [picture("one"), chat])
    assert client.batch.get(batch.batch_id).state.num_requests == 0


def test_batches_of_others_are_not_found(client, served) -> None:
    batch = client.batch.create("mine")
    with served.client(served.house.other) as stranger, refused(Code.NOT_FOUND):
        stranger.batch.get(batch.batch_id)


def test_a_batch_that_cannot_be_paid_for_is_not_opened(served) -> None:
    poor = served.house.state.keys.create("poor batches", prepaid=True)
    line = {"custom_id": "r", "url": "/v1/images/generations", "body": {"prompt": "a cat", "model": MODEL}}
    with served.client(poor.secret) as client:
        file = client.files.upload(json.dumps(line).encode(), filename="requests.jsonl")
        with refused(Code.PERMISSION_DENIED):
            client.batch.create("too dear", input_file_id=file.id)
        assert not client.batch.list().batches


def test_a_batch_repeated_with_its_idempotency_key_is_one_batch(served) -> None:
    with served.client(metadata=(("idempotency-key", "one batch"),)) as client:
        first = client.batch.create("once")
        assert client.batch.create("once").batch_id == first.batch_id
        with refused(Code.ABORTED):
            client.batch.create("twice")


def test_the_result_of_one_request_alone_which_no_client_asks_for_is_not_served(client, served) -> None:
    from xai_sdk.proto import batch_pb2_grpc

    with served.channel() as channel, refused(Code.UNIMPLEMENTED):
        batch_pb2_grpc.BatchMgmtStub(channel).GetBatchRequestResult(
            batch_pb2.GetBatchRequestResultRequest(batch_id="b"), metadata=served.metadata
        )


def test_the_asynchronous_client_lists_batches(served) -> None:
    async def go() -> str:
        async with served.aio_client() as client:
            batch = await client.batch.create("async")
            return (await client.batch.get(batch.batch_id)).name

    assert asyncio.run(go()) == "async"
