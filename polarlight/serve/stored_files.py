"""The rows of the files API: who owns which bytes under which name, until when, and at which public address."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, bindparam, exists, select

from polarlight.base.errors import UserError

from . import tables
from .accounts import random_text
from .database import Clock, Database, Row
from .objects import PLAIN, Objects, StoredObject

ORPHAN_S = 3600.0  # bytes that no row names are left alone this long: their row may be about to come
AT_ONCE = 500  # expired files that one transaction removes
PDQ_SAME = 31  # at most this many of 256 bits differ between copies of one picture


class NoSuchFile(UserError):
    """The file is unknown, expired, or somebody else's: 404."""

    def __init__(self, file_id: str) -> None:
        super().__init__(f"There is no file {file_id}.", fix="List the files to see their ids.")


@dataclass(frozen=True, kw_only=True)
class NewFile:
    """A file to store: bytes, or a file on this machine, which stays where it is.

    `expires_in_s` None keeps it until it is deleted; `pdq` is a picture's hash, 64 hex digits.
    """

    filename: str
    content: bytes | Path
    content_type: str = PLAIN
    purpose: str = ""
    expires_in_s: float | None = None
    pdq: str | None = None


@dataclass(frozen=True, kw_only=True)
class StoredFile:
    """One row. Times are seconds since 1970; `public_token` is None where the file has no public address."""

    id: str
    key_id: str
    job_id: str | None
    object_key: str
    filename: str
    content_type: str
    bytes: int
    purpose: str
    sha256: str
    pdq: str | None
    created_at: float
    expires_at: float | None
    public_token: str | None
    public_until: float | None


@dataclass(frozen=True, kw_only=True)
class Uploaded:
    """A file whose bytes are stored already and whose row is not."""

    file: NewFile
    stored: StoredObject


class StoredFiles:
    """Files of all keys. Equal bytes are kept once and go with the last file that names them."""

    def __init__(self, database: Database, objects: Objects, clock: Clock = time.time) -> None:
        self.database = database
        self.objects = objects
        self.clock = clock

    def add(self, key_id: str, file: NewFile, *, most: int | None = None) -> StoredFile:
        """Store a file for a key.

        Raises:
            ContentTooLarge: it has more than `most` bytes.
            UserError: the bytes cannot be stored.
        """
        uploaded = self.upload(file, most=most)
        with self.database.write() as connection:
            return self.insert(connection, key_id, [uploaded])[0]

    def upload(self, file: NewFile, *, most: int | None = None) -> Uploaded:
        """Store the bytes alone: the slow half, done before a transaction begins.

        Raises:
            ContentTooLarge: as in `add`.
            UserError: the bytes cannot be stored, or the file's name cannot be written down.
        """
        if not file.filename.isprintable():
            raise UserError("The file's name has characters that cannot be shown.", fix="Rename the file.")
        return Uploaded(file=file, stored=self.objects.put(file.content, file.content_type, most=most))

    def insert(
        self, connection: Connection, key_id: str, uploads: Sequence[Uploaded], job_id: str | None = None
    ) -> list[StoredFile]:
        """Write the rows of uploaded files within a transaction."""
        # every process locks in the order of the keys, so that none wait for each other in a circle
        for uploaded in sorted(uploads, key=lambda each: each.stored.key):
            self._lock_content(connection, uploaded.stored.key)
            if not self.objects.exists(uploaded.stored.key):  # a deletion came in between
                self.upload(uploaded.file)
        return [self._insert(connection, key_id, uploaded, job_id) for uploaded in uploads]

    def get(self, file_id: str, key_id: str | None = None) -> StoredFile:
        """One file; with `key_id`, only if it is that key's.

        Raises:
            NoSuchFile: it is unknown, expired or another key's.
        """
        with self.database.read() as connection:
            return self._one(connection, file_id, key_id)

    def page(
        self,
        key_id: str,
        *,
        after: str | None = None,
        limit: int = 20,
        newest_first: bool = True,
        purpose: str | None = None,
    ) -> list[StoredFile]:
        """A key's files (of one purpose) in the order they came, from the one after the file `after`.

        Raises:
            NoSuchFile: `after` is not one of them.
        """
        row = tables.files.c
        order = row.number.desc() if newest_first else row.number
        chosen = self._living().where(row.key_id == key_id)
        if purpose is not None:
            chosen = chosen.where(row.purpose == purpose)
        with self.database.read() as connection:
            if after is not None:
                last = connection.execute(select(row.number).where(row.id == after, row.key_id == key_id)).scalar()
                if last is None:
                    raise NoSuchFile(after)
                chosen = chosen.where(row.number < last if newest_first else row.number > last)
            return [_file(found) for found in connection.execute(chosen.order_by(order).limit(limit))]

    def of_job(self, job_id: str) -> list[StoredFile]:
        """The files a job made, in its order."""
        row = tables.files.c
        with self.database.read() as connection:
            chosen = self._living().where(row.job_id == job_id).order_by(row.number)
            return [_file(found) for found in connection.execute(chosen)]

    def publish(self, file_id: str, seconds: float | None = None, key_id: str | None = None) -> StoredFile:
        """Give a file a public address (a new one, the old one ends) for some seconds or until it is revoked.

        Raises:
            NoSuchFile: as in `get`.
        """
        until = None if seconds is None else self.clock() + seconds
        return self._publish(file_id, key_id, random_text(43), until)

    def unpublish(self, file_id: str, key_id: str | None = None) -> StoredFile:
        """End a file's public address; nothing happens where it has none.

        Raises:
            NoSuchFile: as in `get`.
        """
        return self._publish(file_id, key_id, None, None)

    def by_token(self, token: str) -> StoredFile | None:
        """The file at a public address; None where the address is unknown, revoked or past its time."""
        row, now = tables.files.c, self.clock()
        open_still = row.public_until.is_(None) | (row.public_until > now)
        with self.database.read() as connection:
            found = connection.execute(self._living().where(row.public_token == token, open_still)).first()
            return None if found is None else _file(found)

    def delete(self, file_id: str, key_id: str | None = None) -> None:
        """Remove a file, and its bytes if no other file has the same.

        Raises:
            NoSuchFile: as in `get`.
        """
        with self.database.write() as connection:
            doomed = [self._one(connection, file_id, key_id)]
            self.remove(connection, doomed)
        self.drop_unnamed(file.object_key for file in doomed)

    def remove(self, connection: Connection, doomed: Sequence[StoredFile]) -> None:
        """Remove the rows of files within a transaction; `drop_unnamed` follows when it is committed."""
        if doomed:
            one = tables.files.delete().where(tables.files.c.id == bindparam("doomed"))
            connection.execute(one, [{"doomed": file.id} for file in doomed])

    def drop_unnamed(self, object_keys: Iterable[str]) -> int:
        """Remove the bytes among these that no file names; returns how many.

        Whoever stores the same bytes at this moment waits for the lock and then finds them gone, and stores them again.
        """
        dropped = 0
        for key in sorted(set(object_keys)):
            with self.database.write() as connection:
                self._lock_content(connection, key)
                naming = select(tables.files.c.id).where(tables.files.c.object_key == key).limit(1)
                if connection.execute(naming).first() is None:
                    self.objects.delete(key)
                    connection.execute(tables.contents.delete().where(tables.contents.c.object_key == key))
                    dropped += 1
        return dropped

    def matching(self, *, sha256: str | None = None, pdq: str | None = None, bits: int = PDQ_SAME) -> list[StoredFile]:
        """Every key's files with these bytes, or whose picture differs from a PDQ hash by at most `bits` of 256."""
        row = tables.files.c
        with self.database.read() as connection:
            same = connection.execute(select(tables.files).where(row.sha256 == sha256)).all()
            hashed = connection.execute(select(tables.files).where(row.pdq.is_not(None))) if pdq else ()
            near = [found for found in hashed if (int(found.pdq, 16) ^ int(pdq or "", 16)).bit_count() <= bits]
        return list({found.id: _file(found) for found in [*same, *near]}.values())

    def take_down(self, *, sha256: str | None = None, pdq: str | None = None, bits: int = PDQ_SAME) -> list[StoredFile]:
        """Remove what `matching` finds, bytes and all; returns what was removed."""
        doomed = self.matching(sha256=sha256, pdq=pdq, bits=bits)
        with self.database.write() as connection:
            self.remove(connection, doomed)
        self.drop_unnamed(file.object_key for file in doomed)
        return doomed

    def purge(self) -> int:
        """Remove expired files; returns how many."""
        row = tables.files.c
        chosen = select(tables.files).where(row.expires_at <= self.clock()).limit(AT_ONCE)
        purged = 0
        while True:
            with self.database.write() as connection:
                found = connection.execute(chosen.with_for_update(skip_locked=True)).all()
                self.remove(connection, [_file(each) for each in found])
            self.drop_unnamed(each.object_key for each in found)
            purged += len(found)
            if len(found) < AT_ONCE:
                return purged

    def sweep(self, older_than_s: float = ORPHAN_S) -> int:
        """Remove bytes that no row names, left by a process that died between the two; returns how many.

        Lists the whole store: a matter of once a day.
        """
        row, content, before = tables.files.c, tables.contents.c, self.clock() - older_than_s
        lonely = select(content.object_key).where(
            content.touched_at <= before, ~exists().where(row.object_key == content.object_key)
        )
        stored = list(self.objects.keys(older_than_s=older_than_s))
        with self.database.read() as connection:
            unnamed = set(connection.execute(lonely).scalars())
            for key in stored:
                if connection.execute(select(content.object_key).where(content.object_key == key)).first() is None:
                    unnamed.add(key)
        return self.drop_unnamed(unnamed) + self.objects.drop_leftovers(older_than_s=older_than_s)

    def _living(self) -> Select[Any]:
        row = tables.files.c
        return select(tables.files).where(row.expires_at.is_(None) | (row.expires_at > self.clock()))

    def _one(self, connection: Connection, file_id: str, key_id: str | None) -> StoredFile:
        found = connection.execute(self._living().where(tables.files.c.id == file_id)).first()
        if found is None or key_id not in (None, found.key_id):
            raise NoSuchFile(file_id)
        return _file(found)

    def _lock_content(self, connection: Connection, object_key: str) -> None:
        """Hold the row of some bytes, made where it is missing, until the transaction ends."""
        values = {"object_key": object_key, "touched_at": self.clock()}
        insert = self.database.insert(tables.contents).values(values)
        connection.execute(insert.on_conflict_do_update(index_elements=["object_key"], set_=values))

    def _insert(self, connection: Connection, key_id: str, uploaded: Uploaded, job_id: str | None) -> StoredFile:
        file, stored, now = uploaded.file, uploaded.stored, self.clock()
        row = {
            "id": f"file-{random_text(24)}", "key_id": key_id, "job_id": job_id, "object_key": stored.key,
            "filename": file.filename, "content_type": file.content_type, "bytes": stored.bytes,
            "purpose": file.purpose, "sha256": stored.sha256, "pdq": file.pdq, "created_at": now,
            "expires_at": None if file.expires_in_s is None else now + file.expires_in_s,
        }  # fmt: skip
        return _file(connection.execute(tables.files.insert().returning(tables.files), row).one())

    def _publish(self, file_id: str, key_id: str | None, token: str | None, until: float | None) -> StoredFile:
        with self.database.write() as connection:
            self._one(connection, file_id, key_id)
            changed = tables.files.update().where(tables.files.c.id == file_id)
            changed = changed.values(public_token=token, public_until=until).returning(tables.files)
            return _file(connection.execute(changed).one())


def _file(row: Row) -> StoredFile:
    return StoredFile(**{name: value for name, value in row._mapping.items() if name != "number"})
