"""Bytes that stored files name. Equal bytes are kept once, and go with the last file that names them."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

from sqlalchemy import Connection, exists, select

from . import tables
from .content_locks import held
from .database import Clock, Database
from .objects import Objects

ORPHAN_S = 3600.0  # bytes that no row names are left alone this long: their row may be about to come
AT_ONCE = 500  # objects that a sweep looks up at once


class Contents:
    """The bytes of all keys, in a store that may be distant and slow."""

    def __init__(self, database: Database, objects: Objects, clock: Clock = time.time) -> None:
        self.database = database
        self.objects = objects
        self.clock = clock
        self._touch = database.upsert(tables.contents, "object_key")
        self._locks = Path(f"{database.engine.url.database}-locks") if database.sqlite else None

    @contextmanager
    def holding(self, object_keys: Collection[str], ready: Callable[[Connection], None]) -> Iterator[Connection]:
        """A writing transaction in which nobody else brings or removes these bytes.

        `ready` is called first, with them held already, and may wait for the store: on SQLite the lock that all writers
        share is taken when it returns.
        """
        if self._locks is None or not object_keys:
            with self.database.write() as connection:
                self._lock_rows(connection, object_keys)
                ready(connection)
                yield connection
            return
        with held(self._locks, object_keys):
            with self.database.read() as connection:
                ready(connection)
            with self.database.write() as connection:
                self._lock_rows(connection, object_keys)
                yield connection

    def drop_unnamed(self, object_keys: Iterable[str]) -> int:
        """Remove the bytes among these that no file names; returns how many.

        Whoever stores the same bytes at this moment waits and then finds them gone, and stores them again.

        Raises:
            StoreUnavailable: the store does not answer; a later sweep removes what is left.
        """
        dropped = 0
        for key in sorted(set(object_keys)):
            with self.holding([key], partial(self._delete_unnamed, key)) as connection:
                if not named(connection, key):
                    connection.execute(tables.contents.delete().where(tables.contents.c.object_key == key))
                    dropped += 1
        return dropped

    def sweep(self, older_than_s: float = ORPHAN_S, stopped: Callable[[], bool] = lambda: False) -> int:
        """Remove bytes that no row names, left by a process that died between the two; returns how many.

        Lists the whole store: a matter of once a day. `stopped` is asked between parts of the list and ends it early.
        """
        row, content, before = tables.files.c, tables.contents.c, self.clock() - older_than_s
        lonely = select(content.object_key).where(
            content.touched_at <= before, ~exists().where(row.object_key == content.object_key)
        )
        with self.database.read() as connection:
            unnamed = connection.execute(lonely).scalars().all()
        swept, keys = self.drop_unnamed(unnamed), self.objects.keys(older_than_s=older_than_s)
        while not stopped() and (part := list(islice(keys, AT_ONCE))):
            with self.database.read() as connection:
                chosen = select(content.object_key).where(content.object_key.in_(part))
                named = set(connection.execute(chosen).scalars())
            swept += self.drop_unnamed(set(part) - named)
        return swept + self.objects.drop_leftovers(older_than_s=older_than_s)

    def _delete_unnamed(self, object_key: str, connection: Connection) -> None:
        if not named(connection, object_key):
            self.objects.delete(object_key)

    def _lock_rows(self, connection: Connection, object_keys: Collection[str]) -> None:
        """Hold the rows of some bytes, made where they are missing, until the transaction ends."""
        for key in sorted(set(object_keys)):  # in one order, so that none wait in a circle
            connection.execute(self._touch, {"object_key": key, "touched_at": self.clock()})


def named(connection: Connection, object_key: str) -> bool:
    """Whether a file has these bytes."""
    naming = select(tables.files.c.id).where(tables.files.c.object_key == object_key).limit(1)
    return connection.execute(naming).first() is not None
