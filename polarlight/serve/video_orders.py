"""Ordering clips: a typed order becomes a job. Free of HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from polarlight.infer.engine import ModelInfo, VideoTask
from polarlight.infer.policy import GateRequest, task_request
from polarlight.media.clips import clip_facts, sample_frames

from .inputs import GivenPicture, store_input
from .job_rows import Job
from .service import Admission, Caller, Service
from .storage import Storage

PREVIEWS = 8  # enough to tell how far a clip is
RESOLUTIONS = (("480p", 480), ("720p", 720))  # up to which shorter side


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoOrder:
    """A clip to make. `source`: the clip (mp4 bytes) that is edited or extended; `frames`: what the gate sees of it.

    `remixed_from`: the id of the job whose clip this one starts from. Other fields: `engine.VideoTask` and `ImageOrder`.
    """

    prompt: str
    seconds: float = 8.0
    size: str = "auto"
    resolution: str | None = None
    seed: int | None = None
    negative_prompt: str | None = None
    task: Literal["generate", "edit", "extend"] = "generate"
    first: GivenPicture | None = None
    last: GivenPicture | None = None
    keyframes: tuple[tuple[float, GivenPicture], ...] = ()
    references: tuple[GivenPicture, ...] = ()
    source: bytes | None = None
    frames: tuple[np.ndarray, ...] = ()
    subject_consent: bool = False
    storage: Storage | None = None
    remixed_from: str | None = None

    @property
    def pictures(self) -> tuple[GivenPicture, ...]:
        """In the order of `VideoTask.pictures`."""
        ends = [each for each in (self.first, self.last) if each is not None]
        return (*ends, *(each for _, each in self.keyframes), *self.references)


def video_task(order: VideoOrder, seed: int) -> VideoTask:
    """An order as the engine is asked for it."""
    return VideoTask(
        prompt=order.prompt, seconds=order.seconds, size=order.size, resolution=order.resolution, seed=seed,
        negative_prompt=order.negative_prompt, first=order.first and order.first.pixels,
        last=order.last and order.last.pixels, keyframes=tuple((at, each.pixels) for at, each in order.keyframes),
        references=tuple(each.pixels for each in order.references), source=order.source, task=order.task,
        previews=PREVIEWS,
    )  # fmt: skip


def video_gate_request(order: VideoOrder, door: str, key_id: str) -> GateRequest:
    """An order as the gate judges it."""
    return task_request(
        video_task(order, 0), entry_point=door, key_id=key_id, files=tuple(each.content for each in order.pictures),
        frames=order.frames, subject_consent=order.subject_consent,
    )  # fmt: skip


def with_source(clip: bytes) -> dict[str, Any]:
    """The fields of an order that come from a source clip.

    Raises:
        UserError: it is not an mp4, or is longer than ten minutes.
    """
    return {"source": clip, "frames": tuple(sample_frames(clip))}


def made_size(order: VideoOrder, info: ModelInfo) -> tuple[int, int]:
    """Width and height that the clip will have."""
    size = info.size_of(video_task(order, 0))
    return size.width, size.height


def resolution_of(width: int, height: int) -> str:
    """The resolution whose price a clip has."""
    return next((name for name, most in RESOLUTIONS if min(width, height) <= most), "1080p")


async def submit_video(service: Service, admission: Admission, order: VideoOrder) -> Job:
    """Check an order in every respect, reserve its price, and put it into the queue.

    Raises:
        Problem, Refused, UserError, CreditsUsedUp, IdempotencyConflict: as `submit_images`.
    """
    ticks, body = await prepare_video(service, admission, order)
    return await service.enqueue(admission, "video", body, ticks)


async def prepare_video(service: Service, admission: Admission, order: VideoOrder) -> tuple[int, dict[str, Any]]:
    """The price and the job's body of an order, after the engine and the gate agreed to it."""
    caller, model, info = admission.caller, admission.model, admission.engine.info
    order = replace(order, subject_consent=order.subject_consent or caller.subject_consent)
    info.check(video_task(order, 0))
    size = made_size(order, info)
    length = 0.0 if order.source is None else (await asyncio.to_thread(clip_facts, order.source)).seconds
    ticks = service.state.prices.video(
        model, seconds=length if order.task == "edit" else order.seconds, resolution=resolution_of(*size),
        inputs=len(order.pictures), input_seconds=round(length, 3),
    )  # fmt: skip
    await asyncio.to_thread(service.gate.check, video_gate_request(order, caller.door, caller.key.id))
    return ticks, await asyncio.to_thread(_body, service, caller, order, size)


def _body(service: Service, caller: Caller, order: VideoOrder, size: tuple[int, int]) -> dict[str, Any]:
    """Everything the worker needs, as JSON; equal orders have equal bodies."""

    def store(content: bytes) -> str:
        return store_input(service.state, caller.key.id, content)

    return {
        "prompt": order.prompt, "seconds": order.seconds, "size": order.size, "resolution": order.resolution,
        "seed": order.seed, "negative_prompt": order.negative_prompt, "task": order.task,
        "first": order.first and store(order.first.content), "last": order.last and store(order.last.content),
        "keyframes": [[at, store(each.content)] for at, each in order.keyframes],
        "references": [store(each.content) for each in order.references],
        "source": order.source and store(order.source), "subject_consent": order.subject_consent,
        "storage": order.storage and asdict(order.storage), "remixed_from": order.remixed_from,
        "door": caller.door, "made_size": list(size),
    }  # fmt: skip
