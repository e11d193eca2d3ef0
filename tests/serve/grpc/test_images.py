"""Pictures by xAI's own client, and what they cost."""

import asyncio
import io
from dataclasses import replace

import pytest
from PIL import Image
from service_doors import data_uri, picture_file, wait_for
from service_engines import WITHHELD_SEED, FakeImages
from service_grpc import Code, refused
from xai_sdk.proto import image_pb2, image_pb2_grpc

MODEL = "grok-imagine-image"


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def test_a_picture_comes_at_an_address_that_the_client_downloads(client, served) -> None:
    made = client.image.sample("a red cat", MODEL)
    assert made.url.startswith("http://127.0.0.1:")
    picture = opened(made.image)
    assert (picture.format, picture.size, made.respect_moderation) == ("JPEG", (256, 256), True)


def test_base64_comes_as_a_data_uri_that_the_client_decodes(client) -> None:
    made = client.image.sample("a red cat", MODEL, image_format="base64")
    assert made.base64.startswith("data:image/jpeg;base64,")
    assert opened(made.image).format == "JPEG"


def test_models_of_other_names_give_jpeg_too(client) -> None:
    made = client.image.sample("a red cat", "gpt-image-1", image_format="base64")
    assert opened(made.image).format == "JPEG"


def test_a_batch_of_samples_has_a_picture_for_each(client) -> None:
    made = client.image.sample_batch("a red cat", MODEL, n=3, image_format="base64")
    assert len({each.base64 for each in made}) == 3


def test_the_cost_is_told_and_charged_as_in_rest(client, served) -> None:
    before = served.house.charged()
    made = client.image.sample("a red cat", MODEL)
    assert made.cost_usd == pytest.approx(0.02)
    assert made.usage.prompt_text_tokens == 3
    assert made.usage.total_tokens == 3 + (256 // 16) ** 2
    assert served.house.charged() - before == 200_000_000


def test_the_aspect_ratio_and_the_resolution_reach_the_engine(client, served) -> None:
    made = client.image.sample("a cat", MODEL, aspect_ratio="16:9", resolution="1k", image_format="base64")
    assert opened(made.image).size == (352, 192)
    assert (served.house.images.tasks[-1].size, served.house.images.tasks[-1].resolution) == ("16:9", "1k")
    client.image.sample("a cat", MODEL, aspect_ratio="19.5:9", quality="medium")
    assert (served.house.images.tasks[-1].size, served.house.images.tasks[-1].mode) == ("19.5:9", "quality")


def test_every_aspect_ratio_of_the_protocol_has_its_own_words() -> None:
    from xai_sdk.image import _IMAGE_ASPECT_RATIO_MAP

    from polarlight.serve.grpc.images import ASPECT_RATIOS

    assert {ASPECT_RATIOS[number]: number for number in _IMAGE_ASPECT_RATIO_MAP.values()} == _IMAGE_ASPECT_RATIO_MAP
    assert ASPECT_RATIOS[image_pb2.IMG_ASPECT_RATIO_AUTO] == "auto"
    assert len(ASPECT_RATIOS) == len(image_pb2.ImageAspectRatio.values())


def test_a_number_newer_than_the_server_is_refused(served) -> None:
    request = image_pb2.GenerateImageRequest(prompt="a cat", model=MODEL, aspect_ratio=99)
    with served.channel() as channel, refused(Code.INVALID_ARGUMENT, "The value 99 of aspect_ratio is not known here."):
        image_pb2_grpc.ImageStub(channel).GenerateImage(request, metadata=served.metadata)


def test_an_edit_takes_one_picture(client, served) -> None:
    made = client.image.sample("make it blue", MODEL, image_url=data_uri(picture_file()))
    assert made.url
    task = served.house.images.tasks[-1]
    assert (task.task, len(task.pictures)) == ("edit", 1)


def test_an_edit_takes_several_pictures_from_files_and_addresses(client, served) -> None:
    file = client.files.upload(picture_file(grey=40), filename="in.png")
    made = client.image.sample(
        "join the two", MODEL, image_urls=[data_uri(picture_file(grey=90))], image_file_ids=[file.id]
    )
    assert made.url
    assert [int(each.mean()) for each in served.house.images.tasks[-1].pictures] == [40, 90]


def test_a_kept_picture_is_among_the_files(client) -> None:
    storage = {"filename": "cat.jpg", "expires_after": 7200, "public_url": True}
    made = client.image.sample("a cat", MODEL, image_format="base64", storage_options=storage)
    kept = client.files.get(made.file_output.file_id)
    assert (kept.filename, made.storage_error) == ("cat.jpg", None)
    assert kept.expires_at.seconds - kept.created_at.seconds == pytest.approx(7200, abs=2)
    assert made.public_url == kept.public_url


def test_a_withheld_picture_says_so_and_has_no_content(client, served, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, seeds = served.house.images, iter([WITHHELD_SEED, 1])
    monkeypatch.setattr(engine, "make", lambda task: FakeImages.make(engine, replace(task, seed=next(seeds))))
    both = client.image.sample_batch("a cat", MODEL, n=2, image_format="base64")
    withheld, made = sorted(both, key=lambda each: each.respect_moderation)
    assert (withheld.respect_moderation, made.respect_moderation) == (False, True)
    assert opened(made.image).format == "JPEG"
    with pytest.raises(ValueError, match="moderation"):
        _ = withheld.base64


@pytest.mark.parametrize(
    ("ask", "code"),
    [
        ({"prompt": ""}, Code.INVALID_ARGUMENT),
        ({"model": "grok-none"}, Code.NOT_FOUND),
        ({"model": "grok-imagine-video"}, Code.INVALID_ARGUMENT),
        ({"prompt": "a nude child"}, Code.INVALID_ARGUMENT),
        ({"image_url": "not a picture"}, Code.INVALID_ARGUMENT),
        ({"image_file_id": "file-unknown"}, Code.NOT_FOUND),
        ({"image_urls": [data_uri(picture_file())] * 4}, Code.INVALID_ARGUMENT),
    ],
)
def test_a_mistake_has_its_status(client, ask: dict, code: Code) -> None:
    with refused(code):
        client.image.sample(**{"prompt": "a cat", "model": MODEL, **ask})


def test_a_key_without_credit_is_refused_before_work(served) -> None:
    poor = served.house.state.keys.create("poor", prepaid=True)
    made = len(served.house.images.tasks)
    with served.client(poor.secret) as client, refused(Code.PERMISSION_DENIED):
        client.image.sample("a cat", MODEL)
    assert len(served.house.images.tasks) == made


def test_a_call_that_is_given_up_takes_its_work_along(served) -> None:
    house = served.house
    house.images.go.clear()
    try:
        with served.client(timeout=0.5) as client, refused(Code.DEADLINE_EXCEEDED):
            client.image.sample("a cat that nobody waits for", MODEL)
        wait_for(lambda: house.jobs()[0].ended)
        job = house.jobs()[0]
        assert (job.body["prompt"], job.state) == ("a cat that nobody waits for", "cancelled")
    finally:
        house.images.go.set()


def test_a_repeated_idempotency_key_returns_the_first_picture(served) -> None:
    with served.client(metadata=(("idempotency-key", "once"),)) as client:
        first = client.image.sample("a cat", MODEL, image_format="base64")
        assert client.image.sample("a cat", MODEL, image_format="base64").base64 == first.base64


def test_the_asynchronous_client_makes_and_downloads_pictures(served) -> None:
    async def go() -> tuple[bytes, int]:
        async with served.aio_client() as client:
            one = await client.image.sample("a cat", MODEL)
            many = await client.image.sample_batch("a cat", MODEL, n=2)
            return await one.image, len(many)

    content, count = asyncio.run(go())
    assert (opened(content).format, count) == ("JPEG", 2)
