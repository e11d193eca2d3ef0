"""The bytes that files share: kept while a file names them, gone with the last, whatever happens in between."""

import threading
from collections.abc import Callable

import pytest

from polarlight.serve import contents
from polarlight.serve.objects import Objects
from polarlight.serve.state import State
from polarlight.serve.stored_files import NewFile, StoredFiles

PNG = b"\x89PNG picture"


def picture(content: bytes = PNG) -> NewFile:
    return NewFile(filename="fox.png", content=content, content_type="image/png", purpose="vision")


@pytest.fixture
def key_id(state: State) -> str:
    return state.keys.create("a").key.id


def test_bytes_left_by_a_dead_process_are_swept_and_named_ones_stay(state: State, key_id: str) -> None:
    file = state.files.add(key_id, picture())
    lost = state.files.upload(picture(b"its process died before the row"))
    assert state.files.contents.sweep() == 0  # too young: the row may be about to come
    assert state.files.contents.sweep(older_than_s=0) == 1
    assert not state.objects.exists(lost.stored.key)
    assert state.objects.exists(file.object_key)


def test_a_sweep_goes_through_the_store_a_part_at_a_time_and_can_be_stopped(
    state: State, key_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "AT_ONCE", 2)
    kept = [state.files.add(key_id, picture(bytes([number]))).object_key for number in range(3)]
    for number in range(3, 8):
        state.files.upload(picture(bytes([number])))
    assert state.files.contents.sweep(older_than_s=0, stopped=lambda: True) == 0
    assert state.files.contents.sweep(older_than_s=0) == 5
    assert sorted(state.objects.keys()) == sorted(kept)


def test_bytes_are_swept_whose_deletion_was_cut_short(state: State, clock: object, key_id: str) -> None:
    file = state.files.add(key_id, picture())
    with state.database.write() as connection:
        state.files.remove(connection, [file])
    clock.now += 3600
    assert state.files.contents.sweep(older_than_s=0) == 1
    assert list(state.objects.keys()) == []


def test_bytes_that_were_dropped_before_their_row_came_are_stored_again(state: State, key_id: str) -> None:
    job = state.jobs.submit(key_id, "image", "m", {}, ticks=0)
    uploaded = state.files.upload(picture())
    assert state.files.contents.drop_unnamed([uploaded.stored.key]) == 1
    with state.files.entering([uploaded]) as connection:
        file = state.files.insert(connection, key_id, [uploaded], job.id)[0]
    assert state.objects.get(file.object_key) == PNG


class SlowStore(Objects):
    """A store that takes its time over one call, `slow`: `asked` says that it came, `go` lets it answer."""

    def __init__(self, url: str, slow: str) -> None:
        super().__init__(url)
        self.slow, self.asked, self.go = slow, threading.Event(), threading.Event()

    def exists(self, key: str) -> bool:
        found = super().exists(key)
        self._wait("exists")
        return found

    def delete(self, key: str) -> None:
        self._wait("delete")
        super().delete(key)

    def _wait(self, call: str) -> None:
        if call == self.slow:
            self.asked.set()
            assert self.go.wait(10)


def begun(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_bytes_are_not_dropped_while_a_row_for_them_comes(state: State, key_id: str) -> None:
    job = state.jobs.submit(key_id, "image", "m", {}, ticks=0)
    store = SlowStore(state.settings.objects_url, "exists")
    files, uploaded = StoredFiles(state.database, store, state.files.clock), state.files.upload(picture())

    def enter() -> None:
        with files.entering([uploaded]) as connection:
            files.insert(connection, key_id, [uploaded], job.id)

    entering = begun(enter)
    assert store.asked.wait(10)
    dropping = begun(lambda: state.files.contents.drop_unnamed([uploaded.stored.key]))
    dropping.join(0.2)
    assert dropping.is_alive()
    store.go.set()
    entering.join()
    dropping.join()
    assert state.objects.get(state.files.of_job(job.id)[0].object_key) == PNG


def test_a_store_that_is_slow_to_delete_holds_up_no_other_writer(state: State, key_id: str) -> None:
    file, store = state.files.add(key_id, picture()), SlowStore(state.settings.objects_url, "delete")
    files = StoredFiles(state.database, store, state.files.clock)
    deleting = begun(lambda: files.delete(file.id))
    assert store.asked.wait(10)
    written = threading.Event()
    writing = begun(lambda: (state.files.add(key_id, picture(b"other bytes")), written.set()))
    in_time = written.wait(5)
    store.go.set()
    deleting.join()
    writing.join()
    assert in_time
    assert len(list(state.objects.keys())) == 1
