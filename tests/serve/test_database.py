"""Databases by URL, and transactions that are alone when they write."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from polarlight.base.errors import UserError
from polarlight.serve import database
from polarlight.serve.database import Database
from polarlight.serve.state import State


@pytest.mark.parametrize("url", ["mysql://host/name", "polarlight.db", "sqlite://", "sqlite:///:memory:"])
def test_another_kind_of_database_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="sqlite:///FILE"):
        Database(url)


def test_a_refused_address_does_not_show_its_password() -> None:
    with pytest.raises(UserError) as refused:
        Database("mysql://user:hunter2@host/name")
    assert "hunter2" not in str(refused.value)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="Cannot make the folder"):
        Database(f"sqlite:///{tmp_path}/file/state.db")


def test_sqlite_writes_ahead_and_syncs_every_commit(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/deep/state.db")
    with database.read() as connection:
        pragmas = [connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("journal_mode", "synchronous")]
        assert pragmas == ["wal", 2]
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
    database.close()


def test_an_exception_undoes_the_whole_transaction(state: State) -> None:
    key_id = state.keys.create("a").key.id

    def credit_and_break() -> None:
        with state.database.write() as connection:
            state.ledger.credit(key_id, 5, reference="x", within=connection)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        credit_and_break()
    assert state.ledger.balance(key_id) == 0


def test_reading_waits_for_no_writer(state: State) -> None:
    key_id = state.keys.create("a").key.id
    balances: list[int] = []
    with state.database.write() as connection:
        state.ledger.credit(key_id, 5, reference="x", within=connection)
        reader = threading.Thread(target=lambda: balances.append(state.ledger.balance(key_id)))
        reader.start()
        reader.join(timeout=10)
        assert balances == [0]
    assert state.ledger.balance(key_id) == 5


def test_threads_of_a_process_write_in_turn_and_none_finds_sqlite_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_WAIT_S", 0.0)
    impatient = Database(f"sqlite:///{tmp_path / 'state.db'}")  # SQLite itself would not wait
    monkeypatch.setattr(database, "LOCK_WAIT_S", 60.0)
    began = threading.Event()

    def second() -> None:
        began.set()
        with impatient.write():
            order.append("second")

    order: list[str] = []
    with ThreadPoolExecutor(1) as pool:
        with impatient.write():
            waiting = pool.submit(second)
            began.wait()
            time.sleep(0.05)
            order.append("first")
        waiting.result()
    assert order == ["first", "second"]
    impatient.close()
