"""One database behind the service: SQLite in a file by default, PostgreSQL by URL, the same code for both.

The engine is synchronous and used from threads (`asyncio.to_thread` in the server). SQLite has no asynchronous driver,
only threads in disguise; the migrations are synchronous as well; and a transaction here lasts about a millisecond, so
an asynchronous engine would add a second spelling of every statement and no speed.
"""

from __future__ import annotations

import importlib.util
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Table, bindparam, create_engine, event, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError

from polarlight.base.errors import UserError

from . import tables

Clock = Callable[[], float]  # seconds since 1970; workers on several hosts need clocks that agree within a lease
Row = Any  # a row of a result, by column names (SQLAlchemy's own Row cannot be checked while tests run)
LOCK_WAIT_S = 60.0
# built once: it is asked several times a request, and building it takes twice as long as asking
LOCKED_KEY = select(tables.keys).where(tables.keys.c.id == bindparam("wanted")).with_for_update(key_share=True)


class Database:
    """A pool of connections, with transactions that are correct on both databases.

    On SQLite a writing transaction is the only one at its time (BEGIN IMMEDIATE). On PostgreSQL writers run side by
    side and lock the rows they decide on.
    """

    def __init__(self, url: str) -> None:
        """Prepare the pool; the schema is made by `migrations.migrate`.

        Raises:
            UserError: the URL is neither SQLite's nor PostgreSQL's, PostgreSQL's driver is not installed,
                or the folder of the file cannot be made.
        """
        address = address_of(url)
        self.sqlite = address.get_backend_name() == "sqlite"
        if self.sqlite:
            make_folder(Path(address.database or "").parent)
            self.engine = create_engine(address, connect_args={"timeout": LOCK_WAIT_S})
            event.listen(self.engine, "connect", prepare_sqlite)
            event.listen(self.engine, "begin", begin_sqlite)
        else:
            self.engine = create_engine(address, pool_pre_ping=True)
        self._writing = self.engine.execution_options(writes=True)
        self._turn = threading.Lock()

    @contextmanager
    def write(self, within: Connection | None = None) -> Iterator[Connection]:
        """A transaction that may write: committed at the end, undone by any exception.

        With `within`, the same connection comes back and its own transaction decides.
        """
        if within is not None:
            yield within
            return
        with self._one_writer(), self._writing.begin() as connection:
            yield connection

    @contextmanager
    def _one_writer(self) -> Iterator[None]:
        """On SQLite the threads of a process queue here: its own way to wait sleeps for up to 100 ms between two looks.

        Who waits too long goes on without a turn, and SQLite says that the database is locked.
        """
        turn = self.sqlite and self._turn.acquire(timeout=LOCK_WAIT_S)
        try:
            yield
        finally:
            if turn:
                self._turn.release()

    @contextmanager
    def read(self, within: Connection | None = None) -> Iterator[Connection]:
        """A transaction that only reads; on SQLite it waits for nobody."""
        if within is not None:
            yield within
            return
        with self.engine.begin() as connection:
            yield connection

    def lock_key(self, connection: Connection, key_id: str) -> Row:
        """The key's row, held until the transaction ends: what is decided about one key is decided one by one.

        Raises:
            UserError: there is no such key.
        """
        row = connection.execute(LOCKED_KEY, {"wanted": key_id}).first()
        if row is None:
            raise UserError(f"There is no key {key_id}.", fix="List the keys to see their ids.")
        return row

    def insert(self, table: Table) -> Any:
        """This database's own INSERT, which knows ON CONFLICT."""
        return sqlite.insert(table) if self.sqlite else postgresql.insert(table)

    def upsert(self, table: Table, key: str) -> Any:
        """The statement that writes a row of this table, over the one of the same `key` if there is one; its parameters are the
        columns."""
        new = self.insert(table)
        others = {column.name: new.excluded[column.name] for column in table.columns if column.name != key}
        return new.on_conflict_do_update(index_elements=[key], set_=others)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def address_of(url: str) -> URL:
    """The URL with the driver that is used for it."""
    try:
        address = make_url(url)
    except ArgumentError as error:
        raise UserError(
            f"{url!r} is not the URL of a database.", fix="Use sqlite:///FILE or postgresql://..."
        ) from error
    backend = address.get_backend_name()
    if backend == "sqlite" and address.database not in (None, "", ":memory:"):
        return address.set(drivername="sqlite+pysqlite")
    if backend in ("postgresql", "postgres"):
        if importlib.util.find_spec("psycopg") is None:
            raise UserError("PostgreSQL needs the package psycopg.", fix="pip install 'polarlight[postgres]'")
        return address.set(drivername="postgresql+psycopg")
    shown = address.render_as_string(hide_password=True)
    raise UserError(f"{shown} is not a database that can be used.", fix="Use sqlite:///FILE or postgresql://...")


def make_folder(folder: Path) -> None:
    """The folder of a database file, made where it is missing."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # prompts are private
    except OSError as error:
        sentence = f"Cannot make the folder {folder}: {error.strerror}."
        raise UserError(sentence, fix="Set POLARLIGHT_HOME to a folder that can be written.") from error


def prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    """Transactions that SQLAlchemy begins itself, a write-ahead log, and commits that survive a power cut."""
    connection.isolation_level = None
    deadline = time.monotonic() + LOCK_WAIT_S
    while True:
        try:  # turning the log on is the one step that does not wait for another process doing the same
            connection.execute("PRAGMA journal_mode = WAL")
            break
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once where writing is meant: a later upgrade of a read lock could only fail."""
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
