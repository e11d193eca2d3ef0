"""Batches: many requests, worked off when there is time."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from ..authentication import caller_of, service_of
from ..batch_orders import MOST_LISTED, PAGE, add_requests, cancel_batch, open_batch, results_in
from ..batches import Batch
from ..bodies import checked, read_json
from ..documentation import answers, body_of
from ..job_rows import Job
from ..pages import Page, read_page
from ..schemas.batches import (
    BatchBody,
    BatchCost,
    BatchCreation,
    BatchList,
    BatchRequests,
    BatchRequestState,
    BatchRequestStates,
    BatchResults,
    BatchState,
)
from ..service import Caller
from .account import iso

router = APIRouter(prefix="/v1/batches", tags=["batches"])
Asking = Annotated[Caller, Depends(caller_of)]
Limit = Annotated[int, Query(ge=1, le=MOST_LISTED)]


@router.post("", responses=answers(), openapi_extra=body_of(BatchCreation))
async def create(request: Request, caller: Asking) -> BatchBody:
    """Open a batch, empty or with the requests of an uploaded file; the same again with the same `Idempotency-Key` is the same."""
    service = service_of(request)
    await service.admit(caller, "batches")
    asked = checked(BatchCreation, await read_json(request, service), "xai")
    return batch_body(await open_batch(service, caller, asked))


@router.get("", responses=answers())
async def listing(
    request: Request, caller: Asking, limit: Limit = PAGE, pagination_token: str | None = None
) -> BatchList:
    """The key's batches, newest first."""
    service = service_of(request)
    await service.admit(caller, "batches")
    page = await read_page(service.state.batches.page, caller.key.id, after=pagination_token, limit=limit)
    return BatchList(batches=list(map(batch_body, page.items)), pagination_token=page.token)


@router.get("/{batch_id}", responses=answers())
async def retrieve(request: Request, caller: Asking, batch_id: str) -> BatchBody:
    """One batch and where its requests are."""
    service = service_of(request)
    await service.admit(caller, "batches")
    return batch_body(await asyncio.to_thread(service.state.batches.get, batch_id, caller.key.id))


@router.post("/{batch_id}/requests", responses=answers(), openapi_extra=body_of(BatchRequests))
async def add(request: Request, caller: Asking, batch_id: str) -> BatchBody:
    """Add requests, all or none; one that came before with the same name and body is left as it is."""
    service = service_of(request)
    await service.admit(caller, "batches")
    asked = checked(BatchRequests, await read_json(request, service), "xai")
    return batch_body(await add_requests(service, caller, batch_id, asked.batch_requests))


@router.get("/{batch_id}/requests", responses=answers())
async def requests(
    request: Request, caller: Asking, batch_id: str, limit: Limit = PAGE, pagination_token: str | None = None
) -> BatchRequestStates:
    """A batch's requests in the order they were added."""
    page = await _page(request, caller, batch_id, limit, pagination_token)
    return BatchRequestStates(batch_request_metadata=list(map(_state_of, page.items)), pagination_token=page.token)


@router.get("/{batch_id}/results", responses=answers())
async def results(
    request: Request, caller: Asking, batch_id: str, limit: Limit = PAGE, pagination_token: str | None = None
) -> BatchResults:
    """The results of the requests that have ended."""
    page = await _page(request, caller, batch_id, limit, pagination_token)
    return BatchResults(results=await results_in(service_of(request), page), pagination_token=page.token)


@router.post("/{batch_id}:cancel", responses=answers())
async def cancel(request: Request, caller: Asking, batch_id: str) -> BatchBody:
    """Cancel what has not ended."""
    service = service_of(request)
    await service.admit(caller, "batches")
    return batch_body(await cancel_batch(service, caller, batch_id))


def batch_body(batch: Batch) -> BatchBody:
    """A batch as xAI shows it."""
    return BatchBody(
        batch_id=batch.id, name=batch.name, create_time=iso(batch.created_at), expire_time=iso(batch.expires_at),
        cancel_time=None if batch.cancelled_at is None else iso(batch.cancelled_at), input_file_id=batch.input_file_id,
        cost_breakdown=BatchCost(total_cost_usd_ticks=batch.cost_ticks),
        state=BatchState(
            num_requests=batch.requests, num_pending=batch.pending, num_success=batch.successes,
            num_error=batch.errors, num_cancelled=batch.cancelled,
        ),
    )  # fmt: skip


def _state_of(job: Job) -> BatchRequestState:
    return BatchRequestState(
        batch_request_id=job.batch_request_id or "", endpoint=job.body["batch"]["endpoint"], model=job.model,
        state=job.state, create_time=iso(job.created_at),
        finish_time=None if job.finished_at is None else iso(job.finished_at),
    )  # fmt: skip


async def _page(request: Request, caller: Caller, batch_id: str, limit: int, after: str | None) -> Page[Job]:
    """A page of a batch's jobs in the order they were added."""
    service = service_of(request)
    await service.admit(caller, "batches")
    return await read_page(service.state.batches.requests, batch_id, caller.key.id, after=after, limit=limit)
