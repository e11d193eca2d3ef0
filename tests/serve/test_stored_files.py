"""Stored files: owners, expiry, public addresses, shared bytes, takedown."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from polarlight.base.errors import UserError
from polarlight.serve import stored_files
from polarlight.serve.idempotency import IdempotencyConflict
from polarlight.serve.objects import ContentTooLarge
from polarlight.serve.state import State
from polarlight.serve.stored_files import NewFile, NoSuchFile

PNG = b"\x89PNG picture"
PDQ = f"{0xF << 252:064x}"


def picture(content: bytes = PNG, **values: object) -> NewFile:
    return NewFile(filename="fox.png", content=content, content_type="image/png", purpose="vision", **values)


@pytest.fixture
def key_id(state: State) -> str:
    return state.keys.create("a").key.id


@pytest.fixture
def other_id(state: State) -> str:
    return state.keys.create("b").key.id


def test_a_file_comes_back_with_its_name_type_and_bytes(state: State, key_id: str) -> None:
    file = state.files.add(key_id, picture())
    assert file == state.files.get(file.id, key_id)
    assert file.id.startswith("file-")
    assert (file.filename, file.content_type, file.purpose, file.bytes) == ("fox.png", "image/png", "vision", len(PNG))
    assert state.objects.get(file.object_key) == PNG


def test_a_name_that_climbs_folders_is_only_a_name(state: State, key_id: str) -> None:
    file = state.files.add(key_id, NewFile(filename="../../state.db", content=PNG))
    assert state.files.get(file.id).filename == "../../state.db"
    assert state.objects.get(file.object_key) == PNG


def test_another_key_sees_no_file(state: State, key_id: str, other_id: str) -> None:
    file = state.files.add(key_id, picture())
    for call in (state.files.get, state.files.delete, state.files.unpublish):
        with pytest.raises(NoSuchFile):
            call(file.id, other_id)
    assert state.files.page(other_id) == []


def test_a_file_that_is_too_large_is_refused_and_leaves_no_row(state: State, key_id: str) -> None:
    with pytest.raises(ContentTooLarge):
        state.files.add(key_id, picture(), most=3)
    assert state.files.page(key_id) == []


@pytest.mark.parametrize("name", ["a\0b.png", "a\nb.png", "\ud800.png"])
def test_a_name_that_cannot_be_shown_is_refused(state: State, key_id: str, name: str) -> None:
    with pytest.raises(UserError, match="name"):
        state.files.add(key_id, NewFile(filename=name, content=PNG))


def test_a_page_may_hold_one_purpose_alone(state: State, key_id: str) -> None:
    file = state.files.add(key_id, picture())
    state.files.add(key_id, NewFile(filename="requests.jsonl", content=b"{}", purpose="batch"))
    assert state.files.page(key_id, purpose="vision") == [file]


def test_pages_follow_one_another_in_both_orders(state: State, key_id: str) -> None:
    ids = [state.files.add(key_id, picture(bytes([number]))).id for number in range(5)]
    for newest_first, expected in ((True, ids[::-1]), (False, ids)):
        first = state.files.page(key_id, limit=2, newest_first=newest_first)
        rest = state.files.page(key_id, limit=9, after=first[-1].id, newest_first=newest_first)
        assert [file.id for file in first + rest] == expected


def test_equal_bytes_are_kept_once_and_go_with_the_last_file(state: State, key_id: str, other_id: str) -> None:
    first, second = state.files.add(key_id, picture()), state.files.add(other_id, picture())
    assert first.object_key == second.object_key
    state.files.delete(first.id)
    assert state.objects.get(second.object_key) == PNG
    state.files.delete(second.id, other_id)
    assert list(state.objects.keys()) == []


def test_an_expired_file_is_gone_at_once_and_purged_later(state: State, clock: object, key_id: str) -> None:
    file = state.files.add(key_id, picture(expires_in_s=60.0))
    kept = state.files.add(key_id, picture(b"kept"))
    token = state.files.publish(file.id).public_token
    assert token is not None
    clock.now += 60
    with pytest.raises(NoSuchFile):
        state.files.get(file.id)
    assert state.files.by_token(token) is None
    assert [each.id for each in state.files.page(key_id)] == [kept.id]
    assert state.files.purge() == 1
    assert list(state.objects.keys()) == [kept.object_key]


def test_many_expired_files_go_a_part_at_a_time(
    state: State, clock: object, key_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_files, "AT_ONCE", 2)
    for number in range(5):
        state.files.add(key_id, picture(bytes([number]), expires_in_s=60.0))
    clock.now += 60
    assert state.files.purge() == 5
    assert list(state.objects.keys()) == []


def test_a_public_address_opens_until_its_time_or_its_end(state: State, clock: object, key_id: str) -> None:
    file = state.files.add(key_id, picture())
    public = state.files.publish(file.id, 3600.0, key_id)
    assert public.public_until == clock.now + 3600
    assert state.files.by_token(public.public_token) == public
    clock.now += 3600
    assert state.files.by_token(public.public_token) is None
    again = state.files.publish(file.id)
    assert again.public_token != public.public_token
    assert state.files.by_token(again.public_token) == again
    state.files.unpublish(file.id)
    assert state.files.by_token(again.public_token) is None


def test_a_takedown_by_bytes_removes_them_from_every_key(state: State, key_id: str, other_id: str) -> None:
    doomed = [state.files.add(key, picture()) for key in (key_id, other_id)]
    kept = state.files.add(key_id, picture(b"kept"))
    taken = state.files.take_down(sha256=doomed[0].sha256)
    assert {file.id for file in taken} == {file.id for file in doomed}
    assert list(state.objects.keys()) == [kept.object_key]


@pytest.mark.parametrize(("bits", "found"), [(31, True), (32, False)])
def test_a_takedown_by_likeness_reaches_as_far_as_31_bits(state: State, key_id: str, bits: int, found: bool) -> None:
    file = state.files.add(key_id, picture(pdq=PDQ))
    state.files.add(key_id, picture(b"no hash"))
    near = f"{int(PDQ, 16) ^ ((1 << bits) - 1):064x}"
    assert [each.id for each in state.files.matching(pdq=near)] == [file.id] * found
    assert [each.id for each in state.files.matching(pdq=near, sha256=file.sha256)] == [file.id]


def test_adding_and_deleting_the_same_bytes_side_by_side_keeps_them_while_named(state: State, key_id: str) -> None:
    kept: list[str] = []

    def come_and_go(keep: bool) -> None:
        for _ in range(4):
            file = state.files.add(key_id, picture())
            kept.append(file.object_key) if keep else state.files.delete(file.id)

    threads = [threading.Thread(target=come_and_go, args=(number == 0,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(state.files.page(key_id)) == len(kept) == 4
    assert state.objects.get(kept[0]) == PNG


def test_pages_may_leave_purposes_out(state: State, key_id: str) -> None:
    ids = [state.files.add(key_id, picture(bytes([number]))).id for number in range(2)]
    for number in range(3):
        state.files.add(key_id, NewFile(filename="in.png", content=b"in", purpose=("input", "output")[number % 2]))
    ids.append(state.files.add(key_id, picture(b"last")).id)
    shown = {"limit": 2, "newest_first": False, "except_purposes": ("input", "output")}
    first = state.files.page(key_id, **shown)
    rest = state.files.page(key_id, after=first[-1].id, **shown)
    assert [file.id for file in first + rest] == ids


def test_an_upload_sent_twice_under_one_idempotency_key_is_one_file(state: State, key_id: str, other_id: str) -> None:
    first = state.files.add(key_id, picture(), idempotency_key="once")
    assert state.files.add(key_id, picture(), idempotency_key="once") == first
    assert state.files.add(key_id, picture()).id != first.id
    assert state.files.add(other_id, picture(), idempotency_key="once").id != first.id
    assert len(state.files.page(key_id)) == 2
    state.files.delete(first.id)
    assert state.files.add(key_id, picture(), idempotency_key="once").id != first.id


@pytest.mark.parametrize(
    "changed", [{"content": b"other bytes"}, {"filename": "wolf.png"}, {"purpose": "batch"}, {"expires_in_s": 60.0}]
)
def test_another_upload_under_the_same_idempotency_key_is_a_conflict_and_leaves_no_bytes(
    state: State, key_id: str, changed: dict
) -> None:
    first = state.files.add(key_id, picture(), idempotency_key="once")
    with pytest.raises(IdempotencyConflict):
        state.files.add(key_id, replace(picture(), **changed), idempotency_key="once")
    assert state.files.page(key_id) == [first]
    assert list(state.objects.keys()) == [first.object_key]


def test_an_upload_sent_many_times_at_once_is_one_file(state: State, key_id: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = pool.map(lambda _: state.files.add(key_id, picture(), idempotency_key="once").id, range(4))
    assert len(set(made)) == len(state.files.page(key_id)) == 1


def test_a_file_from_disk_stays_where_it_is(state: State, key_id: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(PNG)
    file = state.files.add(key_id, NewFile(filename="clip.mp4", content=path, content_type="video/mp4"))
    assert path.read_bytes() == state.objects.get(file.object_key) == PNG
