"""Remote services as engines, against services played on this machine."""

import asyncio
import base64
import io
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engines import OnePermit, run
from image_services import KNOWN, Service, answer, bare, picture, serving
from PIL import Image

from polarlight.base.errors import UserError
from polarlight.infer.dialects import DIALECTS
from polarlight.infer.engine import Cancelled, Engine, EngineClosed, EngineFull, ImageTask, UnsupportedTask, open_engine
from polarlight.infer.remote import ATTEMPTS, RemoteEngine, RemoteError

DRAW = ImageTask(prompt="a red cat", seed=5)
EDIT = ImageTask(prompt="make it blue", task="edit", pictures=(picture(30, 20),))
MASK = np.zeros((30, 20), bool)
MASK[:10] = True
Start = Callable[..., Service]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts services that end with the test."""
    with ExitStack() as stack:
        yield lambda dialect: stack.enter_context(serving(Service(dialect)))


def engine_for(*services: Service, model: str = "some-model", key: str = "") -> RemoteEngine:
    urls = [service.url for service in services]
    return RemoteEngine(urls, DIALECTS[services[0].dialect], model, key, pause_s=0.01)


def events(task: ImageTask, *services: Service, **settings: Any) -> list[Any]:
    """All events of one task."""

    async def read() -> list[Any]:
        engine = engine_for(*services, **settings)
        try:
            return [event async for event in await engine.submit(task, OnePermit())]
        finally:
            await engine.close()

    return run(read())


def result(task: ImageTask, *services: Service, **settings: Any) -> Any:
    return events(task, *services, **settings)[-1].result


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_draws_and_sends_nothing_its_service_does_not_know(dialect: str, start: Start) -> None:
    service = start(dialect)
    made = result(DRAW, service)
    assert np.array_equal(made.pixels, picture())
    (request,) = service.posts
    assert (request.path, request.fields["prompt"]) == ("/v1/images/generations", "a red cat")
    assert ("seed" in request.fields) == ("seed" in KNOWN[dialect])
    assert ("takes no seed" in made.metadata.get("note", "")) == ("seed" not in KNOWN[dialect])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_edits_and_sends_nothing_its_service_does_not_know(dialect: str, start: Start) -> None:
    service = start(dialect)
    assert np.array_equal(result(EDIT, service).pixels, picture())
    fields = service.posts[0].fields
    sent = fields.get("image") or fields["files"][0]
    if isinstance(sent, dict):
        sent = sent["url"].partition("base64,")[2]
    content = sent if isinstance(sent, bytes) else base64.b64decode(sent)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content))), EDIT.pictures[0])


@pytest.mark.parametrize("dialect", [name for name, dialect in DIALECTS.items() if dialect.mask])
def test_a_mask_goes_in_the_form_that_each_service_reads(dialect: str, start: Start) -> None:
    service = start(dialect)
    result(replace(EDIT, mask=MASK), service)
    sent = Image.open(io.BytesIO(service.posts[0].fields[DIALECTS[dialect].mask]))
    if dialect == "openai":
        assert np.array_equal(np.asarray(sent.getchannel("A")) == 0, MASK)
    else:
        assert np.array_equal(np.asarray(sent) == 255, MASK)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_service_is_asked_to_make_a_picture_larger(dialect: str, start: Start) -> None:
    service = start(dialect)
    with pytest.raises(UnsupportedTask, match="cannot make pictures larger"):
        events(replace(EDIT, task="upscale"), service)
    assert service.requests == []


@pytest.mark.parametrize("dialect", [name for name, dialect in DIALECTS.items() if not dialect.mask])
def test_a_service_without_masks_says_so_before_anything_is_sent(dialect: str, start: Start) -> None:
    service = start(dialect)
    with pytest.raises(UnsupportedTask, match="no mask"):
        events(replace(EDIT, mask=MASK), service)
    assert service.requests == []


@pytest.mark.parametrize(
    ("dialect", "fields"),
    [
        ("openai", {"size": "1536x1024"}),
        ("xai", {"aspect_ratio": "3:2", "resolution": "2k"}),
        ("sglang", {"size": "1248x832"}),
        ("localai", {"size": "624x416"}),
    ],
)
def test_a_shape_is_asked_for_as_the_service_has_it(dialect: str, fields: dict[str, str], start: Start) -> None:
    service = start(dialect)
    result(replace(DRAW, size="3:2"), service)
    assert fields.items() <= service.posts[0].fields.items()


@pytest.mark.parametrize(
    ("dialect", "model", "quality"),
    [("openai", "m", "high"), ("xai", "grok-imagine-image-2.0", "medium"), ("xai", "grok-imagine-image", None)],
)
def test_a_mode_is_the_services_own_quality(dialect: str, model: str, quality: str | None, start: Start) -> None:
    service = start(dialect)
    mode = "quality" if quality else "speed"
    result(replace(DRAW, mode=mode), service, model=model)
    assert service.posts[0].fields.get("quality") == quality


@pytest.mark.parametrize(("dialect", "name"), [("vllm-omni", "negative_prompt"), ("sglang", "negative_prompt")])
def test_a_negative_prompt_has_its_own_field(dialect: str, name: str, start: Start) -> None:
    service = start(dialect)
    result(replace(DRAW, negative_prompt="dogs"), service)
    assert service.posts[0].fields[name] == "dogs"


def test_localai_takes_the_negative_prompt_behind_a_bar(start: Start) -> None:
    service = start("localai")
    result(replace(DRAW, negative_prompt="dogs"), service)
    assert service.posts[0].fields["prompt"] == "a red cat|dogs"
    with pytest.raises(UserError, match="negative prompt"):
        result(replace(DRAW, prompt="a cat | a dog"), service)


def test_many_pictures_are_sent_in_their_order_to_xai(start: Start) -> None:
    service = start("xai")
    result(replace(EDIT, pictures=(picture(8, 8, 1), picture(8, 8, 2))), service)
    shades = [
        Image.open(io.BytesIO(base64.b64decode(sent["url"].partition("base64,")[2]))).getpixel((0, 0))[0]
        for sent in service.posts[0].fields["images"]
    ]
    assert shades == [1, 2]


def test_partial_pictures_are_previews(start: Start) -> None:
    service = start("openai")
    *previews, done = events(replace(DRAW, previews=9), service)
    assert [(preview.number, preview.passes, int(preview.picture[0, 0, 0])) for preview in previews] == [
        (1, 4, 0), (2, 4, 1), (3, 4, 2),
    ]  # fmt: skip
    assert np.array_equal(done.result.pixels, picture())


def test_a_stream_that_ends_early_is_an_error_and_not_sent_again(start: Start) -> None:
    service = start("openai")
    service.next_answers = [(200, {"content-type": "text/event-stream"}, b"data: [DONE]\n\n")]
    with pytest.raises(RemoteError, match="without a picture"):
        events(replace(DRAW, previews=1), service)
    assert len(service.posts) == 1


@pytest.mark.parametrize("address", ["{url}/made.png", "/made.png", "data:image/png;base64,{bare}"])
def test_a_picture_by_address_is_fetched(address: str, start: Start) -> None:
    service = start("openai")
    url = address.format(url=service.url, bare=bare(picture()))
    service.next_answers = [answer({"data": [{"url": url}]})]
    assert np.array_equal(result(DRAW, service).pixels, picture())


def test_the_key_goes_to_the_service_and_to_no_other_place(start: Start) -> None:
    service, elsewhere = start("openai"), start("openai")
    service.next_answers = [answer({"data": [{"url": f"{elsewhere.url}/made.png"}]})]
    result(DRAW, service, key="secret")
    assert service.posts[0].headers["authorization"] == "Bearer secret"
    assert "authorization" not in elsewhere.requests[0].headers


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("dialect", ["openai", "localai"])
def test_a_busy_service_is_asked_again_under_the_same_key(status: int, dialect: str, start: Start) -> None:
    service = start(dialect)
    service.next_answers = [answer({"error": {"message": "slow down"}}, status, retry_after="0")] * 2
    result(DRAW, service)
    keys = {request.headers["idempotency-key"] for request in service.posts}
    assert (len(service.posts), len(keys)) == (3, 1)


def test_two_tasks_have_two_keys(start: Start) -> None:
    service = start("openai")
    for _ in range(2):
        result(DRAW, service)
    assert len({request.headers["idempotency-key"] for request in service.posts}) == 2


def test_a_service_that_stays_busy_is_full_in_the_end(start: Start) -> None:
    service = start("openai")
    service.next_answers = [answer({"error": "busy"}, 429)] * 9
    with pytest.raises(EngineFull):
        events(DRAW, service)
    assert len(service.posts) == ATTEMPTS


@pytest.mark.parametrize("failure", [answer({"error": "boom"}, 500), None], ids=["500", "broken off"])
def test_what_may_have_been_billed_is_never_sent_twice(failure: Any, start: Start) -> None:
    service = start("xai")
    service.next_answers = [failure] * 9
    with pytest.raises(RemoteError):
        events(DRAW, service)
    assert len(service.posts) == 1


@pytest.mark.parametrize("failure", [answer({"error": "boom"}, 500), None], ids=["500", "broken off"])
def test_what_costs_nothing_is_tried_again_after_a_failure(failure: Any, start: Start) -> None:
    service = start("sglang")
    service.next_answers = [failure]
    assert np.array_equal(result(DRAW, service).pixels, picture())
    assert len(service.posts) == 2


def test_a_replica_that_cannot_be_reached_is_passed_over(start: Start) -> None:
    service, gone = start("openai"), Service("openai", url="http://127.0.0.1:9")
    assert np.array_equal(result(DRAW, gone, service).pixels, picture())


def test_no_replica_at_all_is_an_error_that_names_the_place() -> None:
    with pytest.raises(RemoteError, match=r"127\.0\.0\.1:9"):
        events(DRAW, Service("openai", url="http://127.0.0.1:9"))


def test_work_goes_to_the_least_busy_replica(start: Start) -> None:
    first, second = start("sglang"), start("sglang")
    first.slow = second.slow = threading.Event()

    async def draw() -> None:
        engine = engine_for(first, second)
        tickets = [await engine.submit(replace(DRAW, seed=seed), OnePermit()) for seed in range(6)]
        while len(first.posts) + len(second.posts) < 6:
            await asyncio.sleep(0.01)
        assert (len(first.posts), len(second.posts)) == (3, 3)
        first.slow.set()
        await asyncio.gather(*(ticket.result() for ticket in tickets))
        await engine.close()

    run(draw())


def test_health_is_asked_of_every_replica_and_the_sick_one_rests(start: Start) -> None:
    good, sick = start("vllm-omni"), start("vllm-omni")
    sick.well = False

    async def draw() -> dict[str, bool]:
        engine = engine_for(sick, good)
        found = await engine.health()
        for _ in range(3):
            await (await engine.submit(DRAW, OnePermit())).result()
        await engine.close()
        return found

    assert run(draw()) == {f"{sick.url}/v1/": False, f"{good.url}/v1/": True}
    assert (len(sick.posts), len(good.posts)) == (0, 3)
    assert sick.requests[0].path == "/health"


@pytest.mark.parametrize(
    ("body", "status", "error", "sentence"),
    [
        ({"error": {"message": "bad size"}}, 400, UserError, "bad size"),
        ({"code": "x", "error": "moderated"}, 400, UserError, "moderated"),
        ({"detail": "no such field"}, 422, UserError, "no such field"),
        ({"error": {"message": "wrong key"}}, 401, RemoteError, "wrong key"),
        ({"data": [{"url": "", "respect_moderation": False}]}, 200, UserError, "moderation"),
        ({"data": []}, 200, RemoteError, "without a picture"),
        ({"data": [{"b64_json": "bm8gcGljdHVyZQ=="}]}, 200, RemoteError, "no picture"),
        ("plain text", 404, RemoteError, "plain text"),
    ],
)
def test_what_a_service_complains_of_reaches_the_reader(
    body: Any, status: int, error: type[Exception], sentence: str, start: Start
) -> None:
    service = start("xai")
    service.next_answers = [answer(body, status)]
    with pytest.raises(error, match=sentence):
        events(DRAW, service)
    assert len(service.posts) == 1


def test_cancelling_ends_the_request_and_warns_that_it_may_be_billed(start: Start) -> None:
    service = start("openai")
    service.slow = threading.Event()

    async def draw() -> None:
        engine = engine_for(service)
        ticket = await engine.submit(DRAW, OnePermit())
        while not service.posts:
            await asyncio.sleep(0.01)
        ticket.cancel()
        with pytest.raises(Cancelled, match="billed"):
            await ticket.result()
        await engine.close()

    run(draw())


def test_a_ticket_cancelled_at_once_is_never_sent(start: Start) -> None:
    service = start("openai")

    async def draw() -> None:
        engine = engine_for(service)
        ticket = await engine.submit(DRAW, OnePermit())
        ticket.cancel()
        with pytest.raises(Cancelled):
            await ticket.result()
        await engine.close()

    run(draw())
    assert service.requests == []


def test_closing_finishes_what_was_accepted_and_takes_no_more(start: Start) -> None:
    service = start("openai")

    async def draw() -> int:
        engine = engine_for(service)
        tickets = [await engine.submit(DRAW, OnePermit()) for _ in range(6)]
        await engine.close()
        with pytest.raises(EngineClosed):
            await engine.submit(DRAW, OnePermit())
        return len([await ticket.result() for ticket in tickets])

    assert run(draw()) == 6


def test_without_a_permit_nothing_is_sent(start: Start) -> None:
    service = start("openai")

    async def ask() -> None:
        engine = engine_for(service)
        with pytest.raises(PermissionError):
            await engine.submit(DRAW, None)
        await engine.close()

    run(ask())
    assert service.requests == []


def test_an_answer_in_another_size_is_described_as_it_is(start: Start) -> None:
    made = result(replace(DRAW, size="16:9"), start("openai"))
    assert (made.metadata["width"], made.metadata["height"]) == (32, 24)
    assert "no aspect 16:9" in made.metadata["note"]


@pytest.mark.parametrize(
    ("spec", "dialect", "model", "place"),
    [
        ("remote:http://127.0.0.1:1", "openai", "gpt-image-1", "http://127.0.0.1:1/v1/"),
        ("remote:xai:http://127.0.0.1:1/v1", "xai", "grok-imagine-image", "http://127.0.0.1:1/v1/"),
        ("remote:sglang:http://a:1,http://b:2/api#Qwen/Qwen-Image", "sglang", "Qwen/Qwen-Image", "http://a:1/v1/"),
        ("remote:https://api.x.ai#grok-imagine-image-2.0", "xai", "grok-imagine-image-2.0", "https://api.x.ai/v1/"),
    ],
)
def test_a_spec_names_dialect_places_and_model(
    spec: str, dialect: str, model: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XAI_API_KEY", "secret")
    engine = open_engine(spec)
    assert isinstance(engine, Engine)
    assert (engine.dialect.name, engine.info.name) == (dialect, model)
    assert str(engine._replicas.all[0].url) == place
    assert engine.info.family == ("grok" if dialect == "xai" else "openai")


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("remote:ftp://host", "not one of a service"),
        ("remote:host:80", "not one of a service"),
        ("remote:#model", "no address"),
        ("remote:https://api.openai.com", "needs a key"),
        ("remote:https://api.openai.com,http://127.0.0.1:1", "replica of another"),
    ],
)
def test_a_spec_that_names_no_service_is_refused(spec: str, sentence: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match=sentence) as raised:
        open_engine(spec)
    assert raised.value.fix
