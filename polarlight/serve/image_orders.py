"""Ordering pictures: a typed order becomes a job, an ended job a typed answer. Free of HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

from polarlight.infer.engine import ImageTask, ModelInfo
from polarlight.infer.policy import Permit, task_request

from .errors import JOB_FAILURES, Problem
from .families import family_of
from .inputs import GivenPicture, store_input
from .job_rows import Job
from .service import Admission, Caller, Service
from .storage import Storage
from .stored_files import NoSuchFile, StoredFile

TIERS = (("1k", 1_400_000), ("1.5k", 2_900_000))  # pixels up to which a picture has the price of a resolution
PRICE_QUALITY = {"low": "low", "standard": "low", "medium": "medium"}  # everything above has the price of "high"
CANDIDATES = 4  # of a picture that its price includes, as many as the shipped model's quality mode draws
MODE_RANK = {None: 0, "auto": 0, "low": 0, "standard": 0, "medium": 1}  # everything above: the model's last mode


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageOrder:
    """Pictures to make: n of them, with the seeds `seed`, `seed + 1`, ...; without a seed the job chooses.

    size: "auto", an aspect or pixels; resolution: a tier ("1k") or one of the model's; quality: chooses the model's mode and the
    price; form: "png", "jpeg" or "webp"; previews: at most this many on the way. Other fields: `engine.ImageTask`.
    """

    prompt: str
    n: int = 1
    size: str = "auto"
    resolution: str | None = None
    quality: str | None = None
    negative_prompt: str | None = None
    plan: str | None = None
    candidates: int | None = None
    seed: int | None = None
    task: Literal["draw", "edit", "variation", "upscale"] = "draw"
    factor: int = 2
    pictures: tuple[GivenPicture, ...] = ()
    mask: bytes | None = None
    mask_pixels: np.ndarray | None = None
    previews: int = 0
    form: Literal["png", "jpeg", "webp"] = "png"
    subject_consent: bool = False
    storage: Storage | None = None


@dataclass(frozen=True, kw_only=True)
class MadePicture:
    """One picture of an answer. `file` is None where the gate withheld it, or where it was deleted since.

    note: one sentence where the size differs from what was asked; tokens: 16 x 16 px cells.
    """

    file: StoredFile | None
    allowed: bool
    prompt: str
    seed: int
    width: int
    height: int
    note: str

    @property
    def tokens(self) -> int:
        return -(-self.width // 16) * -(-self.height // 16)


@dataclass(frozen=True, kw_only=True)
class ImageAnswer:
    """An ended job's pictures and what they cost."""

    job: Job
    pictures: tuple[MadePicture, ...]
    cost_ticks: int
    about: Mapping[str, Any] = field(default_factory=dict)


def mode_of(info: ModelInfo, quality: str | None) -> str:
    """The model's mode for a quality: its modes run from the fastest to the best."""
    rank = MODE_RANK.get(quality, len(info.modes) - 1)
    return info.modes[min(rank, len(info.modes) - 1)]


def tier_of(width: int, height: int) -> str:
    """The resolution whose price a size has: the size that is made counts, not the one that was asked for."""
    return next((name for name, most in TIERS if width * height <= most), "2k")


def task_of(order: ImageOrder, info: ModelInfo, seed: int) -> ImageTask:
    """One picture of an order as the engine is asked for it."""
    return ImageTask(
        prompt=order.prompt, seed=seed, size=order.size, resolution=order.resolution, mode=mode_of(info, order.quality),
        negative_prompt=order.negative_prompt, plan=order.plan, candidates=order.candidates,
        pictures=tuple(each.pixels for each in order.pictures),
        mask=order.mask_pixels, task=order.task, factor=order.factor, previews=order.previews,
    )  # fmt: skip


async def submit_images(service: Service, admission: Admission, order: ImageOrder) -> Job:
    """Check an order in every respect, reserve its price, and put it into the queue.

    Raises:
        Problem: a full queue or a stopping server.
        Refused: the gate says no.
        UserError: the model cannot do it, or an input is wrong.
        CreditsUsedUp: the key cannot pay.
        IdempotencyConflict: the idempotency key came with another order.
    """

    def submit(job_id: str, worker: str | None) -> Job:
        ticks, body, permit = _prepared(service, admission, order)
        job = service.submit(admission, "image", body, ticks, job_id=job_id, worker=worker)
        if job.id == job_id and job.worker is not None:
            service.permits[job.id] = permit
        return job

    return await service.workers.enter(submit)


async def prepare_images(service: Service, admission: Admission, order: ImageOrder) -> tuple[int, dict[str, Any]]:
    """The price and the job's body of an order, after the engine and the gate agreed to it."""
    ticks, body, _ = await asyncio.to_thread(_prepared, service, admission, order)
    return ticks, body


def _prepared(service: Service, admission: Admission, order: ImageOrder) -> tuple[int, dict[str, Any], Permit]:
    caller, model, info = admission.caller, admission.model, admission.engine.info
    order = replace(order, subject_consent=order.subject_consent or caller.subject_consent)
    task = task_of(order, info, 0)
    info.check(task)
    made = info.size_of(task)
    ticks = service.state.prices.image(
        model, n=order.n * paid_times(order.candidates), resolution=tier_of(made.width, made.height),
        quality=price_quality(service, model, order), inputs=len(order.pictures),
    )  # fmt: skip
    request = task_request(
        task, entry_point=caller.door, key_id=caller.key.id, files=tuple(each.content for each in order.pictures),
        subject_consent=order.subject_consent,
    )  # fmt: skip
    permit = service.gate.check(request)
    return ticks, _body(service, caller, order), permit


def paid_times(candidates: int | None) -> int:
    """How many times a picture's price is paid for so many candidates: CANDIDATES are in the price."""
    return -(-(candidates or 1) // CANDIDATES)


def price_quality(service: Service, model: str, order: ImageOrder) -> str:
    """The quality that is paid for; grok models edit at "medium" where nothing is said, and draw at "low"."""
    if order.quality in (None, "auto"):
        edits = order.task != "draw" and family_of(model, service.engines) == "grok"
        return "medium" if edits else "low"
    return PRICE_QUALITY.get(order.quality, "high")


def _body(service: Service, caller: Caller, order: ImageOrder) -> dict[str, Any]:
    """Everything the worker needs, as JSON; equal orders have equal bodies."""
    key_id = caller.key.id
    return {
        "prompt": order.prompt, "n": order.n, "size": order.size, "resolution": order.resolution,
        "quality": order.quality, "negative_prompt": order.negative_prompt, "plan": order.plan,
        "candidates": order.candidates, "seed": order.seed,
        "task": order.task, "factor": order.factor,
        "pictures": [store_input(service.state, key_id, each.content) for each in order.pictures],
        "mask": order.mask and store_input(service.state, key_id, order.mask),
        "previews": order.previews,
        "form": order.form, "subject_consent": order.subject_consent,
        "storage": order.storage and asdict(order.storage), "door": caller.door,
    }  # fmt: skip


async def image_answer(service: Service, job: Job) -> ImageAnswer:
    """The answer of an ended job.

    Raises:
        Problem: it failed, was cancelled or expired.
    """
    if job.state != "done" or job.result is None:
        raise problem_of_job(job)
    files = await asyncio.to_thread(_files, service, job.result["files"])
    pictures = tuple(
        MadePicture(
            file=None if each["file"] is None else files[each["file"]], allowed=each["allowed"], prompt=each["prompt"],
            seed=each["seed"], width=each["width"], height=each["height"], note=each["note"],
        )
        for each in job.result["pictures"]
    )  # fmt: skip
    return ImageAnswer(job=job, pictures=pictures, cost_ticks=job.cost_ticks or 0, about=job.body)


def _files(service: Service, ids: Sequence[str]) -> list[StoredFile | None]:
    """Files in order, None for one that was deleted."""
    files: list[StoredFile | None] = []
    for file_id in ids:
        files.append(None)
        with suppress(NoSuchFile):
            files[-1] = service.state.files.get(file_id)
    return files


def problem_of_job(job: Job) -> Problem:
    """How a job that was not done is answered to who waited for it."""
    if job.state == "failed":
        status = JOB_FAILURES.get(job.error_code or "", 500)
        code = "moderation_blocked" if job.error_code == "content_policy" else job.error_code or ""
        return Problem(status, job.error_message or "The job failed.", code=code, cost_ticks=job.cost_ticks or 0)
    ended = "was cancelled" if job.state == "cancelled" else "waited too long"
    return Problem(503, f"The request {ended}.", code=job.state, cost_ticks=0)
