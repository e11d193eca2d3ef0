"""What holds for every route: keys, ids, errors without leaks, bounds."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from service_doors import House, in_house, made_home, picture_file

from polarlight.serve.app import make_app
from polarlight.serve.service import Service

PATHS = [
    ("POST", "/v1/images/generations"), ("POST", "/v1/images/edits"), ("POST", "/v1/images/variations"),
    ("POST", "/v1/videos"), ("POST", "/v1/videos/generations"), ("GET", "/v1/videos/video_x"), ("GET", "/v1/files"),
    ("GET", "/v1/models"), ("GET", "/metrics"), ("GET", "/v1/api-key"), ("GET", "/v1/me"), ("POST", "/v1/batches"),
    ("GET", "/v1/image-generation-models"), ("DELETE", "/v1/files/file-x"), ("POST", "/v1/batches/x:cancel"),
]  # fmt: skip


@in_house()
async def test_nothing_answers_without_a_key(house: House) -> None:
    async with house.client_with(None) as anybody:
        for method, path in PATHS:
            answer = await anybody.request(method, path, json={} if method == "POST" else None)
            assert answer.status_code == 401, path
            assert "No credentials presented." in answer.text


@in_house()
async def test_a_wrong_key_is_refused_in_the_dialect_of_the_request(house: House) -> None:
    async with house.client_with("xa-wrong-secret") as stranger:
        theirs = await stranger.post("/v1/images/generations", json={"prompt": "x", "model": "grok-imagine-image"})
        ours = await stranger.post("/v1/images/generations", json={"prompt": "x", "model": "gpt-image-1"})
        account = await stranger.get("/v1/api-key")
    assert (theirs.status_code, theirs.json()["error"]) == (400, "Incorrect API key provided: xa***.")
    assert (ours.status_code, ours.json()["error"]["code"]) == (401, "invalid_api_key")
    assert (account.status_code, account.json()["code"]) == (400, "invalid-argument")
    assert "wrong-secret" not in theirs.text + ours.text + account.text


@in_house()
async def test_a_revoked_key_ends_at_once(house: House) -> None:
    assert (await house.client.get("/v1/models")).status_code == 200
    house.state.keys.revoke(house.key.id)
    assert (await house.client.get("/v1/models")).status_code == 401


@in_house()
async def test_every_answer_has_a_request_id_and_a_clients_own_is_kept(house: House) -> None:
    for path in ("/health", "/v1/models", "/nothing"):
        assert (await house.client.get(path)).headers["x-request-id"].startswith("req_")
    own = await house.client.get("/health", headers={"x-request-id": "mine-1"})
    assert own.headers["x-request-id"] == "mine-1"
    forged = await house.client.get("/health", headers={"x-request-id": "a\tb"})
    assert forged.headers["x-request-id"].startswith("req_")


@in_house()
async def test_unknown_paths_and_wrong_methods_are_answered_in_shape(house: House) -> None:
    assert (await house.client.get("/v1/nothing")).json()["error"]["code"] == "not_found"
    wrong = await house.client.put("/v1/models")
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "GET"
    assert (await house.client.put("/v1/me")).json()["code"] == "method-not-allowed"


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [(b"{", "application/json", 400), (b"[]", "application/json", 400), (b"{}", "text/plain", 415),
     (b"[" * 100_000, "application/json", 400), (b"\xff", "application/json", 400), (b"", "application/json", 400)],
)  # fmt: skip
@in_house()
async def test_a_body_that_is_not_a_json_object_is_refused(house: House, body, kind, status) -> None:
    answer = await house.client.post("/v1/images/generations", content=body, headers={"content-type": kind})
    assert answer.status_code == status


@in_house()
async def test_text_that_cannot_be_stored_is_refused(house: House) -> None:
    wrong = [
        {"prompt": "a\0b"}, {"prompt": "x", "negative_prompt": "\0"}, {"prompt": "\ud800"},
        {"prompt": "x", "storage_options": {"filename": "a\nb"}}, {"prompt": "x", "seed": 1 << 63},
    ]  # fmt: skip
    for body in wrong:
        content = json.dumps(body).encode()
        answer = await house.client.post(
            "/v1/images/generations", content=content, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 400, body
    assert (await house.client.get("/v1/files/a%00b")).status_code == 400
    assert (await house.client.get("/v1/files?after=%00")).status_code == 400
    assert house.jobs() == []


@in_house()
async def test_a_broken_form_is_refused(house: House) -> None:
    headers = {"content-type": "multipart/form-data; boundary=x"}
    for body in (b"--x\r\nnonsense", b"no boundary at all"):
        answer = await house.client.post("/v1/images/edits", content=body, headers=headers)
        assert answer.status_code == 400
    answer = await house.client.post("/v1/images/edits", content=b"x", headers={"content-type": "multipart/form-data"})
    assert answer.status_code == 400


@in_house()
async def test_an_unexpected_error_of_an_engine_says_nothing_of_itself(house: House) -> None:
    house.images.error = RuntimeError("a secret path")
    theirs = await house.client.post("/v1/images/generations", json={"prompt": "x", "model": "grok-imagine-image"})
    assert (theirs.status_code, theirs.json()["code"]) == (500, "internal")
    assert "secret" not in theirs.text
    assert house.charged() == 0


@in_house()
async def test_a_fault_of_the_service_itself_is_a_plain_500_with_an_id(house: House) -> None:
    house.service.state.database.engine.dispose()
    with house.state.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE jobs RENAME TO elsewhere")
    answer = await house.client.post("/v1/images/generations", json={"prompt": "x", "model": "gpt-image-1"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal_error")
    assert "elsewhere" not in answer.text
    assert "jobs" not in answer.text
    assert answer.headers["x-request-id"].startswith("req_")
    with house.state.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE elsewhere RENAME TO jobs")


@in_house(body_bytes=10_000)
async def test_a_body_above_the_limit_is_refused_whether_announced_or_not(house: House) -> None:
    announced = await house.client.post("/v1/images/generations", content=bytes(20_000))
    assert (announced.status_code, announced.json()["error"]["code"]) == (413, "payload_too_large")

    async def parts():
        for _ in range(20):
            yield bytes(1000)

    headers = {"content-type": "application/json"}
    assert (await house.client.post("/v1/images/generations", content=parts(), headers=headers)).status_code == 413


@in_house(body_s=0.1)
async def test_a_client_that_is_silent_in_the_middle_of_its_body_is_let_go(house: House) -> None:
    async def parts():
        yield b'{"prompt":'
        await asyncio.sleep(1)
        yield b'"x"}'

    answer = await house.client.post(
        "/v1/images/generations", content=parts(), headers={"content-type": "application/json"}
    )
    assert answer.status_code == 408


@pytest.mark.parametrize(
    "content",
    [b"not a picture", b"\x89PNG\r\n\x1a\n" + bytes(50), b"GIF89a" + bytes(50), b"<svg/>", b""],
    ids=["text", "cut off", "gif", "svg", "empty"],
)
@in_house()
async def test_what_is_no_picture_is_refused_as_an_input(house: House, content: bytes) -> None:
    files = {"image": ("in.png", content, "image/png")}
    answer = await house.client.post("/v1/images/edits", data={"prompt": "x"}, files=files)
    assert answer.status_code == 400
    assert "Traceback" not in answer.text


@in_house()
async def test_a_decompression_bomb_is_refused_before_it_unpacks(house: House) -> None:
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")
    files = {"image": ("in.png", bomb, "image/png")}
    answer = await house.client.post("/v1/images/edits", data={"prompt": "x"}, files=files)
    assert (answer.status_code, "megapixels" in answer.text) == (400, True)


@pytest.mark.parametrize("path", ["/public/..%2f..%2fpolarlight.db", "/public/x.png", "/v1/files/..%2f..%2fx/content"])
@in_house()
async def test_a_path_that_climbs_finds_nothing(house: House, path: str) -> None:
    assert (await house.client.get(path)).status_code == 404


@in_house()
async def test_one_line_of_json_is_logged_for_each_request(house: House, caplog) -> None:
    with caplog.at_level(logging.INFO, "polarlight.serve.requests"):
        await house.client.post(
            "/v1/images/edits", data={"prompt": "secret words"}, files={"image": ("a", picture_file())}
        )
    line = json.loads(caplog.records[-1].message)
    assert (line["status"], line["path"], line["key"]) == (200, "/v1/images/edits", house.key.id)
    assert "secret words" not in caplog.text
    with caplog.at_level(logging.INFO, "polarlight.serve.requests"):
        await house.client.get("/public/abcdefg.png")
    assert "abcdefg" not in caplog.records[-1].message
    assert house.secret not in caplog.text


def test_other_doors_open_after_the_service_and_close_before_it(tmp_path, migrated_file) -> None:
    seen = []

    @asynccontextmanager
    async def door(service: Service) -> AsyncIterator[None]:
        seen.append(("open", service.draining))
        yield
        seen.append(("closed", service.draining))

    async def go() -> None:
        house = House(made_home(tmp_path, migrated_file))
        app = make_app(house.service, [door])
        async with app.router.lifespan_context(app):
            assert seen == [("open", False)]

    asyncio.run(go())
    assert seen == [("open", False), ("closed", False)]
