"""Making clips: what a worker does with a video job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from polarlight.infer.engine import Done, Preview, VideoResult
from polarlight.media.grid import contact_sheet
from polarlight.media.pictures import encode_picture
from polarlight.media.sealing import mark_of

from .image_work import seed_of, stored_as, submit_when_free
from .inputs import GivenPicture
from .job_rows import Job
from .service import Service
from .stored_files import NewFile
from .video_orders import VideoOrder, video_gate_request, video_task, with_source
from .work import Finished, JobFailed, Shown, Work


async def make_video(service: Service, work: Work, show: Callable[[Shown], None]) -> Finished:
    """Make the clip of a job, with a thumbnail and a sheet of its frames. Previews only move the progress.

    Raises:
        JobFailed: the gate withholds the clip, or an input is gone.
    """
    job = work.job
    engine = service.engines.get(job.model)
    order = await asyncio.to_thread(_order, service, job)
    task = video_task(order, seed_of(job.id) if order.seed is None else order.seed)
    permit = await asyncio.to_thread(service.gate.check, video_gate_request(order, job.body["door"], job.key_id))
    clip = None
    async with await submit_when_free(engine, task, permit, job.key_id) as ticket:
        work.tickets.append(ticket)
        async for event in ticket:
            if isinstance(event, Preview):
                work.progress = min(99, 100 * event.number // max(1, event.passes))
            elif isinstance(event, Done):
                clip = event.result
    assert isinstance(clip, VideoResult), "a ticket of a clip ends with a clip"
    about = {
        "prompt": order.prompt,
        "seed": clip.seed,
        "seconds": clip.seconds,
        "served_as": job.model,
        **clip.metadata,
    }
    parent = order.source or (order.pictures[0].content if order.pictures else None)
    trace = f"{job.id}/0"
    sealed, frames = await asyncio.to_thread(
        service.outputs.seal_clip, clip, about, permit=permit, trace=trace, parent=parent
    )  # fmt: skip
    facts = {
        "allowed": sealed.allowed, "message": sealed.message, "seconds": clip.seconds, "width": clip.size[0],
        "height": clip.size[1], "seed": clip.seed, "mark": mark_of(trace),
    }  # fmt: skip
    if not sealed.allowed:
        return Finished(files=[], result=facts, cost_ticks=job.reserved_ticks if service.options.bill_moderated else 0)
    files = [stored_as(service, job.body["storage"], sealed, 0), *await asyncio.to_thread(_stills, service, frames)]
    return Finished(files=files, result=facts, cost_ticks=job.reserved_ticks)


def _stills(service: Service, frames: list[Any]) -> list[NewFile]:
    """The thumbnail and the sheet that lists show."""
    keep_s = service.state.settings.limits.keep_s
    pictures = {"thumbnail.webp": frames[0], "spritesheet.webp": contact_sheet(frames, columns=len(frames))}
    return [
        NewFile(
            filename=name, content=encode_picture(pixels, {}, ".webp"), content_type="image/webp", purpose="output",
            expires_in_s=keep_s,
        )
        for name, pixels in pictures.items()
    ]  # fmt: skip


def _order(service: Service, job: Job) -> VideoOrder:
    """The order as it was given, with its inputs read again."""
    body = job.body

    def given(key: str) -> GivenPicture:
        return GivenPicture.read(service.state.objects.get(key))

    try:
        return VideoOrder(
            prompt=body["prompt"], seconds=body["seconds"], size=body["size"],
            resolution=body["resolution"], seed=body["seed"], negative_prompt=body["negative_prompt"],
            task=body["task"], first=None if body["first"] is None else given(body["first"]),
            last=None if body["last"] is None else given(body["last"]),
            keyframes=tuple((at, given(key)) for at, key in body["keyframes"]),
            references=tuple(map(given, body["references"])), subject_consent=body["subject_consent"],
            **({} if body["source"] is None else with_source(service.state.objects.get(body["source"]))),
        )  # fmt: skip
    except FileNotFoundError:
        raise JobFailed("failed_precondition", "A file of this request was deleted before it was made.") from None
