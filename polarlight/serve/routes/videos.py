"""Clips: ordered, watched, fetched, changed, deleted."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from ..authentication import caller_of, service_of
from ..bodies import checked, is_form, read_form, read_json
from ..dialects import known_dialect, set_dialect
from ..documentation import answers, body_of
from ..downloads import download
from ..errors import Problem
from ..jobs import Job
from ..pages import read_page
from ..schemas.shared import Order
from ..schemas.videos import (
    Remix,
    VideoBody,
    VideoCreation,
    VideoDeleted,
    VideoEdit,
    VideoEditForm,
    VideoExtension,
    VideoExtensionForm,
    VideoGeneration,
    VideoList,
    VideoRequested,
    VideoStatus,
)
from ..service import Caller, Service
from ..video_answers import PREFIX, find_video, video_body, video_file, video_status
from ..video_orders import submit_video
from ..video_requests import changing_order, creating_order, generating_order, remixing_order

router = APIRouter(prefix="/v1/videos", tags=["videos"])
Asking = Annotated[Caller, Depends(caller_of)]
POLL_MS = "1000"


@router.post("", responses=answers(), openapi_extra=body_of(VideoCreation, VideoCreation, files=("input_reference",)))
async def create(request: Request, caller: Asking) -> VideoBody:
    """Order a clip (OpenAI)."""
    service = service_of(request)
    body, files = await _read(request, service, "input_reference")
    set_dialect(request, "openai")
    asked = checked(VideoCreation, body, "openai")
    order = await creating_order(service, caller, asked, files[0] if files else None)
    return video_body(await submit_video(service, *order))


@router.post("/generations", responses=answers(), openapi_extra=body_of(VideoGeneration))
async def generate(request: Request, caller: Asking) -> VideoRequested:
    """Order a clip (xAI)."""
    service = service_of(request)
    asked = checked(VideoGeneration, await read_json(request, service, "video"), "xai")
    job = await submit_video(service, *await generating_order(service, caller, asked))
    return VideoRequested(request_id=job.id)


@router.post(
    "/edits",
    responses=answers(VideoBody | VideoRequested),
    openapi_extra=body_of(VideoEdit, VideoEdit, files=("video",), needed=("video",)),
)
async def edit(request: Request, caller: Asking) -> Response:
    """Change a clip by an instruction."""
    return await _changed(request, caller, VideoEdit, VideoEditForm)


@router.post(
    "/extensions",
    responses=answers(VideoBody | VideoRequested),
    openapi_extra=body_of(VideoExtension, VideoExtension, files=("video",), needed=("video",)),
)
async def extend(request: Request, caller: Asking) -> Response:
    """Make a clip longer."""
    return await _changed(request, caller, VideoExtension, VideoExtensionForm)


@router.get("", responses=answers())
async def listing(
    request: Request,
    caller: Asking,
    limit: Annotated[int, Query(ge=0, le=100)] = 20,
    order: Order = "desc",
    after: str | None = None,
) -> VideoList:
    """The key's clips, newest first."""
    service = service_of(request)
    await service.admit(caller, "videos", counted=False)
    last = None if after is None else (await find_video(service, caller.key.id, after)).id
    page = await read_page(
        service.state.jobs.page, caller.key.id, after=last, limit=limit, newest_first=order == "desc", kinds=("video",)
    )
    return VideoList(data=list(map(video_body, page.items)), has_more=page.more)


@router.get("/{video_id}", responses={**answers(VideoBody | VideoStatus), 202: {"model": VideoStatus}})
async def retrieve(request: Request, caller: Asking, video_id: str) -> Response:
    """How far a clip is: OpenAI's object for its ids, xAI's status, with 202 while it is pending, for a request id."""
    service = service_of(request)
    await service.admit(caller, "videos", counted=False)
    job = await find_video(service, caller.key.id, video_id)
    if video_id.startswith(PREFIX):
        headers = {} if job.ended else {"openai-poll-after-ms": POLL_MS}
        return JSONResponse(video_body(job).model_dump(mode="json"), headers=headers)
    status = await video_status(service, job)
    body = status.model_dump(mode="json", exclude_none=True)
    return JSONResponse(body, 202 if status.status == "pending" else 200)


@router.get("/{video_id}/content", responses=answers(), response_class=Response)
async def content(
    request: Request, caller: Asking, video_id: str, variant: Literal["video", "thumbnail", "spritesheet"] = "video"
) -> Response:
    """The clip's bytes, or a still of it; ranges are served."""
    service = service_of(request)
    await service.admit(caller, "videos", counted=False)
    job = await find_video(service, caller.key.id, video_id)
    file = await video_file(service, job, variant)
    if file is None:
        sentence = "The clip has no such content." if job.ended else "The clip is not finished yet."
        raise Problem(404, sentence, code="no_content")
    return await download(request, service, file)


@router.delete("/{video_id}", responses=answers())
async def delete(request: Request, caller: Asking, video_id: str) -> VideoDeleted:
    """Remove a clip; one that is not finished is cancelled and costs nothing."""
    service = service_of(request)
    await service.admit(caller, "videos")
    job = await find_video(service, caller.key.id, video_id)
    await asyncio.to_thread(service.state.jobs.delete, job.id, caller.key.id)
    service.workers.dismiss(job.id)
    return VideoDeleted(id=video_id)


@router.post("/{video_id}/remix", responses=answers(), openapi_extra=body_of(Remix))
async def remix(request: Request, caller: Asking, video_id: str) -> VideoBody:
    """A finished clip made anew by other words."""
    service = service_of(request)
    asked = checked(Remix, await read_json(request, service, "video"), known_dialect(request))
    before = await find_video(service, caller.key.id, video_id)
    return video_body(await submit_video(service, *await remixing_order(service, caller, before, asked.prompt)))


async def _changed(
    request: Request,
    caller: Caller,
    schema: type[VideoEdit | VideoExtension],
    form_schema: type[VideoEditForm | VideoExtensionForm],
) -> Response:
    """Order an edit or an extension, of a file in a form or of a clip that is somewhere; answered in its dialect."""
    service = service_of(request)
    body, files = await _read(request, service, "video")
    if files:
        ordered = await changing_order(service, caller, checked(form_schema, body, known_dialect(request)), files[0])
    else:
        asked = checked(schema, body, known_dialect(request))
        ordered = await changing_order(service, caller, asked, asked.video)
    job: Job = await submit_video(service, *ordered)
    requested = VideoRequested(request_id=job.id)
    answer: Any = requested if known_dialect(request) == "xai" else video_body(job)
    return JSONResponse(answer.model_dump(mode="json"))


async def _read(request: Request, service: Service, name: str) -> tuple[dict[str, Any], list[bytes]]:
    """A body's fields; and its files of this name, where it is a form."""
    if is_form(request):
        form = await read_form(request, service.state.settings.limits.file_bytes)
        return form.fields, form.contents(name)
    return await read_json(request, service, "video"), []
