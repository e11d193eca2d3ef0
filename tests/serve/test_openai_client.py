"""OpenAI's own client against the service, as its users point it there."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from service_doors import House, listening_house, made_home, mask_file, picture_file

openai = pytest.importorskip("openai")
# the client warns that OpenAI's own service ended these; here they live on
ENDED = pytest.mark.filterwarnings("ignore:(The Sora API|deprecated):DeprecationWarning")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> Iterator[tuple[House, str]]:
    with listening_house(made_home(tmp_path_factory.mktemp("openai"), migrated_file)) as both:
        yield both


@pytest.fixture
def client(served: tuple[House, str]) -> Iterator[object]:
    house, url = served
    with openai.OpenAI(base_url=f"{url}/v1", api_key=house.secret, max_retries=0) as made:
        yield made


def png(name: str = "in.png") -> tuple[str, bytes]:
    return (name, picture_file())


def opened(b64: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(b64)))


def test_models_are_listed_and_retrieved(client) -> None:
    assert {model.id for model in client.models.list()} == {"fake-image", "fake-video"}
    assert client.models.retrieve("gpt-image-1").owned_by == "tests"


def test_a_picture_comes_as_base64_or_as_a_url(client, served) -> None:
    made = client.images.generate(model="gpt-image-1", prompt="a red cat", size="1024x1024", extra_body={"seed": 3})
    assert opened(made.data[0].b64_json).size == (256, 256)
    assert (made.output_format, made.size, made.usage.total_tokens > 0) == ("png", "256x256", True)
    linked = client.images.generate(model="gpt-image-1", prompt="a red cat", response_format="url", n=2)
    path = linked.data[1].url.removeprefix("http://test")
    assert httpx.get(served[1] + path).headers["content-type"] == "image/png"


def test_xais_fields_pass_through_extra_body(client) -> None:
    extra = {"aspect_ratio": "16:9", "negative_prompt": "a dog", "seed": 9}
    made = client.images.generate(model="grok-imagine-image", prompt="a cat", extra_body=extra)
    assert made.data[0].url
    assert made.data[0].model_extra["seed"] == 9
    assert made.usage.model_extra["cost_in_usd_ticks"] == 200_000_000


def test_partial_images_arrive_as_typed_events(client) -> None:
    stream = client.images.generate(model="gpt-image-1", prompt="a cat", stream=True, partial_images=2)
    events = list(stream)
    assert [event.type for event in events] == ["image_generation.partial_image"] * 2 + ["image_generation.completed"]
    assert [event.partial_image_index for event in events[:2]] == [0, 1]
    assert opened(events[-1].b64_json).size == (256, 256)


@ENDED
def test_edits_take_one_picture_several_and_a_mask(client) -> None:
    one = client.images.edit(model="gpt-image-1", image=png(), prompt="make it blue")
    many = client.images.edit(model="gpt-image-1", image=[png("a.png"), png("b.png")], prompt="join the two")
    masked = client.images.edit(model="gpt-image-1", image=png(), mask=("m.png", mask_file()), prompt="a hat")
    for answer in (one, many, masked):
        assert opened(answer.data[0].b64_json).size[0] > 0
    stream = client.images.edit(model="gpt-image-1", image=png(), prompt="blue", stream=True, partial_images=1)
    assert [event.type for event in stream] == ["image_edit.partial_image", "image_edit.completed"]
    assert client.images.create_variation(image=png(), model="gpt-image-1").data[0].b64_json


def test_files_are_kept_listed_read_and_deleted(client) -> None:
    file = client.files.create(file=("a.txt", b"hello"), purpose="user_data")
    assert client.files.retrieve(file.id).bytes == 5
    assert file.id in [each.id for each in client.files.list(limit=2)]
    assert client.files.content(file.id).read() == b"hello"
    assert client.files.delete(file.id).deleted


def test_mistakes_are_the_clients_own_error_classes(client, served) -> None:
    house, url = served
    with pytest.raises(openai.NotFoundError) as missing:
        client.images.generate(model="gpt-none", prompt="x")
    assert missing.value.code == "model_not_found"
    assert missing.value.request_id.startswith("req_")
    with pytest.raises(openai.BadRequestError):
        client.images.generate(model="gpt-image-1", prompt="x", n=11)
    with pytest.raises(openai.BadRequestError) as blocked:
        client.images.generate(model="gpt-image-1", prompt="a nude child")
    assert blocked.value.code == "moderation_blocked"
    stranger = openai.OpenAI(base_url=f"{url}/v1", api_key="wrong", max_retries=0)
    with stranger, pytest.raises(openai.AuthenticationError):
        stranger.models.list()
    limited = house.state.keys.create("limited", requests_per_minute=1, acls=["api-key:endpoint:models"])
    with openai.OpenAI(base_url=f"{url}/v1", api_key=limited.secret, max_retries=0) as slow:
        with pytest.raises(openai.PermissionDeniedError):
            slow.files.list()
        slow.models.list()
        with pytest.raises(openai.RateLimitError):
            slow.models.list()


@ENDED
def test_a_clip_is_created_polled_listed_downloaded_remixed_and_deleted(client) -> None:
    made = client.videos.create_and_poll(model="sora-2", prompt="a red cat runs", seconds="4", poll_interval_ms=50)
    assert (made.status, made.progress, made.seconds) == ("completed", 100, "4")
    assert client.videos.download_content(made.id).read()[4:8] == b"ftyp"
    assert client.videos.download_content(made.id, variant="thumbnail").read()[:4] == b"RIFF"
    assert made.id in [each.id for each in client.videos.list()]
    remix = client.videos.remix(made.id, prompt="in blue")
    assert client.videos.poll(remix.id, poll_interval_ms=50).remixed_from_video_id == made.id
    assert client.videos.delete(made.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(made.id)


@ENDED
def test_a_clip_begins_with_a_given_picture(client) -> None:
    made = client.videos.create_and_poll(model="sora-2", prompt="it moves", input_reference=png(), poll_interval_ms=50)
    assert made.status == "completed"
