"""The rows of the files API: who owns which bytes under which name, until when, and at which public address."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, bindparam, select

from polarlight.base.errors import UserError

from . import tables
from .accounts import random_text
from .contents import Contents
from .database import Clock, Database, Row
from .idempotency import IdempotencyConflict, digest_of, made_before
from .objects import PLAIN, Objects, StoredObject
from .pages import newest_first as listed

AT_ONCE = 500  # files that one transaction removes
UNSHOWN = ("number", "idempotency_key", "body_hash")  # columns that are no part of a `StoredFile`
LIVING = select(tables.files).where(
    tables.files.c.expires_at.is_(None) | (tables.files.c.expires_at > bindparam("now"))
)
ONE = LIVING.where(tables.files.c.id == bindparam("wanted"))  # statements are built once, see `ledger`
NEW = tables.files.insert().returning(tables.files)
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
    """Files of all keys; `contents` has their bytes."""

    def __init__(self, database: Database, objects: Objects, clock: Clock = time.time) -> None:
        self.database = database
        self.objects = objects
        self.clock = clock
        self.contents = Contents(database, objects, clock)

    def add(
        self, key_id: str, file: NewFile, *, most: int | None = None, idempotency_key: str | None = None
    ) -> StoredFile:
        """Store a file for a key. With an idempotency key, the same upload again returns the same file.

        Raises:
            ContentTooLarge: it has more than `most` bytes.
            StoreUnavailable: the bytes cannot be stored now.
            IdempotencyConflict: the key used this idempotency key for another file.
        """
        uploaded = self.upload(file, most=most)
        digest = digest_of(file.filename, file.content_type, file.purpose, file.expires_in_s, uploaded.stored.sha256)
        try:
            with self.entering([uploaded]) as connection:
                if idempotency_key is None:
                    return self._insert(connection, key_id, uploaded, {})
                self.database.lock_key(connection, key_id)
                before = made_before(connection, tables.files, key_id, idempotency_key, digest)
                if before is not None:
                    return _file(before)
                sent = {"idempotency_key": idempotency_key, "body_hash": digest}
                return self._insert(connection, key_id, uploaded, sent)
        except IdempotencyConflict:
            self.contents.drop_unnamed([uploaded.stored.key])
            raise

    def upload(self, file: NewFile, *, most: int | None = None) -> Uploaded:
        """Store the bytes alone: the slow half, done before a transaction begins.

        Raises:
            ContentTooLarge, StoreUnavailable: as in `add`.
            UserError: the file's name cannot be written down.
        """
        if not file.filename.isprintable():
            raise UserError("The file's name has characters that cannot be shown.", fix="Rename the file.")
        return Uploaded(file=file, stored=self.objects.put(file.content, file.content_type, most=most))

    @contextmanager
    def entering(self, uploads: Sequence[Uploaded]) -> Iterator[Connection]:
        """A writing transaction for the rows of uploaded files: their bytes are there, and stay until it has ended.

        Raises:
            StoreUnavailable: the store does not answer.
        """

        def bring_back(_connection: Connection) -> None:
            for uploaded in uploads:
                if not self.objects.exists(uploaded.stored.key):  # a deletion came in between
                    self.upload(uploaded.file)

        with self.contents.holding([uploaded.stored.key for uploaded in uploads], bring_back) as connection:
            yield connection

    def insert(self, connection: Connection, key_id: str, uploads: Sequence[Uploaded], job_id: str) -> list[StoredFile]:
        """Write the rows of what a job made, within the transaction of `entering`."""
        return [self._insert(connection, key_id, uploaded, {"job_id": job_id}) for uploaded in uploads]

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
        except_purposes: Sequence[str] = (),
    ) -> list[StoredFile]:
        """A key's files (of one purpose, or of all but some) in the order they came, from the one after the file `after`.

        Raises:
            NoSuchFile: `after` is not one of them.
        """
        row = tables.files.c
        chosen = self._living().where(row.key_id == key_id, row.purpose.not_in(except_purposes))
        if purpose is not None:
            chosen = chosen.where(row.purpose == purpose)
        with self.database.read() as connection:
            last = None
            if after is not None:
                last = connection.execute(select(row.number).where(row.id == after, row.key_id == key_id)).scalar()
                if last is None:
                    raise NoSuchFile(after)
            page = listed(chosen, row.number, before=last, limit=limit, reverse=not newest_first)
            return [_file(found) for found in connection.execute(page)]

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
        self.contents.drop_unnamed(file.object_key for file in doomed)

    def remove(self, connection: Connection, doomed: Sequence[StoredFile]) -> None:
        """Remove the rows of files within a transaction; `contents.drop_unnamed` follows when it is committed."""
        if doomed:
            one = tables.files.delete().where(tables.files.c.id == bindparam("doomed"))
            connection.execute(one, [{"doomed": file.id} for file in doomed])

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
        self.contents.drop_unnamed(file.object_key for file in doomed)
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
            self.contents.drop_unnamed(each.object_key for each in found)
            purged += len(found)
            if len(found) < AT_ONCE:
                return purged

    def _living(self) -> Select[Any]:
        return LIVING.params(now=self.clock())

    def _one(self, connection: Connection, file_id: str, key_id: str | None) -> StoredFile:
        found = connection.execute(ONE, {"wanted": file_id, "now": self.clock()}).first()
        if found is None or key_id not in (None, found.key_id):
            raise NoSuchFile(file_id)
        return _file(found)

    def _insert(
        self, connection: Connection, key_id: str, uploaded: Uploaded, about: dict[str, str | None]
    ) -> StoredFile:
        file, stored, now = uploaded.file, uploaded.stored, self.clock()
        row = {
            "id": f"file-{random_text(24)}", "key_id": key_id, "object_key": stored.key,
            "filename": file.filename, "content_type": file.content_type, "bytes": stored.bytes,
            "purpose": file.purpose, "sha256": stored.sha256, "pdq": file.pdq, "created_at": now,
            "expires_at": None if file.expires_in_s is None else now + file.expires_in_s, **about,
        }  # fmt: skip
        return _file(connection.execute(NEW, row).one())

    def _publish(self, file_id: str, key_id: str | None, token: str | None, until: float | None) -> StoredFile:
        with self.database.write() as connection:
            self._one(connection, file_id, key_id)
            changed = tables.files.update().where(tables.files.c.id == file_id)
            changed = changed.values(public_token=token, public_until=until).returning(tables.files)
            return _file(connection.execute(changed).one())


def _file(row: Row) -> StoredFile:
    return StoredFile(**{name: value for name, value in row._mapping.items() if name not in UNSHOWN})
