"""What is said of a video job: OpenAI's video object, xAI's status."""

from __future__ import annotations

import asyncio

from .image_answers import file_output
from .job_rows import Job, NoSuchJob
from .schemas.videos import VideoBody, VideoError, VideoFile, VideoStatus
from .service import Service
from .stored_files import StoredFile

PREFIX = "video_"
VARIANTS = {"video": 0, "thumbnail": 1, "spritesheet": 2}  # places among the job's files
XAI_CODES = {"content_policy": "invalid_argument"}
OPENAI_CODES = {"content_policy": "moderation_blocked"}


def public_id(job: Job) -> str:
    """A job's id in OpenAI's form."""
    return PREFIX + job.id


async def find_video(service: Service, key_id: str, video_id: str) -> Job:
    """A key's video job by its id in either form.

    Raises:
        NoSuchJob: it is unknown, another key's, or no video.
    """
    try:
        job = await asyncio.to_thread(service.state.jobs.get, video_id.removeprefix(PREFIX), key_id)
    except NoSuchJob:
        raise NoSuchJob(video_id) from None
    if job.kind != "video":
        raise NoSuchJob(video_id)
    return job


async def video_file(service: Service, job: Job, variant: str = "video") -> StoredFile | None:
    """A file of a finished job; None where there is none, or none any more."""
    files = await asyncio.to_thread(service.state.files.of_job, job.id)
    ids = job.result["files"] if job.result else []
    place = VARIANTS[variant]
    return next((file for file in files if place < len(ids) and file.id == ids[place]), None)


def error_of(job: Job, codes: dict[str, str]) -> VideoError | None:
    """Why a job has no clip, with the dialect's own words for some codes."""
    if job.state == "done":
        if job.result and job.result["allowed"]:
            return None
        code, message = (
            "content_policy",
            f"Generated video rejected by content moderation. {(job.result or {})['message']}",
        )
    elif job.state == "failed":
        code, message = job.error_code or "internal_error", job.error_message or "The job failed."
    elif job.state == "cancelled":
        code, message = "failed_precondition", "The request was cancelled."
    elif job.state == "expired":
        code, message = "service_unavailable", "The request waited too long."
    else:
        return None
    return VideoError(code=codes.get(code, code), message=message)


def video_body(job: Job) -> VideoBody:
    """OpenAI's video object."""
    error = error_of(job, OPENAI_CODES)
    going = {"queued": "queued", "running": "in_progress"}
    width, height = job.body["made_size"]
    facts = job.result or {}
    seconds = facts.get("seconds", job.body["seconds"])
    return VideoBody(
        id=public_id(job), created_at=int(job.created_at), completed_at=job.finished_at and int(job.finished_at),
        expires_at=int(job.expires_at) if job.ended else None, model=job.model, progress=job.progress,
        prompt=job.body["prompt"], remixed_from_video_id=job.body["remixed_from"], seconds=f"{seconds:g}",
        size=f"{facts.get('width', width)}x{facts.get('height', height)}",
        status=going.get(job.state, "failed" if error else "completed"), error=error, seed=facts.get("seed"),
    )  # fmt: skip


async def video_status(service: Service, job: Job) -> VideoStatus:
    """xAI's status."""
    if not job.ended:
        return VideoStatus(status="pending", progress=min(99, job.progress), model=job.model)
    usage = {"cost_in_usd_ticks": job.cost_ticks or 0}
    if job.state == "expired":
        return VideoStatus(status="expired", usage=usage, error=error_of(job, XAI_CODES))
    if job.state != "done" or job.result is None:
        return VideoStatus(status="failed", usage=usage, error=error_of(job, XAI_CODES))
    file, url, kept = await video_file(service, job), "", None
    if file is not None:
        url = (await service.public_url(file))[0]
        if storage := job.body["storage"]:
            kept = await asyncio.to_thread(file_output, service, file, storage)
    clip = VideoFile(
        url=url, duration=round(job.result["seconds"]), respect_moderation=job.result["allowed"], file_output=kept
    )  # fmt: skip
    return VideoStatus(status="done", progress=100, model=job.model, video=clip, usage=usage)
