"""Requests for clips, read into orders: forms and JSON, both dialects."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from fastapi import Request

from polarlight.base.errors import UserError
from polarlight.infer.engine import UnsupportedTask

from .bodies import checked, is_form, read_form, read_json
from .dialects import known_dialect, set_dialect
from .errors import Problem
from .inputs import GivenPicture, read_reference
from .jobs import Job
from .schemas.shared import Reference
from .schemas.videos import VideoCreation, VideoEdit, VideoExtension, VideoGeneration, VideoSettings, VideoSource
from .service import Admission, Caller, Service
from .storage import storage_of
from .video_answers import find_video, video_file
from .video_orders import VideoOrder, with_source

Ordered = tuple[Admission, VideoOrder]


async def creating_order(request: Request, service: Service, caller: Caller) -> Ordered:
    """OpenAI's `POST /v1/videos`.

    Raises:
        Problem, UserError, NoSuchFile, ContentTooLarge: the body is wrong.
    """
    files: list[bytes] = []
    if is_form(request):
        form = await read_form(request, service.state.settings.limits.file_bytes)
        body, files = form.fields, form.contents("input_reference")
    else:
        body = await read_json(request, service, "video")
    set_dialect(request, "openai")
    asked = checked(VideoCreation, body, "openai")
    admission = await service.admit_model(caller, "video", asked.model)
    first = await asyncio.to_thread(GivenPicture.read, files[0]) if files else None
    if asked.input_reference is not None:
        first = await _picture(service, caller, asked.input_reference)
    return admission, VideoOrder(seconds=asked.seconds, size=asked.size or "auto", first=first, **_settings(asked))


async def generating_order(
    service: Service, caller: Caller, asked: VideoGeneration, *, counted: bool = True
) -> Ordered:
    """xAI's `POST /v1/videos/generations`.

    Raises:
        UserError, NoSuchFile, ContentTooLarge: a picture cannot be had.
        UnsupportedTask: it asks for what is not done here.
    """

    async def picture(reference: Reference | None) -> GivenPicture | None:
        return None if reference is None else await _picture(service, caller, reference)

    admission = await service.admit_model(caller, "video", asked.model, counted=counted)
    keyframes = [(each.timestamp_s, await _picture(service, caller, each.image)) for each in asked.keyframes]
    return admission, VideoOrder(
        seconds=asked.duration, size=asked.aspect_ratio or "auto", resolution=asked.resolution,
        first=await picture(asked.image), last=await picture(asked.last_frame), keyframes=tuple(keyframes),
        references=tuple([await _picture(service, caller, each) for each in asked.reference_images]),
        **_settings(asked),
    )  # fmt: skip


async def changing_order(
    request: Request, service: Service, caller: Caller, task: Literal["edit", "extend"]
) -> Ordered:
    """An edit or an extension of a clip, in either dialect.

    Raises:
        Problem, UserError, NoSuchFile, NoSuchJob, ContentTooLarge: the body is wrong.
    """
    schema: type[VideoEdit | VideoExtension] = VideoEdit if task == "edit" else VideoExtension
    if is_form(request):
        form = await read_form(request, service.state.settings.limits.file_bytes)
        files = form.contents("video")
        asked = checked(schema, form.fields, known_dialect(request))
    else:
        files = []
        asked = checked(schema, await read_json(request, service, "video"), known_dialect(request))
    admission = await service.admit_model(caller, "video", asked.model)
    more: dict[str, Any] = {"seconds": asked.duration} if isinstance(asked, VideoExtension) else {}
    if files:
        source = await asyncio.to_thread(with_source, files[0])
    elif asked.video is None:
        raise UserError("The request has no clip.", fix="Send one as video.")
    else:
        source = await _source(service, caller, asked.video)
    return admission, VideoOrder(task=task, **more, **_settings(asked), **source)


async def source_of_job(service: Service, job: Job) -> dict[str, Any]:
    """The fields of an order that starts from a clip made here.

    Raises:
        Problem: the clip is not finished, or gone.
    """
    file = await video_file(service, job)
    if file is None:
        raise Problem(400, "The clip is not finished, or it is gone.", code="failed_precondition", param="video")
    content = await asyncio.to_thread(service.state.objects.get, file.object_key)
    return await asyncio.to_thread(with_source, content)


def _settings(asked: VideoSettings) -> dict[str, Any]:
    """The fields that every order has."""
    if asked.output is not None and asked.output.upload_url:
        raise UnsupportedTask("Clips are not uploaded to an address.", fix="Fetch the clip from its url.")
    if asked.reference_audios:
        raise UnsupportedTask("Voices are not made here.", fix="Leave reference_audios out.")
    return {
        "prompt": asked.prompt, "seed": asked.seed,
        "negative_prompt": asked.negative_prompt or None, "subject_consent": asked.subject_consent,
        "storage": storage_of(asked.storage_options),
    }  # fmt: skip


async def _picture(service: Service, caller: Caller, reference: Reference) -> GivenPicture:
    content = await read_reference(service.state, service.options, caller.key.id, reference.place)
    return await asyncio.to_thread(GivenPicture.read, content)


async def _source(service: Service, caller: Caller, video: VideoSource) -> dict[str, Any]:
    if video.id:
        return await source_of_job(service, await find_video(service, caller.key.id, video.id))
    content = await read_reference(service.state, service.options, caller.key.id, video.url or video.file_id or "")
    return await asyncio.to_thread(with_source, content)
