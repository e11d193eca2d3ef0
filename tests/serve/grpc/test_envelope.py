"""What every call has: an id, a line in the log, an end that can be told."""

import logging
import threading

import pytest
from google.protobuf.empty_pb2 import Empty
from service_doors import wait_for
from service_grpc import Code, refused
from xai_sdk.proto import auth_pb2_grpc, chat_pb2, chat_pb2_grpc

PROMPT = "a cat to be cancelled"


def test_a_call_has_an_id_and_a_line_in_the_log(served, caplog: pytest.LogCaptureFixture) -> None:
    metadata = (*served.metadata, ("x-request-id", "my-call"))
    with caplog.at_level(logging.INFO, "polarlight.serve.requests"), served.channel() as channel:
        _, call = auth_pb2_grpc.AuthStub(channel).get_api_key_info.with_call(Empty(), metadata=metadata)
    assert dict(call.trailing_metadata())["x-request-id"] == "my-call"
    line = next(record.message for record in caplog.records if "my-call" in record.message)
    assert '"status": 200' in line
    assert served.house.key.id in line
    assert served.house.secret not in line


def test_a_service_that_is_not_here_is_unimplemented(served) -> None:
    with served.channel() as channel, refused(Code.UNIMPLEMENTED):
        chat_pb2_grpc.ChatStub(channel).GetCompletion(chat_pb2.GetCompletionsRequest(), metadata=served.metadata)


def test_an_error_of_the_server_says_nothing_of_itself(client, served) -> None:
    served.house.images.error = RuntimeError("a secret path")
    try:
        with refused(Code.INTERNAL) as error:
            client.image.sample("a cat", "grok-imagine-image")
    finally:
        served.house.images.error = None
    assert "secret" not in error.value.details()


def test_a_cancelled_job_ends_its_call_and_is_not_made_again(client, served) -> None:
    house, ended = served.house, []
    house.images.go.clear()

    def ask() -> None:
        with refused(Code.CANCELLED):
            client.image.sample(PROMPT, "grok-imagine-image")
        ended.append(PROMPT)

    caller = threading.Thread(target=ask)
    try:
        caller.start()
        wait_for(lambda: [job.body["prompt"] for job in house.jobs() if job.state == "running"] == [PROMPT])
        job = house.jobs()[0]
        house.state.jobs.cancel(job.id)
        house.service.workers.dismiss(job.id)
        caller.join(10)
    finally:
        house.images.go.set()
    assert ended == [PROMPT]
    assert [each.body["prompt"] for each in house.jobs()].count(PROMPT) == 1


def test_calls_are_counted_with_those_of_rest(client, served) -> None:
    client.auth.get_api_key_info()
    counted = served.house.service.metrics.text(0, 0).decode()
    assert 'polarlight_requests_total{method="GRPC",route="/xai_api.Auth/get_api_key_info",status="200"}' in counted
