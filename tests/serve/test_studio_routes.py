"""The studio's doors: signing in, tiles, folders, files; and making, with a fake engine behind the real service."""

import base64
import io
import json
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from service_doors import wait_for
from service_engines import FakeClips
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect
from studio_pictures import SceneryEngine, scenery

from polarlight.infer.engine import Engines
from polarlight.media.pictures import encode_picture
from polarlight.serve.app import make_app
from polarlight.serve.options import Options
from polarlight.serve.service import Service
from polarlight.serve.settings import Settings
from polarlight.serve.studio_sessions import COOKIE, CSRF_HEADER

HERE = "http://127.0.0.1:8080"
SOCKET = "ws://127.0.0.1:8080/studio/api/making"


@pytest.fixture
def backend() -> str:
    return "sqlite"


@pytest.fixture
def engine() -> SceneryEngine:
    return SceneryEngine()


@pytest.fixture
def service(settings: Settings, engine: SceneryEngine) -> Service:
    engines = Engines()
    engines.add(engine)
    made = Service.open(settings, engines, Options(sign=False))
    made.state.keys.ensure_owner()
    return made


@contextmanager
def browser(service: Service, client: str = "127.0.0.1") -> Iterator[TestClient]:
    with TestClient(make_app(service), base_url=HERE, client=(client, 50000)) as opened:
        yield opened


@pytest.fixture
def page(service: Service) -> Iterator[TestClient]:
    """A browser at the machine itself, signed in, that shows its token."""
    with browser(service) as opened:
        opened.headers[CSRF_HEADER] = opened.get("/studio/api/session").json()["csrf"]
        yield opened


@contextmanager
def talking(page: TestClient) -> Iterator[WebSocketTestSession]:
    with page.websocket_connect(SOCKET) as socket:
        socket.send_json({"type": "hello", "csrf": page.headers[CSRF_HEADER]})
        yield socket


def order(**changes: Any) -> dict[str, Any]:
    asked = {"type": "start", "request": "r", "prompt": "hills", "model": "scenery", "mode": "speed", "seed": 5}
    return {**asked, "count": 1, "allowed": 1, **changes}


def until_ended(socket: WebSocketTestSession) -> list[dict[str, Any]]:
    said = [socket.receive_json()]
    while said[-1]["type"] != "ended":
        said.append(socket.receive_json())
    return said


def make(page: TestClient, **changes: Any) -> list[dict[str, Any]]:
    """The tiles of a request, in the order of their seeds."""
    with talking(page) as socket:
        socket.send_json(order(**changes))
        tiles = [each["tile"] for each in until_ended(socket) if each["type"] == "made"]
    return sorted(tiles, key=lambda tile: tile["seed"])


def test_the_page_and_its_files_are_served_with_a_strict_policy(page: TestClient) -> None:
    answer = page.get("/")
    assert "Polarlight studio" in answer.text
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert page.get("/studio/main.js").headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize("name", ["nothing.js", "index.html", "..%2fapp.py", "%2e%2e%2fprices.toml"])
def test_nothing_but_the_pages_files_is_served(page: TestClient, name: str) -> None:
    assert page.get(f"/studio/{name}").status_code == 404


def test_every_module_that_is_imported_exists() -> None:
    folder = Path(make_app.__code__.co_filename).parent / "studio"
    for module in folder.glob("*.js"):
        for line in module.read_text(encoding="utf-8").splitlines():
            if line.startswith("import") and " from " in line:
                assert (folder / line.split('"')[1]).is_file(), f"{module.name}: {line}"


def test_at_the_machine_itself_the_owner_is_signed_in(page: TestClient) -> None:
    greeting = page.get("/studio/api/session").json()
    assert greeting["signed_in"]
    assert [model["name"] for model in greeting["models"]] == ["scenery"]


def test_the_cookie_cannot_be_read_by_pages_nor_sent_by_others(service: Service) -> None:
    with browser(service) as opened:
        cookie = opened.get("/studio/api/session").headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


def test_from_elsewhere_nobody_is_signed_in_without_a_key(service: Service) -> None:
    with browser(service, "192.168.1.7") as opened:
        assert opened.get("/studio/api/session").json() == {"signed_in": False}
        assert opened.get("/studio/api/tiles").status_code == 401
        with pytest.raises(WebSocketDisconnect), opened.websocket_connect(SOCKET):
            pass


def test_from_elsewhere_a_pasted_key_opens_the_door(service: Service) -> None:
    secret = service.state.keys.create("a").secret
    with browser(service, "192.168.1.7") as opened:
        assert opened.post("/studio/api/session", json={"key": "pl-wrong"}).status_code == 400
        assert opened.post("/studio/api/session", json={"key": secret}).json()["signed_in"]
        assert opened.get("/studio/api/tiles").json() == {"tiles": [], "count": 0}


def test_a_write_without_the_token_is_refused(page: TestClient) -> None:
    del page.headers[CSRF_HEADER]
    assert page.post("/studio/api/folders", json={"name": "Best"}).status_code == 403


def test_another_pages_socket_is_refused(page: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), page.websocket_connect(SOCKET, headers={"origin": "http://evil.example"}):
        pass


def test_a_socket_without_the_token_is_closed(page: TestClient) -> None:
    with page.websocket_connect(SOCKET) as socket:
        socket.send_json({"type": "hello", "csrf": "wrong"})
        with pytest.raises(WebSocketDisconnect):
            socket.receive_json()


def test_signing_out_ends_the_session(page: TestClient) -> None:
    token = page.cookies[COOKIE]
    assert page.delete("/studio/api/session").json() == {"signed_in": False}
    page.cookies.set(COOKIE, token)
    assert page.get("/studio/api/tiles").status_code == 401


def test_a_tile_is_begun_sharpens_and_is_kept(page: TestClient) -> None:
    with talking(page) as socket:
        socket.send_json(order())
        said = until_ended(socket)
    assert [each["type"] for each in said] == ["begun", "draft", "draft", "draft", "made", "ended"]
    assert [each["number"] for each in said[1:4]] == [1, 2, 3]
    tile = page.get("/studio/api/tiles").json()["tiles"][0]
    assert tile == said[4]["tile"]
    assert (tile["prompt"], tile["seed"], tile["width"]) == ("hills", 5, 128)


def test_the_kept_file_holds_the_picture_and_brings_its_settings_back(page: TestClient) -> None:
    tile = make(page, seed=9)[0]
    content = page.get(f"/studio/api/tiles/{tile['id']}/content").content
    found = page.post("/studio/api/restore?name=a.png", content=content).json()
    assert (found["program"], found["prompt"], found["seed"], found["mode"]) == ("Polarlight", "hills", 9, "speed")


def test_a_stream_draws_no_more_than_there_is_room_for(page: TestClient, engine: SceneryEngine) -> None:
    with talking(page) as socket:
        socket.send_json(order(count=None, allowed=3))
        made = 0
        while made < 3:
            made += socket.receive_json()["type"] == "made"
        time.sleep(0.2)
        assert engine.begun == 3
        socket.send_json({"type": "allow", "request": "r", "tiles": 5})
        while made < 5:
            made += socket.receive_json()["type"] == "made"
        time.sleep(0.2)
        assert engine.begun == 5


def test_stopping_cancels_what_is_under_way_at_once(page: TestClient, engine: SceneryEngine) -> None:
    engine.pace_s = 30
    with talking(page) as socket:
        socket.send_json(order(count=None, allowed=9))
        wait_for(lambda: engine.begun == 4)
        socket.send_json({"type": "stop", "request": "r"})
        assert until_ended(socket)[-1]["reason"] == "stopped"
        wait_for(lambda: engine.cancelled == 4)
        assert engine.begun == 4
        for work in list(engine.working):
            work.get_loop().call_soon_threadsafe(work.cancel)


def test_a_page_that_goes_away_cancels_its_stream(page: TestClient, engine: SceneryEngine) -> None:
    engine.pace_s = 30
    with talking(page) as socket:
        socket.send_json(order(count=None, allowed=2))
        wait_for(lambda: engine.begun == 2)
    wait_for(lambda: engine.cancelled == 2)
    for work in list(engine.working):
        work.get_loop().call_soon_threadsafe(work.cancel)


def test_quality_makes_four_with_seeds_that_count_up(page: TestClient) -> None:
    tiles = make(page, count=4, allowed=4, mode="quality")
    assert [tile["seed"] for tile in tiles] == [5, 6, 7, 8]
    assert {tile["mode"] for tile in tiles} == {"quality"}


def test_a_disliked_seed_is_left_out_of_the_stream(page: TestClient) -> None:
    disliked = make(page, seed=6)[0]
    assert page.post(f"/studio/api/tiles/{disliked['id']}/less").json() == {"ids": [disliked["id"]]}
    assert [tile["seed"] for tile in make(page, count=3, allowed=3)] == [5, 7, 8]


def test_more_like_this_keeps_the_border_and_the_parent(page: TestClient) -> None:
    parent = make(page)[0]
    child = make(page, task="variation", sources=[parent["id"]], seed=77)[0]
    assert (child["kind"], child["parent_id"]) == ("variation", parent["id"])
    before, after = (pixels(page, each) for each in (parent, child))
    assert np.abs(before[:12] - after[:12]).mean() < 4 < np.abs(before[32:96, 32:96] - after[32:96, 32:96]).mean()


@pytest.mark.parametrize("factor", [2, 4])
def test_an_upscaled_tile_is_larger_and_knows_what_it_came_from(
    page: TestClient, engine: SceneryEngine, factor: int
) -> None:
    engine.learn_to_upscale()
    assert "upscale" in page.get("/studio/api/session").json()["models"][0]["tasks"]
    parent = make(page)[0]
    child = make(page, task="upscale", factor=factor, mode=None, sources=[parent["id"]])[0]
    assert (child["kind"], child["parent_id"], child["prompt"]) == ("upscale", parent["id"], "hills")
    assert (child["width"], child["height"]) == (128 * factor, 128 * factor)
    small, large = (pixels(page, each) for each in (parent, child))
    assert np.abs(large[::factor, ::factor] - small).mean() < 4
    family = page.get(f"/studio/api/tiles/{parent['id']}/lineage").json()["tiles"]
    assert {tile["id"] for tile in family} == {parent["id"], child["id"]}


def test_a_picture_is_drawn_anew_by_its_changed_plan(page: TestClient, engine: SceneryEngine) -> None:
    engine.learn_to_plan()
    assert page.get("/studio/api/session").json()["models"][0]["plans"]
    parent = make(page)[0]
    assert page.get(f"/studio/api/tiles/{parent['id']}/plan").json() == {"plan": "sun @ 4 4 11 11"}
    plan = 'sun @ 14 4 21 11; sign "HI" @ 2 20 12 26'
    child = make(page, sources=[parent["id"]], plan=plan)[0]
    assert (child["kind"], child["parent_id"]) == ("draw", parent["id"])
    assert page.get(f"/studio/api/tiles/{child['id']}/plan").json() == {"plan": plan}
    assert (engine.tasks[-1].plan, engine.tasks[-1].pictures) == (plan, ())


def test_a_picture_drawn_without_a_plan_has_an_empty_one(page: TestClient) -> None:
    tile = make(page)[0]
    assert page.get(f"/studio/api/tiles/{tile['id']}/plan").json() == {"plan": ""}


def test_a_picture_that_was_brought_in_is_upscaled_whatever_its_words(page: TestClient, engine: SceneryEngine) -> None:
    engine.learn_to_upscale()
    picture = encode_picture(scenery("x", 1, 100, 96), {"prompt": "кот " * 200}, ".png")
    brought = page.post("/studio/api/pictures?name=a.png", content=picture).json()
    child = make(page, task="upscale", prompt=brought["prompt"], sources=[brought["id"]], mode=None)[0]
    assert (child["width"], child["height"], child["parent_id"]) == (200, 192, brought["id"])


def test_a_picture_becomes_the_first_frame_of_a_clip_where_a_video_model_is_loaded(
    page: TestClient, service: Service
) -> None:
    pytest.importorskip("av", reason="PyAV is not installed")
    service.engines.add(FakeClips(name="clips"))
    parent = make(page)[0]
    child = make(page, task="video", model="clips", mode=None, sources=[parent["id"]], seconds=1)[0]
    assert (child["kind"], child["content_type"], child["parent_id"]) == ("video", "video/mp4", parent["id"])
    assert page.get(f"/studio/api/tiles/{child['id']}/content").content[4:8] == b"ftyp"


def test_an_edit_with_a_mask_changes_nothing_else(page: TestClient) -> None:
    parent = make(page)[0]
    mask = np.zeros((128, 128, 3), np.uint8)
    mask[:, 64:] = 255
    uri = "data:image/png;base64," + base64.b64encode(encode_picture(mask, {}, ".png")).decode()
    child = make(page, task="edit", prompt="storm", sources=[parent["id"]], mask=uri)[0]
    before, after = (pixels(page, each) for each in (parent, child))
    assert np.abs(before[:, :56] - after[:, :56]).mean() < 4 < np.abs(before[:, 72:] - after[:, 72:]).mean()


def pixels(page: TestClient, tile: dict[str, Any]) -> np.ndarray:
    content = page.get(f"/studio/api/tiles/{tile['id']}/content").content
    return np.array(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "nobody"}, "nobody does not exist"),
        ({"mode": "slow"}, "no mode"),
        ({"prompt": "x" * 500}, "500 characters"),
        ({"task": "edit", "sources": ["tile-unknown"]}, "no tile"),
        ({"task": "video"}, "scenery does not make videos"),
        ({"task": "upscale"}, "scenery cannot make pictures larger"),
        ({"mask": "data:image/png;base64,AAAA"}, "mask needs a picture"),
    ],
    ids=["model", "mode", "prompt", "source", "video", "upscale", "mask"],
)
def test_what_cannot_be_made_ends_with_one_sentence(page: TestClient, changes: dict[str, Any], words: str) -> None:
    with talking(page) as socket:
        socket.send_json(order(**changes))
        ended = until_ended(socket)[-1]
    assert ended["reason"] == "failed"
    assert words in ended["message"]


@pytest.mark.parametrize(("consent", "ending"), [(False, ("failed", True)), (True, ("done", None))])
def test_an_edit_of_a_person_is_refused_until_consent_is_stated(
    page: TestClient, consent: bool, ending: tuple[str, bool | None]
) -> None:
    source = make(page)[0]["id"]
    with talking(page) as socket:
        socket.send_json(order(task="edit", prompt="make her smile", sources=[source], subject_consent=consent))
        ended = until_ended(socket)[-1]
    assert (ended["reason"], ended.get("consent")) == ending


def test_consent_is_not_asked_for_where_it_would_not_help(page: TestClient) -> None:
    source = make(page)[0]["id"]
    with talking(page) as socket:
        socket.send_json(order(task="edit", prompt="undress her", sources=[source], subject_consent=True))
        ended = until_ended(socket)[-1]
    assert (ended["reason"], "consent" in ended) == ("failed", False)


def test_a_stream_whose_every_tile_fails_ends_by_itself(page: TestClient, engine: SceneryEngine) -> None:
    with talking(page) as socket:
        socket.send_json(order(prompt="x" * 500, count=None, allowed=100))
        said = until_ended(socket)
    assert sum(each["type"] == "failed" for each in said) <= 6


@pytest.mark.parametrize("message", [{"type": "dance"}, [], {"type": "start", "request": "r"}, order(count=65)])
def test_a_message_that_is_not_known_is_answered_and_the_page_goes_on(page: TestClient, message: Any) -> None:
    with talking(page) as socket:
        socket.send_json(message)
        assert socket.receive_json()["type"] == "refused"
        socket.send_json(order())
        assert until_ended(socket)[-1]["reason"] == "done"


def test_a_small_picture_is_sent_for_a_small_place(page: TestClient) -> None:
    big = encode_picture(scenery("big", 1, 1024, 512), {}, ".png")
    tile = page.post("/studio/api/pictures?name=big.png", content=big).json()
    small = page.get(f"/studio/api/tiles/{tile['id']}/content?side=256")
    assert small.headers["content-type"] == "image/webp"
    assert Image.open(io.BytesIO(small.content)).size == (256, 128)
    assert page.get(f"/studio/api/tiles/{tile['id']}/content").content == big


def test_a_picture_brought_in_keeps_the_words_inside_it(page: TestClient) -> None:
    content = encode_picture(scenery("a", 1, 64, 64), {"prompt": "from elsewhere", "seed": 3}, ".png")
    tile = page.post("/studio/api/pictures?name=a.png", content=content).json()
    assert (tile["kind"], tile["prompt"], tile["seed"]) == ("upload", "from elsewhere", 3)


def test_what_is_no_picture_is_refused_with_a_sentence(page: TestClient) -> None:
    answer = page.post("/studio/api/pictures?name=a.txt", content=b"words")
    assert answer.status_code == 400
    assert "a.txt is not a picture" in answer.text


def test_tiles_are_downloaded_together(page: TestClient) -> None:
    tiles = make(page, count=3, allowed=3)
    answer = page.post("/studio/api/download", json={"ids": [tile["id"] for tile in tiles]})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert len(archive.namelist()) == 3
        assert all(name.startswith("hills-") and name.endswith(".png") for name in archive.namelist())


def test_favourites_folders_and_removal_go_through_the_doors(page: TestClient) -> None:
    one, two = make(page, count=2, allowed=2)
    folder = page.post("/studio/api/folders", json={"name": "Best"}).json()
    page.patch("/studio/api/tiles", json={"ids": [one["id"]], "favourite": True, "folder_id": folder["id"]})
    assert page.get("/studio/api/tiles?favourites=true").json()["count"] == 1
    assert page.get(f"/studio/api/tiles?folder={folder['id']}").json()["tiles"][0]["id"] == one["id"]
    page.patch("/studio/api/tiles", json={"ids": [one["id"]], "folder_id": None})
    assert page.get("/studio/api/folders").json()["folders"][0]["count"] == 0
    assert page.post("/studio/api/tiles/remove", json={"ids": [two["id"]]}).json() == {"ids": [two["id"]]}
    assert page.get("/studio/api/tiles").json()["count"] == 1
    assert page.get(f"/studio/api/tiles/{two['id']}").status_code == 404
    assert page.post("/studio/api/tiles/bring-back", json={"ids": [two["id"]]}).json()["tiles"][0]["id"] == two["id"]


def test_a_second_device_sees_the_same_page(page: TestClient) -> None:
    page.put("/studio/api/state", json={"prompt": "half a sentence", "seed": 3})
    second = TestClient(page.app, base_url=HERE, client=("127.0.0.1", 50001))
    assert second.get("/studio/api/session").json()["state"] == {"prompt": "half a sentence", "seed": 3}


@pytest.mark.parametrize(
    ("body", "status"), [(b"[]", 400), (b"{", 400), (json.dumps({"a": "x" * 70_000}).encode(), 413)]
)
def test_a_page_state_that_cannot_be_kept_is_refused(page: TestClient, body: bytes, status: int) -> None:
    assert page.put("/studio/api/state", content=body).status_code == status


def test_two_keys_do_not_see_each_others_tiles(service: Service, page: TestClient) -> None:
    tile = make(page)[0]
    secret = service.state.keys.create("b").secret
    other = TestClient(page.app, base_url=HERE, client=("192.168.1.7", 50001))
    other.post("/studio/api/session", json={"key": secret})
    assert other.get("/studio/api/tiles").json()["count"] == 0
    assert other.get(f"/studio/api/tiles/{tile['id']}/content").status_code == 404


def test_a_server_with_a_public_address_asks_for_a_key_everywhere(service: Service) -> None:
    settings = replace(service.state.settings, public_url="https://pictures.example")
    object.__setattr__(service.state, "settings", settings)
    with browser(service) as opened:
        assert opened.get("/studio/api/session").json() == {"signed_in": False}
