"""Where bytes are kept: a folder or an S3 bucket, behind one interface.

A key is the SHA-256 of its bytes with a suffix that tells their type (`ab/abcd….png`), so that storing twice is storing
once, a name can be guessed only by who has the bytes, and nothing that a client says becomes a path.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, S3Store

from polarlight.base.errors import UserError
from polarlight.base.files import atomic_path

log = logging.getLogger("polarlight.serve.objects")
PLAIN = "application/octet-stream"
SUFFIXES = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "video/mp4": ".mp4",
    "video/webm": ".webm",
    "audio/mpeg": ".mp3",
    "audio/wav": ".wav",
    "application/json": ".json",
    "application/jsonl": ".jsonl",
    "application/zip": ".zip",
    "text/plain": ".txt",
    "text/vtt": ".vtt",
    PLAIN: "",
}
TYPES = {suffix: kind for kind, suffix in SUFFIXES.items()}
KEY = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}(\.[a-z0-9]{1,5})?")
CHUNK = 1 << 20
PATIENCE = {"max_retries": 6, "retry_timeout": timedelta(seconds=20)}  # with a bucket whose server does not answer
Content = bytes | Path | Iterable[bytes]


class ContentTooLarge(UserError):
    """More bytes than allowed: 413."""


class StoreUnavailable(UserError):
    """Bytes cannot be kept or read now, by no mistake of who asks: 503. `error`: what the store or the disk said."""

    def __init__(self, error: BaseException | None) -> None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        sentence = "The server's disk is full." if full else "The file store does not answer."
        super().__init__(sentence, fix="Try again later.")


@dataclass(frozen=True, kw_only=True)
class StoredObject:
    """What `put` made: the key to find it by, the SHA-256 in hex, the size in bytes."""

    key: str
    sha256: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Reading:
    """An object being read: its type, its whole size, the range [start, end) asked for, and the range's bytes in parts."""

    content_type: str
    total: int
    start: int
    end: int
    parts: Iterator[bytes]


class Objects:
    """An object store by its URL: `file:///FOLDER` or `s3://BUCKET/PREFIX?endpoint=URL&region=NAME`.

    S3 credentials come from the usual variables (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ...). Every method that reaches
    the store raises `StoreUnavailable` where the disk is full or the store does not answer; the log has what it said.
    """

    def __init__(self, url: str) -> None:
        """Open the store; a folder is made where it is missing.

        Raises:
            UserError: the URL is of another kind.
        """
        parts = urlsplit(url)
        self._folder: Path | None = None
        if parts.scheme == "file" and parts.path:
            self._folder = Path(unquote(parts.path))
            self._store: Any = LocalStore(self._folder, mkdir=True)
        elif parts.scheme == "s3" and parts.netloc:
            self._store = open_s3(parts.netloc, parts.path.strip("/"), parse_qs(parts.query))
        else:
            raise UserError(f"{url!r} is not an object store.", fix="Use file:///FOLDER or s3://BUCKET/PREFIX.")

    def put(self, content: Content, content_type: str = PLAIN, *, most: int | None = None) -> StoredObject:
        """Store bytes, a file, or parts as they come: whole and durable when this returns, absent before.

        Args:
            most: the most bytes to take; None for no limit.

        Raises:
            ContentTooLarge: there are more bytes than `most`.
            StoreUnavailable: the folder cannot be written, the disk is full, or the bucket does not answer.
        """
        with counted(content, most) as (source, digest, size):
            key = f"{digest[:2]}/{digest}{SUFFIXES.get(content_type, '')}"
            if not self.exists(key):
                self._write(key, source)
            return StoredObject(key=key, sha256=digest, bytes=size)

    def get(self, key: str) -> bytes:
        """All bytes of an object.

        Raises:
            FileNotFoundError: there is none.
        """
        with answering():
            return bytes(obstore.get(self._store, checked(key)).bytes())

    def open(self, key: str, start: int = 0, end: int | None = None) -> Reading:
        """Read the bytes [start, end) in parts of about a mebibyte; `end` is cut to the object's size.

        Raises:
            FileNotFoundError: there is no such object.
            ValueError: the range is empty or begins after the end.
        """
        with answering():
            size = obstore.head(self._store, checked(key))["size"]
        end = size if end is None else min(end, size)
        if size and not 0 <= start < end:
            raise ValueError(f"the range {start} to {end} is not within the {size} bytes of {key}")
        kind = TYPES.get(os.path.splitext(key)[1], PLAIN)
        if not size:
            return Reading(content_type=kind, total=0, start=0, end=0, parts=iter(()))
        with answering():
            found = obstore.get(self._store, key, options={"range": (start, end)})
        return Reading(content_type=kind, total=size, start=start, end=end, parts=streamed(found))

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        try:
            with answering():
                obstore.head(self._store, checked(key))
        except FileNotFoundError:
            return False
        return True

    def delete(self, key: str) -> None:
        """Remove an object; nothing happens where there is none."""
        with suppress(FileNotFoundError), answering():
            obstore.delete(self._store, checked(key))

    def keys(self, *, older_than_s: float = 0) -> Iterator[str]:
        """Every key in the store whose bytes were written at least this long ago."""
        latest = time.time() - older_than_s
        with answering():
            for page in obstore.list(self._store):
                yield from (
                    meta["path"]
                    for meta in page
                    if KEY.fullmatch(meta["path"]) and meta["last_modified"].timestamp() <= latest
                )

    def drop_leftovers(self, *, older_than_s: float) -> int:
        """Remove what writers that died left half done in the folder; returns how many files.

        A bucket shows no half objects; its own lifecycle rule ends uploads that were broken off.
        """
        if self._folder is None:
            return 0
        latest, dropped = time.time() - older_than_s, 0
        for path in self._folder.glob("*/.*"):
            with suppress(FileNotFoundError):  # its writer has just finished
                if path.stat().st_mtime <= latest:
                    path.unlink()
                    dropped += 1
        return dropped

    def signed_url(self, key: str, seconds: float) -> str | None:
        """A URL at which the store itself hands the object out for a while; None for a folder, which has no server."""
        if self._folder is not None:
            return None
        return obstore.sign(self._store, "GET", checked(key), timedelta(seconds=seconds))

    def _write(self, key: str, source: bytes | Path) -> None:
        with answering():
            if self._folder is None:
                kind = TYPES.get(os.path.splitext(key)[1], PLAIN)
                obstore.put(self._store, key, source, attributes={"Content-Type": kind})
            else:
                write_durably(self._folder, key, source)


def write_durably(store: Path, key: str, source: bytes | Path) -> None:
    """Write an object into a folder; its name is durable when this returns, which it is when its folders are."""
    with atomic_path(store / key) as temporary:
        if isinstance(source, bytes):
            temporary.write_bytes(source)
        else:
            shutil.copyfile(source, temporary)
    for folder in (store / key[:2], store):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def answering() -> Iterator[None]:
    """Within, a failure of the disk or the store is a `StoreUnavailable`; that there is no such object is none.

    A failed write within `atomic_path` names the server's own path, which is no client's business.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError, UserError) as error:
        cause = error.__cause__ if isinstance(error, UserError) else error
        log.error("the object store failed: %s", cause)
        raise StoreUnavailable(cause) from error


def streamed(found: Any) -> Iterator[bytes]:
    """An answer of the store in parts of about a mebibyte."""
    with answering():
        for part in found.stream(min_chunk_size=CHUNK):
            yield bytes(part)


def open_s3(bucket: str, prefix: str, query: dict[str, list[str]]) -> S3Store:
    """A bucket, with the endpoint and region that the URL names."""
    if unknown := query.keys() - {"endpoint", "region"}:
        raise UserError(f"The object store's URL has an unknown part {min(unknown)!r}.", fix="Use endpoint and region.")
    options: dict[str, Any] = {name: values[0] for name, values in query.items()}
    if options.get("endpoint", "").startswith("http://"):
        options["client_options"] = {"allow_http": True}
    return S3Store(bucket, prefix=prefix or None, retry_config=PATIENCE, **options)


def checked(key: str) -> str:
    """The key as it is; a name that `put` cannot have made never reaches the store."""
    if not KEY.fullmatch(key):
        raise FileNotFoundError(f"no object can have the key {key!r}")
    return key


@contextmanager
def counted(content: Content, most: int | None) -> Iterator[tuple[bytes | Path, str, int]]:
    """The content as bytes or as a file, with its SHA-256 and size; parts go through a temporary file."""
    if isinstance(content, bytes):
        check_size(len(content), most)
        yield content, hashlib.sha256(content).hexdigest(), len(content)
        return
    digest, size = hashlib.sha256(), 0
    if isinstance(content, Path):
        check_size(content.stat().st_size, most)
        for part in chunks(content):
            digest.update(part)
        yield content, digest.hexdigest(), content.stat().st_size
        return
    with tempfile.TemporaryDirectory(prefix="polarlight-") as folder:
        path = Path(folder) / "content"
        with open(path, "wb") as file:
            for part in content:
                size += len(part)
                check_size(size, most)
                digest.update(part)
                file.write(part)
        yield path, digest.hexdigest(), size


def chunks(path: Path) -> Iterator[bytes]:
    """A file's bytes, a mebibyte at a time."""
    with open(path, "rb") as file:
        while part := file.read(CHUNK):
            yield part


def check_size(size: int, most: int | None) -> None:
    """Refuse what is larger than allowed."""
    if most is not None and size > most:
        raise ContentTooLarge(f"The file is larger than {most} bytes.", fix="Send a smaller file.")
