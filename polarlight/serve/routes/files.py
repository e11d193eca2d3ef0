"""Files: uploaded, listed, read, published, deleted."""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from ..authentication import caller_of, service_of
from ..bodies import checked, read_form, read_json
from ..dialects import known_dialect
from ..documentation import answers, body_of
from ..downloads import download
from ..errors import Problem
from ..file_requests import MOST_LISTED, PAGE, keep_file, list_files, open_address, own_file, revoke_address
from ..schemas.files import FileBody, FileDeleted, FileList, FileUpload, PublicUrl, PublicUrlRequest, PublicUrlRevoked
from ..schemas.shared import Order
from ..service import Caller, Service
from ..stored_files import StoredFile

router = APIRouter(tags=["files"])
Asking = Annotated[Caller, Depends(caller_of)]


@router.post(
    "/v1/files", responses=answers(FileBody), openapi_extra=body_of(None, FileUpload, files=("file",), needed=("file",))
)
async def upload(request: Request, caller: Asking) -> FileBody:
    """Keep a file. The same upload again with the same `Idempotency-Key` is the same file."""
    service = service_of(request)
    await service.admit(caller, "files")
    form = await read_form(request, service.state.settings.limits.file_bytes)
    asked = checked(FileUpload, form.fields, known_dialect(request))
    if [sent.name for sent in form.files] != ["file"]:
        raise Problem(400, "The form must have one file, named file.", param="file")
    sent = form.files[0]
    file = await keep_file(
        service, caller, asked, filename=sent.filename, content=sent.content, content_type=sent.content_type
    )
    return file_body(service, file)


@router.get("/v1/files", responses=answers())
async def listing(
    request: Request,
    caller: Asking,
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = PAGE,
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
    page = await list_files(
        service, caller, after=pagination_token or after, limit=limit, newest_first=order == "desc", purpose=purpose
    )
    return FileList(
        data=[file_body(service, file) for file in page.items], has_more=page.more, pagination_token=page.token
    )


@router.get("/v1/files/{file_id}", responses=answers())
async def retrieve(request: Request, caller: Asking, file_id: str) -> FileBody:
    """One file."""
    service = service_of(request)
    return file_body(service, await own_file(service, caller, file_id))


@router.get("/v1/files/{file_id}/content", responses=answers(), response_class=Response)
async def content(request: Request, caller: Asking, file_id: str) -> Response:
    """A file's bytes."""
    return await download(request, service_of(request), await own_file(service_of(request), caller, file_id))


@router.delete("/v1/files/{file_id}", responses=answers())
async def delete(request: Request, caller: Asking, file_id: str) -> FileDeleted:
    """Remove a file, and with it its public address."""
    file = await own_file(service_of(request), caller, file_id)
    await asyncio.to_thread(service_of(request).state.files.delete, file.id, caller.key.id)
    return FileDeleted(id=file.id)


@router.post("/v1/files/{file_id}/public-url", responses=answers(), openapi_extra=body_of(PublicUrlRequest))
async def publish(request: Request, caller: Asking, file_id: str) -> PublicUrl:
    """Give a file a public address, a new one each time."""
    service = service_of(request)
    file = await own_file(service, caller, file_id)
    body = await read_json(request, service) if request.headers.get("content-type") else {}
    asked = checked(PublicUrlRequest, body, known_dialect(request))
    file = await asyncio.to_thread(service.state.files.publish, file.id, asked.expires_after)
    return PublicUrl(public_url=service.address(file), expires_at=file.public_until and int(file.public_until))


@router.post("/v1/files/{file_id}/public-url/revoke", responses=answers())
async def revoke(request: Request, caller: Asking, file_id: str) -> PublicUrlRevoked:
    """End a file's public address."""
    service = service_of(request)
    file = await own_file(service, caller, file_id)
    ended = await revoke_address(service, file)
    return PublicUrlRevoked(id=file.id, revoked=ended is not None, public_url=ended)


@router.api_route("/public/{name}", methods=["GET", "HEAD"], response_class=Response, include_in_schema=False)
async def public(request: Request, name: str) -> Response:
    """The file at a public address; no key is needed."""
    service = service_of(request)
    file = await asyncio.to_thread(service.state.files.by_token, name.partition(".")[0])
    if file is None:
        raise Problem(404, "There is no file at this address, or its time is over.")
    return await download(request, service, file)


def file_body(service: Service, file: StoredFile) -> FileBody:
    """A file as it is shown."""
    address, until = open_address(service, file)
    return FileBody(
        id=file.id, bytes=file.bytes, filename=file.filename, purpose=file.purpose, content_type=file.content_type,
        created_at=int(file.created_at), expires_at=None if file.expires_at is None else int(file.expires_at),
        public_url=address, public_url_expires_at=None if until is None else int(until),
    )  # fmt: skip
