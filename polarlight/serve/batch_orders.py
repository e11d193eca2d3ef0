"""Batches as every door orders them: opened, filled, cancelled, read page by page. Free of HTTP."""

from __future__ import annotations

import asyncio

from polarlight.base.errors import UserError

from .batch_requests import prepared, requests_in, result_of
from .batches import Batch, BatchRequest
from .job_rows import FINAL, Job
from .pages import Page
from .schemas.batches import BatchCreation, BatchRequestBody, BatchResult
from .service import Caller, Service

PAGE, MOST_LISTED = 100, 1000  # batches, requests or results in one answer: where nothing is said, and at most


async def open_batch(service: Service, caller: Caller, asked: BatchCreation) -> Batch:
    """Open a batch, empty or with all requests of an uploaded file. The same again with the caller's idempotency key is the
    same batch.

    Raises:
        NoSuchFile: the file is unknown or another key's.
        UserError: a line of the file is no request; otherwise as `add_requests`.
        CreditsUsedUp, IdempotencyConflict: as `Batches.create`.
    """
    batches, ready, again = service.state.batches, list[BatchRequest](), caller.idempotency_key
    before = await asyncio.to_thread(batches.opened_before, caller.key.id, asked.name, asked.input_file_id, again)
    if before is not None:
        return before
    if asked.input_file_id is not None:
        file = await asyncio.to_thread(service.state.files.get, asked.input_file_id, caller.key.id)
        content = await asyncio.to_thread(service.state.objects.get, file.object_key)
        ready = await _all_prepared(service, caller, requests_in(content))
    about = {"input_file_id": asked.input_file_id, "requests": ready, "idempotency_key": again}
    batch = await asyncio.to_thread(batches.create, caller.key.id, asked.name, **about)
    service.workers.wake()
    return batch


async def add_requests(service: Service, caller: Caller, batch_id: str, asked: list[BatchRequestBody]) -> Batch:
    """Add requests to a batch, all or none; one that came before with the same name and body is left as it is.

    Raises:
        NoSuchBatch: it is unknown or another key's.
        UserError, Problem, Refused: as `prepared`; or two requests have one name, or the batch has ended.
        CreditsUsedUp, IdempotencyConflict: as `Batches.add`.
    """
    await asyncio.to_thread(service.state.batches.get, batch_id, caller.key.id)
    await asyncio.to_thread(
        service.state.batches.add, batch_id, await _all_prepared(service, caller, asked), caller.key.id
    )
    service.workers.wake()
    return await asyncio.to_thread(service.state.batches.get, batch_id, caller.key.id)


async def cancel_batch(service: Service, caller: Caller, batch_id: str) -> Batch:
    """Cancel what has not ended of a batch, and stop the work on it.

    Raises:
        NoSuchBatch: it is unknown or another key's.
    """
    batch = await asyncio.to_thread(service.state.batches.cancel, batch_id, caller.key.id)
    service.workers.dismiss_batch(batch.id)
    return batch


async def results_in(service: Service, page: Page[Job]) -> list[BatchResult]:
    """The results of those jobs of a page that have ended."""
    return [await result_of(service, job) for job in page.items if job.state in FINAL]


async def _all_prepared(service: Service, caller: Caller, asked: list[BatchRequestBody]) -> list[BatchRequest]:
    names = [each.batch_request_id for each in asked]
    if len(set(names)) < len(names):
        raise UserError("Two requests have the same batch_request_id.", fix="Name each request differently.")
    return [await prepared(service, caller, each) for each in asked]
