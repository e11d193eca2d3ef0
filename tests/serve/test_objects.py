"""The object store: a folder, and S3 where its stand-in is installed."""

import errno
import hashlib
import os
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from obstore.exceptions import GenericError
from service_nursery import free_ports

from polarlight.base.errors import UserError
from polarlight.serve import objects as objects_module
from polarlight.serve.objects import CHUNK, ContentTooLarge, Objects, StoreUnavailable, streamed

PNG = b"\x89PNG picture"


@pytest.fixture(params=["folder", "s3"])
def objects(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Objects:
    if request.param == "folder":
        return Objects((tmp_path / "objects").as_uri())
    address = request.getfixturevalue("s3_address")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return Objects(f"s3://pictures/{uuid.uuid4()}?endpoint={address}&region=us-east-1")


def test_what_is_put_comes_back_under_the_name_of_its_bytes(objects: Objects) -> None:
    stored = objects.put(PNG, "image/png")
    digest = hashlib.sha256(PNG).hexdigest()
    assert (stored.key, stored.sha256, stored.bytes) == (f"{digest[:2]}/{digest}.png", digest, len(PNG))
    assert objects.get(stored.key) == PNG
    assert objects.exists(stored.key)


def test_bytes_a_file_and_parts_are_the_same_object(objects: Objects, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(PNG)
    parts = iter([PNG[:3], b"", PNG[3:]])
    assert objects.put(PNG) == objects.put(path) == objects.put(parts)
    assert list(objects.keys()) == [objects.put(PNG).key]


def test_a_deleted_object_is_gone_and_deleting_again_is_no_error(objects: Objects) -> None:
    key = objects.put(PNG).key
    objects.delete(key)
    objects.delete(key)
    assert not objects.exists(key)
    with pytest.raises(FileNotFoundError):
        objects.get(key)


def test_a_range_is_read_and_its_end_is_cut(objects: Objects) -> None:
    key = objects.put(PNG, "image/png").key
    reading = objects.open(key, 4, 10**9)
    assert b"".join(reading.parts) == PNG[4:]
    assert (reading.content_type, reading.total, reading.start, reading.end) == ("image/png", len(PNG), 4, len(PNG))


def test_a_large_object_is_read_in_parts(objects: Objects) -> None:
    content = os.urandom(3 * CHUNK + 1)
    parts = list(objects.open(objects.put(content, "video/mp4").key).parts)
    assert b"".join(parts) == content
    assert len(parts) > 1


def test_an_empty_object_is_an_object(objects: Objects) -> None:
    key = objects.put(b"", "text/plain").key
    assert objects.get(key) == b"".join(objects.open(key).parts) == b""


@pytest.mark.parametrize(("start", "end"), [(len(PNG), None), (5, 5), (-1, 3)])
def test_a_range_outside_the_object_is_refused(objects: Objects, start: int, end: int | None) -> None:
    key = objects.put(PNG).key
    with pytest.raises(ValueError, match="range"):
        objects.open(key, start, end)


def test_more_bytes_than_allowed_are_refused_and_leave_nothing(objects: Objects, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(PNG)
    for content in (PNG, path, iter([PNG])):
        with pytest.raises(ContentTooLarge):
            objects.put(content, most=len(PNG) - 1)
    assert list(objects.keys()) == []
    assert objects.put(PNG, most=len(PNG)).bytes == len(PNG)


def test_parts_that_break_off_leave_nothing(objects: Objects) -> None:
    def parts() -> Iterator[bytes]:
        yield PNG
        raise ConnectionError("the client left")

    with pytest.raises(ConnectionError):
        objects.put(parts())
    assert list(objects.keys()) == []


@pytest.mark.parametrize(
    "key", ["../state.db", "ab/../../state.db", "/etc/passwd", "", "ab/" + "0" * 64 + "/..", "AB/" + "0" * 64]
)
def test_a_name_that_put_cannot_have_made_never_reaches_the_store(objects: Objects, key: str) -> None:
    assert not objects.exists(key)
    for use in (objects.get, objects.open):
        with pytest.raises(FileNotFoundError, match="can have the key"):
            use(key)


def test_an_unknown_type_is_stored_as_plain_bytes(objects: Objects) -> None:
    key = objects.put(PNG, "application/x-strange; name=../../x").key
    assert key == f"{key[:2]}/{hashlib.sha256(PNG).hexdigest()}"
    assert objects.open(key).content_type == "application/octet-stream"


def test_listing_may_leave_out_what_was_written_just_now(objects: Objects) -> None:
    objects.put(PNG)
    assert list(objects.keys(older_than_s=100)) == []


def test_what_a_dead_writer_left_half_done_is_no_object_and_is_dropped(tmp_path: Path) -> None:
    objects = Objects(tmp_path.as_uri())
    key = objects.put(PNG, "image/png").key
    (tmp_path / key[:2] / f".{key[3:67]}-abc.png").write_bytes(PNG[:3])
    assert list(objects.keys()) == [key]
    assert objects.drop_leftovers(older_than_s=100) == 0
    assert objects.drop_leftovers(older_than_s=0) == 1
    assert [path.name for path in (tmp_path / key[:2]).iterdir()] == [key[3:]]


def test_a_half_file_that_its_writer_finishes_meanwhile_stops_no_clearing_up(tmp_path: Path) -> None:
    objects = Objects(tmp_path.as_uri())
    folder = tmp_path / objects.put(PNG, "image/png").key[:2]
    (folder / ".gone-abc.png").symlink_to("nowhere")  # listed, and not there when it is looked at
    (folder / ".half-abc.png").write_bytes(PNG[:3])
    assert objects.drop_leftovers(older_than_s=0) == 1


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_said_without_the_servers_paths_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, caplog: pytest.LogCaptureFixture
) -> None:
    objects, write = Objects((tmp_path / "objects").as_uri()), Path.write_bytes

    def half(path: Path, content: bytes) -> int:
        write(path, content[:3])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(StoreUnavailable) as error:
        objects.put(PNG)
    assert str(error.value) == "The server's disk is full. Try again later."
    assert os.strerror(number) in caplog.text
    assert [path for path in (tmp_path / "objects").rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_written_is_said_without_the_servers_paths(tmp_path: Path) -> None:
    objects = Objects((tmp_path / "objects").as_uri())
    (tmp_path / "objects" / hashlib.sha256(PNG).hexdigest()[:2]).write_text("a file where a folder should be")
    with pytest.raises(StoreUnavailable) as error:
        objects.put(PNG)
    assert str(error.value) == "The file store does not answer. Try again later."


USES = {
    "put": lambda objects, key: objects.put(PNG),
    "get": lambda objects, key: objects.get(key),
    "open": lambda objects, key: objects.open(key),
    "exists": lambda objects, key: objects.exists(key),
    "delete": lambda objects, key: objects.delete(key),
    "keys": lambda objects, key: list(objects.keys()),
}


@pytest.mark.parametrize("use", USES)
def test_a_bucket_that_does_not_answer_is_said_as_such(monkeypatch: pytest.MonkeyPatch, use: str) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setattr(objects_module, "PATIENCE", {"max_retries": 0})
    objects = Objects(f"s3://pictures?endpoint=http://127.0.0.1:{free_ports(1)[0]}&region=us-east-1")
    with pytest.raises(StoreUnavailable, match="The file store does not answer"):
        USES[use](objects, f"ab/{'ab' * 32}")


def test_a_bucket_that_stops_answering_in_the_middle_is_said_as_such() -> None:
    class Broken:
        def stream(self, min_chunk_size: int) -> Iterator[bytes]:
            yield PNG
            raise GenericError("the line broke")

    parts = streamed(Broken())
    assert next(parts) == PNG
    with pytest.raises(StoreUnavailable):
        next(parts)


def test_a_folder_has_no_signed_addresses(tmp_path: Path) -> None:
    objects = Objects(tmp_path.as_uri())
    assert objects.signed_url(objects.put(PNG).key, 60) is None


@pytest.mark.parametrize("objects", ["s3"], indirect=True)
def test_a_signed_address_of_a_bucket_serves_the_bytes_with_their_type(objects: Objects) -> None:
    url = objects.signed_url(objects.put(PNG, "image/png").key, 60)
    assert url is not None
    with urllib.request.urlopen(url) as answer:
        assert (answer.read(), answer.headers["content-type"]) == (PNG, "image/png")


@pytest.mark.parametrize("url", ["ftp://host/x", "folder", "s3:///x", "s3://bucket?key=secret"])
def test_another_kind_of_address_is_refused(url: str) -> None:
    with pytest.raises(UserError):
        Objects(url)
