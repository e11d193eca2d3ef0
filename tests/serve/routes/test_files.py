"""Files over REST."""

import errno
import os
from pathlib import Path

import httpx
import pytest
from service_doors import House, in_house, picture_file


async def uploaded(house: House, content: bytes = b"hello", name: str = "a.txt", **fields: str) -> dict:
    answer = await house.client.post("/v1/files", data=fields, files={"file": (name, content, "text/plain")})
    assert answer.status_code == 200, answer.text
    return answer.json()


@in_house()
async def test_a_file_is_kept_found_read_and_deleted(house: House) -> None:
    file = await uploaded(house, purpose="vision")
    assert (file["object"], file["bytes"], file["filename"], file["purpose"]) == ("file", 5, "a.txt", "vision")
    assert (await house.client.get(f"/v1/files/{file['id']}")).json() == file
    assert (await house.client.get(f"/v1/files/{file['id']}/content")).content == b"hello"
    gone = await house.client.delete(f"/v1/files/{file['id']}")
    assert gone.json() == {"id": file["id"], "object": "file", "deleted": True}
    assert (await house.client.get(f"/v1/files/{file['id']}")).status_code == 404


@in_house()
async def test_files_are_listed_page_by_page_and_inputs_are_not_among_them(house: House) -> None:
    ids = [(await uploaded(house, name=f"{n}.txt"))["id"] for n in range(3)]
    files = {"image": ("in.png", picture_file(), "image/png")}
    assert (await house.client.post("/v1/images/edits", data={"prompt": "x"}, files=files)).status_code == 200
    first = (await house.client.get("/v1/files", params={"limit": 2, "order": "asc"})).json()
    assert [file["id"] for file in first["data"]] == ids[:2]
    assert first["has_more"] is True
    rest = {"limit": 2, "order": "asc", "pagination_token": first["pagination_token"]}
    second = (await house.client.get("/v1/files", params=rest)).json()
    assert ([file["id"] for file in second["data"]], second["has_more"]) == (ids[2:], False)
    for wrong in ({"filter": "bytes > 5"}, {"sort_by": "size"}, {"limit": 0}, {"after": "file-unknown"}):
        assert (await house.client.get("/v1/files", params=wrong)).status_code in (400, 404)


@in_house()
async def test_an_upload_repeated_with_its_idempotency_key_is_one_file_and_another_is_a_conflict(house: House) -> None:
    async def upload(content: bytes, key: str = "once") -> httpx.Response:
        files = {"file": ("a.txt", content, "text/plain")}
        return await house.client.post("/v1/files", files=files, headers={"idempotency-key": key})

    first = await upload(b"hello")
    again = await upload(b"hello")
    assert (again.status_code, again.json()) == (200, first.json())
    assert (await upload(b"hello", "another")).json()["id"] != first.json()["id"]
    other = await upload(b"bye")
    assert (other.status_code, other.json()["error"]["code"]) == (409, "idempotency_conflict")
    assert len((await house.client.get("/v1/files")).json()["data"]) == 2


@in_house()
async def test_an_upload_that_finds_the_disk_full_is_answered_with_503_and_leaves_no_file(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    answer = await house.client.post("/v1/files", files={"file": ("a.txt", b"x", "text/plain")})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "10")
    assert answer.json()["error"]["message"] == "The server's disk is full. Try again later."
    assert (await house.client.get("/v1/files")).json()["data"] == []


@in_house()
async def test_another_keys_file_does_not_exist(house: House) -> None:
    file = await uploaded(house)
    async with house.client_with(house.other) as other:
        for path in ("", "/content"):
            assert (await other.get(f"/v1/files/{file['id']}{path}")).status_code == 404
        assert (await other.delete(f"/v1/files/{file['id']}")).status_code == 404
        edit = {"prompt": "x", "image": {"file_id": file["id"]}}
        assert (await other.post("/v1/images/edits", json=edit)).status_code == 404


@in_house()
async def test_a_public_address_is_given_used_and_revoked(house: House) -> None:
    file = await uploaded(house)
    path = f"/v1/files/{file['id']}/public-url"
    given = (await house.client.post(path, json={"expires_after": 3600})).json()
    async with house.client_with(None) as anybody:
        found = await anybody.get(given["public_url"])
        assert (found.content, found.headers["x-content-type-options"]) == (b"hello", "nosniff")
        revoked = (await house.client.post(f"{path}/revoke")).json()
        assert revoked == {"id": file["id"], "revoked": True, "public_url": given["public_url"]}
        assert (await anybody.get(given["public_url"])).status_code == 404


@in_house()
async def test_a_file_shows_its_public_address_and_until_when_it_is_good(house: House) -> None:
    file = await uploaded(house)
    assert (file["public_url"], file["public_url_expires_at"]) == (None, None)
    path = f"/v1/files/{file['id']}"
    given = (await house.client.post(f"{path}/public-url", json={"expires_after": 3600})).json()
    shown = (await house.client.get(path)).json()
    assert (shown["public_url"], shown["public_url_expires_at"]) == (given["public_url"], given["expires_at"])
    assert (await house.client.get("/v1/files")).json()["data"] == [shown]
    house.state.files.publish(file["id"], -1.0)  # its time is over
    ended = (await house.client.get(path)).json()
    assert (ended["public_url"], ended["public_url_expires_at"]) == (None, None)


@pytest.mark.parametrize("public", [{}, {"expires_after": None}, True])
@in_house()
async def test_an_output_may_be_kept_at_a_public_address_for_the_usual_time(house: House, public: object) -> None:
    kept = {"filename": "cat.png", "public_url": public}
    body = {"prompt": "a cat", "model": "grok-imagine-image", "storage_options": kept}
    answer = await house.client.post("/v1/images/generations", json=body)
    assert answer.status_code == 200, answer.text
    said = answer.json()["data"][0]["file_output"]
    shown = (await house.client.get(f"/v1/files/{said['file_id']}")).json()
    assert said["public_url"] == shown["public_url"] is not None
    assert shown["public_url_expires_at"] - shown["created_at"] == pytest.approx(house.service.options.url_s, abs=30)


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [("bytes=1-3", 206, b"ell"), ("bytes=3-", 206, b"lo"), ("bytes=-2", 206, b"lo"), ("bytes=9-", 416, None),
     ("bytes=0-1,3-4", 200, b"hello"), ("nonsense", 200, b"hello")],
)  # fmt: skip
@in_house()
async def test_ranges_are_served(house: House, asked: str, status: int, content: bytes | None) -> None:
    file = await uploaded(house)
    answer = await house.client.get(f"/v1/files/{file['id']}/content", headers={"range": asked})
    assert answer.status_code == status
    if content is not None:
        assert answer.content == content


@in_house()
async def test_a_file_that_a_browser_could_run_is_only_downloaded(house: House) -> None:
    page = {"file": ("a.html", b"<script>alert(1)</script>", "text/html")}
    file = (await house.client.post("/v1/files", files=page)).json()
    answer = await house.client.get(f"/v1/files/{file['id']}/content")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")


@in_house()
async def test_a_path_in_a_files_name_leads_nowhere(house: House) -> None:
    file = await uploaded(house, name="../../etc/passwd")
    assert file["filename"] == "passwd"


@in_house()
async def test_a_form_without_a_file_and_a_wrong_time_are_refused(house: House) -> None:
    assert (await house.client.post("/v1/files", files={"other": b"x"})).status_code == 400
    files = {"file": ("a.txt", b"x", "text/plain")}
    for wrong in ({"expires_after": "0"}, {"expires_after[seconds]": "x", "expires_after[anchor]": "created_at"}):
        assert (await house.client.post("/v1/files", data=wrong, files=files)).status_code == 400
    good = await uploaded(house, **{"expires_after[seconds]": "3600", "expires_after[anchor]": "created_at"})
    assert good["expires_at"] - good["created_at"] == 3600


@in_house()
async def test_a_file_above_the_limit_is_refused_with_413(house: House) -> None:
    most = house.settings.limits.file_bytes
    answer = await house.client.post("/v1/files", files={"file": ("big", bytes(most + 1))})
    assert answer.status_code == 413
    assert (await house.client.get("/v1/files")).json()["data"] == []
