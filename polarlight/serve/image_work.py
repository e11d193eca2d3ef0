"""Making pictures: what a worker does with an image job."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from polarlight.infer.engine import Done, Engine, EngineFull, ImageResult, ImageTask, Task, Ticket
from polarlight.infer.policy import Permit, task_request
from polarlight.media.pictures import fitted
from polarlight.media.sealing import mark_of

from .image_orders import ImageOrder, task_of
from .inputs import GivenPicture, read_mask
from .job_rows import Job
from .outputs import Sealed
from .service import Service
from .stored_files import NewFile
from .work import Finished, JobFailed, Shown, Work

SEEDS = 1 << 63
MOST_PATIENCE_S = 0.5  # between two tries to enter a full engine
OUTPUT, STORED = "output", "stored"  # purposes: what goes with its job, and what the client asked to keep
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True, eq=False)
class Made:
    """A picture of the job and its finished file."""

    result: ImageResult
    file: Sealed


async def make_images(service: Service, work: Work, show: Callable[[Shown], None]) -> Finished:
    """Draw every picture of a job, all at once: the engine batches them.

    Raises:
        JobFailed: the gate withholds every picture, or an input is gone.
    """
    job, body = work.job, work.job.body
    engine = service.engines.get(job.model)
    permit = service.permits.pop(job.id, None)
    order = await asyncio.to_thread(_order, service, job) if body["pictures"] else _order(service, job)
    seed = seed_of(job.id) if order.seed is None else order.seed
    tasks = [task_of(order, engine.info, (seed + number) % SEEDS) for number in range(order.n)]
    permits = [permit, *(None for _ in tasks[1:])]
    making = [
        _make(service, work, engine, order, number, task, own, show)
        for number, (task, own) in enumerate(zip(tasks, permits, strict=True))
    ]
    made = await all_or_none(making)
    kept = [each for each in made if each.file.allowed]
    service.metrics.made(job.model, len(made))
    withheld = 0 if service.options.bill_moderated else len(made) - len(kept)
    cost = job.reserved_ticks - withheld * (job.reserved_ticks // len(made))
    if not kept:
        billed = job.reserved_ticks if service.options.bill_moderated else 0
        raise JobFailed(
            "content_policy", f"Generated image rejected by content moderation. {made[0].file.message}", billed
        )
    files = [stored_as(service, body["storage"], each.file, number) for number, each in enumerate(kept)]
    result = {"pictures": [_facts(each, kept, body["prompt"], job.id, n) for n, each in enumerate(made)]}
    return Finished(files=files, result=result, cost_ticks=cost)


async def ask_gate(service: Service, job: Job, task: ImageTask, pictures: Sequence[GivenPicture]) -> Permit:
    """A permit for one picture: the door's own opens the engine only for the first, and only where the work began at once."""
    request = task_request(
        task, entry_point=job.body["door"], key_id=job.key_id, files=tuple(each.content for each in pictures),
        subject_consent=job.body["subject_consent"],
    )  # fmt: skip
    return await asyncio.to_thread(service.gate.check, request)


async def all_or_none(making: Sequence[Coroutine[Any, Any, Value]]) -> list[Value]:
    """Every result in order; the first failure stops the others and is raised."""
    tasks = [asyncio.ensure_future(each) for each in making]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def submit_when_free(engine: Engine, task: Task, permit: Permit, owner: str) -> Ticket:
    """Submit a task, waiting while the engine's queue is full: an accepted job loses its place to nobody.

    Raises:
        PermissionError, UnsupportedTask, EngineClosed: as `Engine.submit`.
    """
    while True:
        try:
            return await permit.submit(engine, task, owner)
        except EngineFull as full:
            await asyncio.sleep(min(full.retry_after_s, MOST_PATIENCE_S))


def kept_source(order: ImageOrder, height: int, width: int) -> np.ndarray | None:
    """The picture that a mask keeps parts of, at the size of what was made of it: uint8 [h, w, 3]."""
    return None if order.mask is None else fitted(order.pictures[0].pixels, height, width)


def seed_of(job_id: str) -> int:
    """The seed of a job that was given none: a repeated attempt draws the same pictures."""
    return int.from_bytes(hashlib.sha256(job_id.encode()).digest()[:4])


def stored_as(service: Service, storage: dict[str, Any] | None, file: Sealed, number: int) -> NewFile:
    """An output as a file: under the client's own name and time where it asked to keep it."""
    if storage is None:
        return file.as_file(f"output-{number + 1}{file.suffix}", OUTPUT, service.state.settings.limits.keep_s)
    return file.as_file(numbered(storage["filename"], number), STORED, storage["expires_s"])


def numbered(filename: str, number: int) -> str:
    """The file names of several outputs: name.png, name-2.png, ..."""
    stem, dot, suffix = filename.rpartition(".")
    return filename if number == 0 else f"{stem or suffix}-{number + 1}{dot if stem else ''}{suffix if stem else ''}"


async def _make(
    service: Service,
    work: Work,
    engine: Engine,
    order: ImageOrder,
    number: int,
    task: ImageTask,
    permit: Permit | None,
    show: Callable[[Shown], None],
) -> Made:
    if permit is None:
        permit = await ask_gate(service, work.job, task, order.pictures)
    parent = order.pictures[0].content if order.pictures else None
    trace = f"{work.job.id}/{number}"

    async def seal(how: Callable[..., Sealed], pixels: Any, about: dict[str, Any], **more: Any) -> Sealed:
        about = {"served_as": work.job.model, **about}
        return await asyncio.to_thread(how, pixels, about, permit=permit, trace=trace, form=order.form, **more)

    async with await submit_when_free(engine, task, permit, work.job.key_id) as ticket:
        work.tickets.append(ticket)
        async for event in ticket:
            if isinstance(event, Done):
                work.progress = min(99, work.progress + 90 // order.n)
                result = event.result
                assert isinstance(result, ImageResult)
                more = {"parent": parent, "source": kept_source(order, *result.pixels.shape[:2])}
                sealed = await seal(service.outputs.seal_picture, result.pixels, result.metadata, **more)
                return Made(result=result, file=sealed)
            about = {"prompt": order.prompt, "seed": task.seed, "preview": event.number}
            file = await seal(service.outputs.seal_preview, event.picture, about)
            if file.allowed:
                show(Shown(picture=number, number=event.number, passes=event.passes, file=file))
    raise AssertionError("a ticket ends with Done or an error")


def _order(service: Service, job: Job) -> ImageOrder:
    """The order as it was given, with its inputs read again."""
    body = job.body
    try:
        contents = [service.state.objects.get(key) for key in body["pictures"]]
        mask = None if body["mask"] is None else service.state.objects.get(body["mask"])
    except FileNotFoundError:
        raise JobFailed("failed_precondition", "A file of this request was deleted before it was made.") from None
    pictures = tuple(GivenPicture.read(content) for content in contents)
    return ImageOrder(
        prompt=body["prompt"], n=body["n"], size=body["size"], resolution=body["resolution"],
        quality=body["quality"], negative_prompt=body["negative_prompt"], plan=body.get("plan"),
        candidates=body.get("candidates"), seed=body["seed"],
        task=body["task"], factor=body.get("factor", 2),
        pictures=pictures, mask=mask, previews=body["previews"], form=body["form"],
        mask_pixels=None if mask is None else read_mask(mask, *pictures[0].pixels.shape[:2]),
        subject_consent=body["subject_consent"],
    )  # fmt: skip


def _facts(made: Made, kept: Sequence[Made], prompt: str, job_id: str, number: int) -> dict[str, Any]:
    """What the answer says of one picture."""
    height, width = made.result.pixels.shape[:2]
    return {
        "file": kept.index(made) if made.file.allowed else None, "allowed": made.file.allowed,
        "prompt": str(made.result.metadata.get("prompt") or prompt), "seed": made.result.seed, "width": width,
        "height": height, "note": str(made.result.metadata.get("note", "")), "mark": mark_of(f"{job_id}/{number}"),
    }  # fmt: skip
