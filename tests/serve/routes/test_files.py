"""Files over REST."""

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


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [("bytes=1-3", 206, b"ell"), ("bytes=3-", 206, b"lo"), ("bytes=-2", 206, b"lo"), ("bytes=9-", 416, None),
     ("bytes=0-1,3-4", 200, b"hello"), ("nonsense", 200, b"hello")],
)  # fmt: skip
def test_ranges_are_served(asked: str, status: int, content: bytes | None, tmp_path, migrated_file) -> None:
    @in_house()
    async def check(house: House) -> None:
        file = await uploaded(house)
        answer = await house.client.get(f"/v1/files/{file['id']}/content", headers={"range": asked})
        assert answer.status_code == status
        if content is not None:
            assert answer.content == content

    check(tmp_path, migrated_file)


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
