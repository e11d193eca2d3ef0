"""Clips: ordered, watched, fetched, changed, deleted."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse

from ..authentication import caller_of, service_of
from ..bodies import checked, read_json
from ..dialects import known_dialect
from ..documentation import answers, body_of
from ..downloads import download
from ..errors import Problem
from ..jobs import Job
from ..schemas.shared import Order
from ..schemas.videos import (
    Remix,
    VideoBody,
    VideoCreation,
    VideoDeleted,
    VideoEdit,
    VideoExtension,
    VideoGeneration,
    VideoList,
    VideoRequested,
    VideoStatus,
)
from ..service import Caller, Service
from ..video_answers import PREFIX, find_video, public_id, video_body, video_file, video_status
from ..video_inputs import changing_order, creating_order, generating_order, source_of_job
from ..video_orders import VideoOrder, submit_video

router = APIRouter(prefix="/v1/videos", tags=["videos"])
Asking = Annotated[Caller, Depends(caller_of)]
POLL_MS = "1000"


@router.post("", responses=answers(), openapi_extra=body_of(VideoCreation, VideoCreation, files=("input_reference",)))
async def create(request: Request, caller: Asking) -> VideoBody:
    """Order a clip (OpenAI)."""
    service = service_of(request)
    return video_body(await submit_video(service, *await creating_order(request, service, caller)))


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
    return await _changed(request, caller, "edit")


@router.post(
    "/extensions",
    responses=answers(VideoBody | VideoRequested),
    openapi_extra=body_of(VideoExtension, VideoExtension, files=("video",), needed=("video",)),
)
async def extend(request: Request, caller: Asking) -> Response:
    """Make a clip longer."""
    return await _changed(request, caller, "extend")


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
    found = await asyncio.to_thread(
        service.state.jobs.page,
        caller.key.id,
        after=last,
        limit=limit + 1,
        newest_first=order == "desc",
        kinds=("video",),
    )
    page = [video_body(job) for job in found[:limit]]
    ids = [body.id for body in page]
    return VideoList(
        data=page, has_more=len(found) > limit, first_id=ids[0] if ids else None, last_id=ids[-1] if ids else None
    )  # fmt: skip


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
    admission = await service.admit_model(caller, "video", before.model)
    source = await source_of_job(service, before)
    order = VideoOrder(
        prompt=asked.prompt, seconds=before.body["seconds"], task="edit",
        remixed_from=public_id(before), **source,
    )  # fmt: skip
    return video_body(await submit_video(service, admission, order))


async def _changed(request: Request, caller: Caller, task: Literal["edit", "extend"]) -> Response:
    """Order an edit or an extension, answered in the dialect of the request."""
    service: Service = service_of(request)
    job: Job = await submit_video(service, *await changing_order(request, service, caller, task))
    requested = VideoRequested(request_id=job.id)
    answer: Any = requested if known_dialect(request) == "xai" else video_body(job)
    return JSONResponse(answer.model_dump(mode="json"))
