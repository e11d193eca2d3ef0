"""Files by xAI's own client."""

import asyncio
import errno
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from service_doors import picture_file
from service_grpc import Code, refused
from xai_sdk.proto import files_pb2, files_pb2_grpc


def test_a_file_is_kept_read_and_deleted(client) -> None:
    file = client.files.upload(b"hello", filename="a.txt", expires_after=7200)
    assert (file.filename, file.size) == ("a.txt", 5)
    assert file.expires_at.seconds - file.created_at.seconds == 7200
    assert client.files.get(file.id) == file
    assert client.files.content(file.id) == b"hello"
    assert client.files.delete(file.id).deleted
    with refused(Code.NOT_FOUND):
        client.files.get(file.id)


def test_a_file_of_many_parts_comes_back_whole(client) -> None:
    content = bytes(range(256)) * (30 << 10)  # 7.5 MiB: three parts on the way in
    file = client.files.upload(io.BytesIO(content), filename="a.bin")
    assert client.files.content(file.id) == content


def test_an_empty_file_is_a_file(client) -> None:
    assert client.files.content(client.files.upload(b"", filename="empty.txt").id) == b""


def test_files_are_listed_page_by_page_in_either_order(served) -> None:
    made = served.house.state.keys.create("lists")
    with served.client(made.secret) as client:
        ids = [client.files.upload(b"x", filename=f"{n}.txt").id for n in range(3)]
        first = client.files.list(limit=2, order="desc")
        rest = client.files.list(limit=2, order="desc", pagination_token=first.pagination_token)
        assert [file.id for page in (first, rest) for file in page.data] == ids[::-1]
        assert not rest.HasField("pagination_token")
        assert [file.id for file in client.files.list(order="asc").data] == ids


@pytest.mark.parametrize("ask", [{"sort_by": "size"}, {"filter": 'name = "a"'}, {"limit": 20_000}])
def test_a_list_refuses_what_it_does_not_do(client, ask: dict) -> None:
    with refused(Code.INVALID_ARGUMENT):
        client.files.list(**ask)


def test_a_file_has_a_public_address_until_it_is_revoked(client) -> None:
    content = picture_file()
    file = client.files.upload(content, filename="cat.png")
    url = client.files.create_public_url(file.id, expires_after=3600).public_url
    answer = httpx.get(url)
    assert (answer.content, answer.headers["content-type"]) == (content, "image/png")
    assert client.files.get(file.id).public_url == url
    assert client.files.revoke_public_url(file.id).public_url == url
    assert httpx.get(url).status_code == 404
    assert not client.files.revoke_public_url(file.id).revoked


def test_an_upload_repeated_with_its_idempotency_key_is_one_file(served) -> None:
    with served.client(metadata=(("idempotency-key", "one file"),)) as client:
        first = client.files.upload(b"hello", filename="a.txt")
        assert client.files.upload(b"hello", filename="a.txt") == first
        with refused(Code.ABORTED):
            client.files.upload(b"bye", filename="a.txt")


def test_an_upload_that_finds_the_disk_full_is_unavailable(served, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    init, data = (
        files_pb2.UploadFileChunk(init=files_pb2.UploadFileInit(name="a")),
        files_pb2.UploadFileChunk(data=b"full"),
    )
    with served.channel() as channel, refused(Code.UNAVAILABLE, "The server's disk is full."):
        files_pb2_grpc.FilesStub(channel).UploadFile(iter([init, data]), metadata=served.metadata)


def test_files_of_others_are_not_found(client, served) -> None:
    file = client.files.upload(b"mine", filename="a.txt")
    with served.client(served.house.other) as stranger:
        for ask in (stranger.files.get, stranger.files.content, stranger.files.delete):
            with refused(Code.NOT_FOUND):
                ask(file.id)
    assert client.files.content(file.id) == b"mine"


def test_an_upload_without_a_name_is_refused(served) -> None:
    with served.channel() as channel, refused(Code.INVALID_ARGUMENT):
        files_pb2_grpc.FilesStub(channel).UploadFile(
            iter([files_pb2.UploadFileChunk(data=b"x")]), metadata=served.metadata
        )


def test_an_upload_that_is_too_large_or_stops_is_ended(strict) -> None:
    with strict.client() as client, refused(Code.INVALID_ARGUMENT):
        client.files.upload(b"x" * 1001, filename="a.txt")
    silent = threading.Event()

    def parts() -> Iterator[files_pb2.UploadFileChunk]:
        yield files_pb2.UploadFileChunk(init=files_pb2.UploadFileInit(name="a.txt"))
        silent.wait(10)

    with strict.channel() as channel:
        with refused(Code.DEADLINE_EXCEEDED, "The file did not arrive in time."):
            files_pb2_grpc.FilesStub(channel).UploadFile(parts(), metadata=strict.metadata)
        silent.set()


def test_a_folder_in_the_name_is_left_out(client) -> None:
    assert client.files.upload(b"x", filename="../../etc/passwd").filename == "passwd"


def test_the_asynchronous_client_keeps_files(served) -> None:
    async def go() -> bytes:
        async with served.aio_client() as client:
            file = await client.files.upload(b"hello", filename="a.txt")
            return await client.files.content(file.id)

    assert asyncio.run(go()) == b"hello"
