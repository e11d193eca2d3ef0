"""Files by xAI's own client."""

import asyncio
import io
import threading
from collections.abc import Iterator

import grpc
import httpx
import pytest
from service_doors import picture_file
from xai_sdk.proto import files_pb2, files_pb2_grpc


def test_a_file_is_kept_read_and_deleted(client) -> None:
    file = client.files.upload(b"hello", filename="a.txt", expires_after=7200)
    assert (file.filename, file.size) == ("a.txt", 5)
    assert file.expires_at.seconds - file.created_at.seconds == 7200
    assert client.files.get(file.id) == file
    assert client.files.content(file.id) == b"hello"
    assert client.files.delete(file.id).deleted
    with pytest.raises(grpc.RpcError) as error:
        client.files.get(file.id)
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


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
    with pytest.raises(grpc.RpcError) as error:
        client.files.list(**ask)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


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


def test_files_of_others_are_not_found(client, served) -> None:
    file = client.files.upload(b"mine", filename="a.txt")
    with served.client(served.house.other) as stranger:
        for ask in (stranger.files.get, stranger.files.content, stranger.files.delete):
            with pytest.raises(grpc.RpcError) as error:
                ask(file.id)
            assert error.value.code() is grpc.StatusCode.NOT_FOUND
    assert client.files.content(file.id) == b"mine"


def test_an_upload_without_a_name_is_refused(served) -> None:
    metadata = (("authorization", f"Bearer {served.house.secret}"),)
    with grpc.insecure_channel(served.address) as channel, pytest.raises(grpc.RpcError) as error:
        files_pb2_grpc.FilesStub(channel).UploadFile(iter([files_pb2.UploadFileChunk(data=b"x")]), metadata=metadata)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_an_upload_that_is_too_large_or_stops_is_ended(strict) -> None:
    with strict.client() as client, pytest.raises(grpc.RpcError) as error:
        client.files.upload(b"x" * 1001, filename="a.txt")
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    silent, metadata = threading.Event(), (("authorization", f"Bearer {strict.house.secret}"),)

    def parts() -> Iterator[files_pb2.UploadFileChunk]:
        yield files_pb2.UploadFileChunk(init=files_pb2.UploadFileInit(name="a.txt"))
        silent.wait(10)

    with grpc.insecure_channel(strict.address) as channel:
        with pytest.raises(grpc.RpcError) as error:
            files_pb2_grpc.FilesStub(channel).UploadFile(parts(), metadata=metadata)
        silent.set()
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert error.value.details() == "The file did not arrive in time."


def test_a_folder_in_the_name_is_left_out(client) -> None:
    assert client.files.upload(b"x", filename="../../etc/passwd").filename == "passwd"


def test_the_asynchronous_client_keeps_files(served) -> None:
    async def go() -> bytes:
        async with served.aio_client() as client:
            file = await client.files.upload(b"hello", filename="a.txt")
            return await client.files.content(file.id)

    assert asyncio.run(go()) == b"hello"
