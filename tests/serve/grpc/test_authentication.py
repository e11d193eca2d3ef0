"""Who may call."""

import pytest
import xai_sdk
from service_grpc import Code, refused
from xai_sdk.proto import image_pb2, image_pb2_grpc


def test_a_key_is_told_about_itself(client, served) -> None:
    info = client.auth.get_api_key_info()
    key = served.house.key
    assert (info.name, info.api_key_id, info.redacted_api_key) == ("first", key.id, key.redacted)
    assert list(info.acls) == ["api-key:endpoint:*", "api-key:model:*"]
    assert info.create_time.seconds == int(key.created_at)
    assert not info.api_key_blocked


def test_a_channel_that_the_client_calls_insecure_serves_all_but_uploads(served) -> None:
    with xai_sdk.Client(served.house.secret, api_host=f"127.0.0.1:{served.port}", use_insecure_channel=True) as client:
        assert client.image.sample("a cat", "grok-imagine-image").url
        with refused(Code.UNAUTHENTICATED):  # the client sends no key with them
            client.files.upload(b"x", filename="a.txt")


@pytest.mark.parametrize(
    ("metadata", "details"),
    [
        ((), "No credentials presented. Send the metadata authorization: Bearer YOUR_KEY."),
        ((("authorization", "Basic abc"),), "No credentials presented."),
        ((("authorization", "Bearer xai-wrong"),), "Incorrect API key provided: xa***."),
    ],
)
def test_a_call_without_a_good_key_reaches_no_method(served, metadata: tuple, details: str) -> None:
    jobs = len(served.house.images.tasks)
    with served.channel() as channel, refused(Code.UNAUTHENTICATED) as error:
        image_pb2_grpc.ImageStub(channel).GenerateImage(
            image_pb2.GenerateImageRequest(prompt="a cat"), metadata=metadata
        )
    assert error.value.details().startswith(details)
    assert len(served.house.images.tasks) == jobs


def test_a_key_may_do_what_its_lists_allow_and_no_more(served) -> None:
    narrow = served.house.state.keys.create("narrow", acls=["api-key:endpoint:models"])
    with served.client(narrow.secret) as client:
        client.models.list_language_models()
        with refused(Code.PERMISSION_DENIED):
            client.image.sample("a cat", "grok-imagine-image")


def test_a_blocked_key_is_told_so_and_makes_nothing(served) -> None:
    keys = served.house.state.keys
    made = keys.create("blocked")
    keys.update(made.key.id, blocked=True)
    with served.client(made.secret) as client:
        assert client.auth.get_api_key_info().api_key_blocked
        with refused(Code.PERMISSION_DENIED):
            client.image.sample("a cat", "grok-imagine-image")


def test_the_rate_limit_is_shared_and_says_when_to_come_back(served) -> None:
    slow = served.house.state.keys.create("slow", requests_per_minute=1)
    with served.client(slow.secret) as client:
        client.models.list_language_models()
        with refused(Code.RESOURCE_EXHAUSTED) as error:
            client.models.list_language_models()
    assert int(dict(error.value.trailing_metadata())["retry-after"]) >= 1
