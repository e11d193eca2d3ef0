"""Requests about files, the same at every door: keeping one, finding, listing and publishing the key's own."""

from __future__ import annotations

import asyncio

from .errors import Problem
from .image_work import OUTPUT
from .inputs import PURPOSE
from .objects import PLAIN, SUFFIXES
from .pages import Page, read_page
from .schemas.files import FileUpload
from .schemas.shared import MONTH_S
from .service import Caller, Service
from .stored_files import NewFile, StoredFile

UNLISTED = (PURPOSE, OUTPUT)  # they belong to their requests
PAGE, MOST_LISTED = 100, 10_000  # files in one answer: where nothing is said, and at most
LONGEST_NAME = 200


async def keep_file(
    service: Service, caller: Caller, asked: FileUpload, *, filename: str, content: bytes, content_type: str | None
) -> StoredFile:
    """Keep an uploaded file. Folders in its name are left out; a type that a browser could run becomes a plain one.

    With the caller's idempotency key, the same upload again returns the same file.

    Raises:
        Problem: it is to be kept for less than a second or more than 30 days.
        UserError: its name cannot be written down.
        StoreUnavailable: it cannot be stored now.
        IdempotencyConflict: the idempotency key came with another file.
    """
    file = NewFile(
        filename=filename.replace("\\", "/").rpartition("/")[2][-LONGEST_NAME:] or "file",
        content=content,
        content_type=content_type if content_type in SUFFIXES else PLAIN,
        purpose=asked.purpose,
        expires_in_s=kept_s(asked.expires_after),
    )
    again = caller.idempotency_key
    return await asyncio.to_thread(service.state.files.add, caller.key.id, file, idempotency_key=again)


async def own_file(service: Service, caller: Caller, file_id: str) -> StoredFile:
    """A file of the key that asks.

    Raises:
        Problem, TooManyRequests: as `Service.admit`.
        NoSuchFile: it is unknown or another key's.
    """
    await service.admit(caller, "files")
    return await asyncio.to_thread(service.state.files.get, file_id, caller.key.id)


async def list_files(
    service: Service,
    caller: Caller,
    *,
    after: str | None,
    limit: int,
    newest_first: bool,
    purpose: str | None = None,
) -> Page[StoredFile]:
    """A page of the key's files, from the one after the file `after`, without what requests brought and made.

    Raises:
        NoSuchFile: `after` is not one of them.
    """

    return await read_page(
        service.state.files.page, caller.key.id, after=after, limit=limit, newest_first=newest_first, purpose=purpose,
        except_purposes=UNLISTED,
    )  # fmt: skip


def open_address(service: Service, file: StoredFile) -> tuple[str | None, float | None]:
    """A file's public address and until when it is good (None: until it is revoked); twice None where it has none now."""
    until = file.public_until
    if file.public_token is None or (until is not None and until <= service.state.files.clock()):
        return None, None
    return service.address(file), until


async def revoke_address(service: Service, file: StoredFile) -> str | None:
    """End a file's public address; returns the one that ended, None where there was none."""
    ended, _ = open_address(service, file)
    await asyncio.to_thread(service.state.files.unpublish, file.id)
    return ended


def kept_s(expires_after: int | dict[str, str] | None) -> float | None:
    """Seconds until a file goes, of either dialect's form; None where it stays.

    Raises:
        Problem: less than a second or more than 30 days.
    """
    if isinstance(expires_after, dict):
        text = expires_after.get("seconds", "")
        expires_after = int(text) if text.isascii() and text.isdigit() else 0
    if expires_after is None:
        return None
    if not 1 <= expires_after <= MONTH_S:
        raise Problem(400, f"expires_after must be from 1 to {MONTH_S} seconds.", param="expires_after")
    return float(expires_after)
