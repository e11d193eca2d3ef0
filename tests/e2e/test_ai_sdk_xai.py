"""Vercel's client for xAI (npm: @ai-sdk/xai with ai), unmodified, against the service: pictures, clips, mistakes."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from clients.ai_sdk_xai import IMAGES, SOON, VIDEOS, Client, Node
from PIL import Image
from service_doors import House, data_uri, listening_house, mask_file, picture_file
from service_engines import WITHHELD, WITHHELD_SEED

from polarlight.serve.settings import Settings
from polarlight.serve.state import State

CENT = 10**8  # ticks


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def opened(file: dict[str, str]) -> Image.Image:
    picture = Image.open(io.BytesIO(base64.b64decode(file["base64"])))
    picture.load()
    assert file["mediaType"] == Image.MIME[picture.format]
    return picture


def frames_of(file: dict[str, str]) -> list[tuple[int, int]]:
    """The sizes of a clip's frames."""
    assert file["mediaType"] == "video/mp4"
    with av.open(io.BytesIO(base64.b64decode(file["base64"]))) as clip:
        return [(frame.width, frame.height) for frame in clip.decode(video=0)]


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    opened = Node()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def served(node: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, str]]:
    home = tmp_path_factory.mktemp("ai-sdk-xai") / "home"
    with listening_house(home) as (house, url):
        object.__setattr__(house.state, "settings", replace(house.settings, public_url=url))
        yield house, url


@pytest.fixture
def house(served: tuple[House, str]) -> House:
    return served[0]


@pytest.fixture
def client(node: Node, served: tuple[House, str]) -> Client:
    return Client(node=node, address=served[1], key=served[0].secret)


def test_a_picture_comes_as_a_jpeg_file(client: Client) -> None:
    made = client.draw({"prompt": "a red cat"})
    assert [opened(file).format for file in made["images"]] == ["JPEG"]
    assert opened(made["images"][0]).size == (256, 256)
    assert made["providerMetadata"]["xai"]["images"] == [{"revisedPrompt": "a red cat"}]
    assert made["responses"][0]["headers"]["x-request-id"].startswith("req_")
    assert made["warnings"] == []


def test_more_pictures_than_the_client_asks_for_at_once_come_from_two_requests(client: Client, house: House) -> None:
    before = len(house.images.tasks)
    told = client.call("images", IMAGES, {"prompt": "a red cat", "n": 5})
    assert told["exchanges"] == ["POST /v1/images/generations 200"] * 2
    assert [opened(file).size for file in told["made"]["images"]] == [(256, 256)] * 5
    assert len(house.images.tasks) == before + 5
    assert len({task.seed for task in house.images.tasks[before:]}) == 5


def test_the_aspect_ratio_is_followed(client: Client, house: House) -> None:
    (wide,) = client.draw({"prompt": "a red cat", "aspectRatio": "16:9"})["images"]
    assert opened(wide).size == (352, 192)
    (named,) = client.draw({"prompt": "a cat", "providerOptions": {"xai": {"aspect_ratio": "16:9"}}})["images"]
    assert opened(named).size == (352, 192)
    assert house.images.tasks[-1].size == "16:9"


def test_every_option_of_the_provider_is_taken(client: Client, house: House) -> None:
    options = {"output_format": "png", "resolution": "1k", "quality": "high", "user": "ada", "sync_mode": True}
    (file,) = client.draw({"prompt": "a red cat", "providerOptions": {"xai": options}})["images"]
    assert (opened(file).format, opened(file).size) == ("PNG", (256, 256))
    assert (house.images.tasks[-1].mode, house.images.tasks[-1].resolution) == ("quality", "1k")


def test_the_cost_is_what_the_ledger_charges(client: Client, house: House) -> None:
    before = house.charged()
    made = client.call("imageModel", IMAGES, {"prompt": "a red cat", "n": 2})["made"]
    assert made["providerMetadata"]["xai"]["costInUsdTicks"] == 4 * CENT
    assert house.charged() - before == 4 * CENT
    assert len(made["images"]) == 2


def test_a_field_that_the_client_has_no_option_for_goes_through_its_middleware(client: Client, house: House) -> None:
    made = client.draw({"prompt": "a red cat"}, extra={"seed": 9})
    assert house.images.tasks[-1].seed == 9
    assert np.array(opened(made["images"][0])).mean() == pytest.approx(9 * 10 + 25, abs=1)


def test_one_picture_is_edited(client: Client, house: House) -> None:
    told = client.call("images", IMAGES, {"prompt": {"text": "make it blue", "images": [b64(picture_file("WEBP"))]}})
    assert told["exchanges"] == ["POST /v1/images/edits 200"]
    assert opened(told["made"]["images"][0]).format == "JPEG"
    task = house.images.tasks[-1]
    assert (task.task, task.prompt, [each.shape for each in task.pictures]) == ("edit", "make it blue", [(128, 128, 3)])


def test_several_pictures_are_edited_into_one_in_their_order(client: Client, house: House) -> None:
    given = [b64(picture_file(grey=30)), data_uri(picture_file("JPEG", (64, 96), 200), "image/jpeg")]
    made = client.draw({"prompt": {"text": "join <IMAGE_0> and <IMAGE_1>", "images": given}, "aspectRatio": "16:9"})
    assert opened(made["images"][0]).size == (352, 192)
    pictures = house.images.tasks[-1].pictures
    assert [each.shape for each in pictures] == [(128, 128, 3), (96, 64, 3)]
    assert [round(float(each.mean()), -1) for each in pictures] == [30, 200]


def test_what_the_client_cannot_send_it_warns_of_and_the_service_does_without(client: Client, house: House) -> None:
    prompt = {"text": "a hat", "images": [b64(picture_file())], "mask": b64(mask_file())}
    made = client.draw({"prompt": prompt, "seed": 3, "size": "1024x1024"})
    assert {warning["feature"] for warning in made["warnings"]} == {"mask", "seed", "size"}
    assert opened(made["images"][0]).size == (256, 256)
    assert house.images.tasks[-1].mask is None


@pytest.mark.parametrize(
    ("call", "status", "message"),
    [
        ({"prompt": "a nude child"}, 400, "invalid-argument: "),
        ({"prompt": "a cat", "providerOptions": {"xai": {"output_format": "tiff"}}}, 422, "Unprocessable"),
        ({"prompt": {"text": "blue", "images": [b64(b"no picture")]}}, 400, "invalid-argument: The file is neither"),
        ({"prompt": {"text": "blue", "images": [b64(picture_file())] * 4}}, 400, "invalid-argument: The task brings 4"),
    ],
    ids=["forbidden", "malformed", "unreadable", "too many"],
)
def test_a_mistake_is_the_clients_own_error(client: Client, call: dict[str, Any], status: int, message: str) -> None:
    error = client.call("images", IMAGES, call)["error"]
    assert (error["name"], error["statusCode"], error["isRetryable"]) == ("AI_APICallError", status, False)
    assert error["message"].startswith(message)


def test_a_wrong_key_says_so_in_both_doors(client: Client) -> None:
    stranger = replace(client, key="wrong-key")
    for task, model in (("images", IMAGES), ("videos", VIDEOS)):
        error = stranger.call(task, model, {"prompt": "a cat"})["error"]
        assert (error["name"], error["statusCode"]) == ("AI_APICallError", 400)
        assert error["message"] == "invalid-argument: Incorrect API key provided: wr***."


def test_an_unknown_model_says_so_in_both_doors(client: Client) -> None:
    for task in ("images", "videos"):
        error = client.call(task, "grok-none", {"prompt": "a cat"})["error"]
        assert (error["name"], error["statusCode"]) == ("AI_APICallError", 404)
        assert error["message"].startswith("not-found: The model grok-none does not exist")


def test_a_model_of_another_family_answers_in_the_other_error_shape(client: Client) -> None:
    error = client.call("images", "gpt-none", {"prompt": "a cat"})["error"]
    assert (error["name"], error["statusCode"]) == ("AI_APICallError", 404)
    assert error["message"].startswith("The model gpt-none does not exist")
    assert json.loads(error["responseBody"])["error"]["code"] == "model_not_found"


def test_a_withheld_picture_is_the_clients_own_error(client: Client) -> None:
    alone = client.call("images", IMAGES, {"prompt": "a cat"}, extra={"seed": WITHHELD_SEED})["error"]
    assert (alone["statusCode"], "content moderation" in alone["message"]) == (400, True)
    both = {"prompt": "a cat", "n": 2}
    second = client.call("images", IMAGES, both, extra={"seed": WITHHELD_SEED - 1})["error"]
    assert second["message"] == "Image generation was blocked due to a content policy violation."


def test_a_client_that_is_too_quick_comes_back_when_it_is_told_to(client: Client, house: House) -> None:
    slow = house.state.keys.create("slow", requests_per_second=1).secret
    told = replace(client, key=slow).call("images", IMAGES, {"prompt": "a cat", "n": 7, "maxRetries": 5})
    assert [exchange.rpartition(" ")[2] for exchange in told["exchanges"]].count("200") == 3
    assert "POST /v1/images/generations 429" in told["exchanges"]
    assert len(told["made"]["images"]) == 7


def test_a_clip_is_ordered_waited_for_and_downloaded(client: Client, house: House) -> None:
    call = {"prompt": "a red cat runs", "duration": 4, "aspectRatio": "16:9", "resolution": "1280x720"}
    house.clips.go.clear()
    try:
        client.start("videos", VIDEOS, {**call, "providerOptions": {"xai": SOON}})
        ordered, first = (client.node.line()["exchange"] for _ in range(2))
    finally:
        house.clips.go.set()
    told = client.end()
    (clip,), facts = told["made"]["videos"], told["made"]["providerMetadata"]["xai"]
    status = f"GET /v1/videos/{facts['requestId']}"
    assert [ordered, first] == ["POST /v1/videos/generations 200", f"{status} 202"]
    assert told["exchanges"][-1] == f"{status} 200"
    assert frames_of(clip) == [(256, 192)] * 4
    assert (facts["duration"], facts["progress"], facts["costInUsdTicks"]) == (4, 100, 20 * CENT)
    task = house.clips.tasks[-1]
    assert (task.prompt, task.seconds, task.size, task.resolution) == ("a red cat runs", 4, "16:9", "720p")


def test_a_clip_begins_with_a_given_picture(client: Client, house: House) -> None:
    prompt = {"text": "it moves", "image": b64(picture_file(grey=40))}
    made = client.film({"prompt": prompt}, resolution="480p")["made"]
    assert frames_of(made["videos"][0]) == [(128, 96)] * 4
    assert round(float(house.clips.tasks[-1].first.mean())) == 40


def test_a_clip_shows_what_its_references_show(client: Client, house: House) -> None:
    client.film({"prompt": "they move", "inputReferences": [b64(picture_file(grey=grey)) for grey in (40, 90)]})
    assert [round(float(each.mean())) for each in house.clips.tasks[-1].references] == [40, 90]


def test_consent_is_asked_for_and_given_through_the_options_of_the_provider(client: Client) -> None:
    call = {"prompt": {"text": "both of them dance", "image": b64(picture_file())}}
    refused = client.film(call)["error"]
    assert (refused["statusCode"], "subject_consent" in refused["message"]) == (400, True)
    assert len(frames_of(client.film(call, subject_consent=True)["made"]["videos"][0])) == 4


def test_a_clip_is_edited_and_extended_by_the_address_that_the_client_was_given(client: Client, house: House) -> None:
    address = client.film({"prompt": "a cat"})["made"]["providerMetadata"]["xai"]["videoUrl"]
    edited = client.film({"prompt": "make it blue"}, mode="edit-video", videoUrl=address)
    assert edited["exchanges"][0] == "POST /v1/videos/edits 200"
    assert (house.clips.tasks[-1].task, house.clips.tasks[-1].source) == ("edit", httpx.get(address).content)
    extended = client.film({"prompt": "and on", "duration": 3}, mode="extend-video", videoUrl=address)
    assert extended["exchanges"][0] == "POST /v1/videos/extensions 200"
    assert (house.clips.tasks[-1].task, house.clips.tasks[-1].seconds) == ("extend", 3)
    for told in (edited, extended):
        assert len(frames_of(told["made"]["videos"][0])) == 4


def test_a_failed_clip_is_the_clients_own_error_and_tells_nothing(client: Client, house: House) -> None:
    house.clips.error = RuntimeError("secret details")
    try:
        told = client.film({"prompt": "a cat"})
    finally:
        house.clips.error = None
    assert told["error"]["name"] == "XAI_VIDEO_GENERATION_FAILED"
    assert "secret" not in json.dumps(told)


def test_a_withheld_clip_is_the_clients_own_error(client: Client, house: House) -> None:
    house.clips.grey = WITHHELD
    try:
        told = client.film({"prompt": "a cat"})
    finally:
        house.clips.grey = None
    assert told["error"]["name"] == "XAI_VIDEO_MODERATION_ERROR"


def test_polarlight_serve_draws_with_the_shipped_model(node: Node, tmp_path: Path) -> None:
    state = State.open(Settings.at(tmp_path))
    secret = state.keys.create("node").secret
    state.close()
    with serving(tmp_path, "--alias", f"{IMAGES}=polarlight", "--processes", "2") as address:
        told = Client(node=node, address=address, key=secret).call("images", IMAGES, {"prompt": "a red cat"})
    picture = opened(told["made"]["images"][0])
    assert (picture.format, picture.size) == ("JPEG", (128, 128))
    assert np.array(picture).std() > 5


@contextmanager
def serving(home: Path, *arguments: str) -> Iterator[str]:
    """The address of the command `polarlight serve`, which runs meanwhile with its state in `home`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "polarlight", "serve", "--port", str(port), *arguments]
    address, log = f"http://127.0.0.1:{port}", home / "log"
    with open(log, "w") as output:
        environment = {**os.environ, "POLARLIGHT_HOME": str(home)}
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 120
        while not answers(address):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"the server did not start: {log.read_text()}"
            time.sleep(0.1)
        yield address
    finally:
        server.terminate()
        server.wait(60)


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health").is_success
    except httpx.TransportError:
        return False
