"""Files: uploaded, listed, read, published, deleted."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from ..authentication import caller_of, service_of
from ..bodies import checked, read_form, read_json
from ..dialects import known_dialect
from ..documentation import answers, body_of
from ..downloads import download
from ..errors import Problem
from ..image_work import OUTPUT
from ..inputs import PURPOSE
from ..objects import PLAIN, SUFFIXES
from ..schemas.files import FileBody, FileDeleted, FileList, FileUpload, PublicUrl, PublicUrlRequest, PublicUrlRevoked
from ..schemas.shared import MONTH_S, Order
from ..service import Caller, Service
from ..stored_files import NewFile, StoredFile

router = APIRouter(tags=["files"])
Asking = Annotated[Caller, Depends(caller_of)]
UNLISTED = (PURPOSE, OUTPUT)  # they belong to their requests
PAGE = 100


@router.post(
    "/v1/files", responses=answers(FileBody), openapi_extra=body_of(None, FileUpload, files=("file",), needed=("file",))
)
async def upload(request: Request, caller: Asking) -> FileBody:
    """Keep a file."""
    service = service_of(request)
    await service.admit(caller, "files")
    form = await read_form(request, service.state.settings.limits.file_bytes)
    asked = checked(FileUpload, form.fields, known_dialect(request))
    if [sent.name for sent in form.files] != ["file"]:
        raise Problem(400, "The form must have one file, named file.", param="file")
    sent = form.files[0]
    file = NewFile(
        filename=sent.filename.replace("\\", "/").rpartition("/")[2][-200:] or "file",
        content=sent.content,
        content_type=sent.content_type if sent.content_type in SUFFIXES else PLAIN,
        purpose=asked.purpose,
        expires_in_s=_seconds(asked.expires_after),
    )
    return file_body(await asyncio.to_thread(service.state.files.add, caller.key.id, file))


@router.get("/v1/files", responses=answers())
async def listing(
    request: Request,
    caller: Asking,
    limit: Annotated[int, Query(ge=1, le=10_000)] = PAGE,
    order: Order = "desc",
    sort_by: Literal["created_at"] = "created_at",
    after: str | None = None,
    pagination_token: str | None = None,
    purpose: str | None = None,
    filtered: Annotated[str | None, Query(alias="filter")] = None,
) -> FileList:
    """The key's files, newest first. What requests brought and made is not among them, unless `storage_options` kept it."""
    service = service_of(request)
    await service.admit(caller, "files")
    if filtered:
        raise Problem(400, "Lists are not filtered by expressions. Use purpose.", param="filter")
    chosen = {"newest_first": order == "desc", "purpose": purpose}
    found = await asyncio.to_thread(_listed, service, caller.key.id, limit + 1, pagination_token or after, chosen)
    page = found[:limit]
    more, last = len(found) > limit, page[-1].id if page else None
    return FileList(
        data=list(map(file_body, page)), has_more=more, first_id=page[0].id if page else None, last_id=last,
        pagination_token=last if more else None,
    )  # fmt: skip


@router.get("/v1/files/{file_id}", responses=answers())
async def retrieve(request: Request, caller: Asking, file_id: str) -> FileBody:
    """One file."""
    return file_body(await _file(request, caller, file_id))


@router.get("/v1/files/{file_id}/content", responses=answers(), response_class=Response)
async def content(request: Request, caller: Asking, file_id: str) -> Response:
    """A file's bytes."""
    return await download(request, service_of(request), await _file(request, caller, file_id))


@router.delete("/v1/files/{file_id}", responses=answers())
async def delete(request: Request, caller: Asking, file_id: str) -> FileDeleted:
    """Remove a file, and with it its public address."""
    file = await _file(request, caller, file_id)
    await asyncio.to_thread(service_of(request).state.files.delete, file.id, caller.key.id)
    return FileDeleted(id=file.id)


@router.post("/v1/files/{file_id}/public-url", responses=answers(), openapi_extra=body_of(PublicUrlRequest))
async def publish(request: Request, caller: Asking, file_id: str) -> PublicUrl:
    """Give a file a public address, a new one each time."""
    service = service_of(request)
    file = await _file(request, caller, file_id)
    body = await read_json(request, service) if request.headers.get("content-type") else {}
    asked = checked(PublicUrlRequest, body, known_dialect(request))
    file = await asyncio.to_thread(service.state.files.publish, file.id, asked.expires_after)
    return PublicUrl(public_url=service.address(file), expires_at=file.public_until and int(file.public_until))


@router.post("/v1/files/{file_id}/public-url/revoke", responses=answers())
async def revoke(request: Request, caller: Asking, file_id: str) -> PublicUrlRevoked:
    """End a file's public address."""
    service = service_of(request)
    file = await _file(request, caller, file_id)
    ended = service.address(file) if file.public_token else None
    await asyncio.to_thread(service.state.files.unpublish, file.id)
    return PublicUrlRevoked(id=file.id, revoked=ended is not None, public_url=ended)


@router.api_route("/public/{name}", methods=["GET", "HEAD"], response_class=Response, include_in_schema=False)
async def public(request: Request, name: str) -> Response:
    """The file at a public address; no key is needed."""
    service = service_of(request)
    file = await asyncio.to_thread(service.state.files.by_token, name.partition(".")[0])
    if file is None:
        raise Problem(404, "There is no file at this address, or its time is over.")
    return await download(request, service, file)


def file_body(file: StoredFile) -> FileBody:
    """A file as it is shown."""
    return FileBody(
        id=file.id, bytes=file.bytes, filename=file.filename, purpose=file.purpose, content_type=file.content_type,
        created_at=int(file.created_at), expires_at=None if file.expires_at is None else int(file.expires_at),
    )  # fmt: skip


async def _file(request: Request, caller: Caller, file_id: str) -> StoredFile:
    service = service_of(request)
    await service.admit(caller, "files")
    return await asyncio.to_thread(service.state.files.get, file_id, caller.key.id)


def _listed(service: Service, key_id: str, wanted: int, after: str | None, chosen: dict[str, Any]) -> list[StoredFile]:
    """Up to `wanted` files of those that are listed, read page by page past the others."""
    found: list[StoredFile] = []
    while len(found) < wanted:
        page = service.state.files.page(key_id, after=after, limit=PAGE, **chosen)
        found += [file for file in page if file.purpose not in UNLISTED]
        if len(page) < PAGE:
            break
        after = page[-1].id
    return found[:wanted]


def _seconds(expires_after: int | dict[str, str] | None) -> float | None:
    """Seconds until a file goes, of either dialect's form."""
    if isinstance(expires_after, dict):
        text = expires_after.get("seconds", "")
        expires_after = int(text) if text.isascii() and text.isdigit() else 0
    if expires_after is None:
        return None
    if not 1 <= expires_after <= MONTH_S:
        raise Problem(400, f"expires_after must be from 1 to {MONTH_S} seconds.", param="expires_after")
    return float(expires_after)
