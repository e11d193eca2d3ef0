"""Requests for clips, read into orders: new ones, changes of a clip, remixes. Free of HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

from polarlight.infer.engine import UnsupportedTask

from .errors import Problem
from .inputs import GivenPicture, read_reference
from .job_rows import Job
from .schemas.shared import Reference
from .schemas.videos import (
    VideoCreation,
    VideoEditForm,
    VideoExtensionForm,
    VideoGeneration,
    VideoSettings,
    VideoSource,
)
from .service import Admission, Caller, Service
from .storage import storage_of
from .video_answers import find_video, public_id, video_file
from .video_orders import VideoOrder, with_source

Ordered = tuple[Admission, VideoOrder]


async def creating_order(service: Service, caller: Caller, asked: VideoCreation, first: bytes | None = None) -> Ordered:
    """OpenAI's `POST /v1/videos`. first: the file of the first frame, where one came in a form.

    Raises:
        UserError, NoSuchFile, ContentTooLarge: the picture cannot be had.
        UnsupportedTask: it asks for what is not done here.
    """
    admission = await service.admit_model(caller, "video", asked.model)
    picture = None if first is None else await asyncio.to_thread(GivenPicture.read, first)
    if asked.input_reference is not None:
        picture = await _picture(service, caller, asked.input_reference)
    return admission, VideoOrder(seconds=asked.seconds, size=asked.size or "auto", first=picture, **_settings(asked))


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
    service: Service, caller: Caller, asked: VideoEditForm | VideoExtensionForm, clip: bytes | VideoSource
) -> Ordered:
    """An edit or an extension of a clip, at hand or somewhere.

    Raises:
        Problem: the clip is not finished, or gone.
        UserError, NoSuchFile, NoSuchJob, ContentTooLarge: the clip cannot be had or read.
        UnsupportedTask: it asks for what is not done here.
    """
    admission = await service.admit_model(caller, "video", asked.model)
    if isinstance(clip, bytes):
        source = await asyncio.to_thread(with_source, clip)
    else:
        source = await _source(service, caller, clip)
    fields = {**_settings(asked), **source}
    if isinstance(asked, VideoExtensionForm):
        return admission, VideoOrder(task="extend", seconds=asked.duration, **fields)
    return admission, VideoOrder(task="edit", **fields)


async def remixing_order(service: Service, caller: Caller, before: Job, prompt: str) -> Ordered:
    """A finished clip made anew by other words.

    Raises:
        Problem: the clip is not finished, or gone.
    """
    admission = await service.admit_model(caller, "video", before.model)
    source = await _source_of_job(service, before)
    seconds, made_from = before.body["seconds"], public_id(before)
    return admission, VideoOrder(prompt=prompt, seconds=seconds, task="edit", remixed_from=made_from, **source)


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
    """The fields of an order that starts from a clip."""
    if video.id:
        return await _source_of_job(service, await find_video(service, caller.key.id, video.id))
    content = await read_reference(service.state, service.options, caller.key.id, video.url or video.file_id or "")
    return await asyncio.to_thread(with_source, content)


async def _source_of_job(service: Service, job: Job) -> dict[str, Any]:
    """The same for a clip made here."""
    file = await video_file(service, job)
    if file is None:
        raise Problem(400, "The clip is not finished, or it is gone.", code="failed_precondition", param="video")
    content = await asyncio.to_thread(service.state.objects.get, file.object_key)
    return await asyncio.to_thread(with_source, content)
