"""Waiting for a job together with the client who asked for it: when the client goes, the work stops."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from fastapi import Request
from starlette.requests import ClientDisconnect

from .job_rows import Job
from .service import Service


async def until_ended(request: Request, service: Service, job: Job, *, keep: bool) -> Job:
    """The ended job.

    keep: let the job go on when the client is gone: one that named an idempotency key may come back for it.

    Raises:
        ClientDisconnect: the client is gone.
    """
    waiting = asyncio.create_task(ended_job(service, job))
    leaving = asyncio.create_task(_disconnected(request))
    try:
        await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        if not keep:
            service.workers.abandon(job)
        raise ClientDisconnect
    finally:
        for task in (waiting, leaving):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def ended_job(service: Service, job: Job) -> Job:
    """The ended job, previews unseen. Cancelling this leaves the job as it is.

    Raises:
        NoSuchJob: it was deleted meanwhile.
    """
    async for event in service.workers.follow(job):
        if isinstance(event, Job):
            return event
    raise AssertionError("following a job ends with the job")


async def _disconnected(request: Request) -> None:
    """Return when the client is gone; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
