"""Batches: many requests, worked off when there is time."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from polarlight.base.errors import UserError

from ..authentication import caller_of, service_of
from ..batch_requests import prepared, requests_in, result_of
from ..batches import Batch, BatchRequest
from ..bodies import checked, read_json
from ..documentation import answers, body_of
from ..jobs import FINAL, Job
from ..schemas.batches import (
    BatchBody,
    BatchCost,
    BatchCreation,
    BatchList,
    BatchRequestBody,
    BatchRequests,
    BatchRequestState,
    BatchRequestStates,
    BatchResults,
    BatchState,
)
from ..service import Caller, Service
from .account import iso

router = APIRouter(prefix="/v1/batches", tags=["batches"])
Asking = Annotated[Caller, Depends(caller_of)]
Limit = Annotated[int, Query(ge=1, le=1000)]


@router.post("", responses=answers(), openapi_extra=body_of(BatchCreation))
async def create(request: Request, caller: Asking) -> BatchBody:
    """Open a batch, empty or with the requests of an uploaded file."""
    service = service_of(request)
    await service.admit(caller, "batches")
    asked = checked(BatchCreation, await read_json(request, service), "xai")
    ready: list[BatchRequest] = []
    if asked.input_file_id is not None:
        file = await asyncio.to_thread(service.state.files.get, asked.input_file_id, caller.key.id)
        content = await asyncio.to_thread(service.state.objects.get, file.object_key)
        ready = await _ready(service, caller, requests_in(content))
    batch = await asyncio.to_thread(
        service.state.batches.create, caller.key.id, asked.name, input_file_id=asked.input_file_id
    )
    if ready:
        try:
            await _add(service, caller, batch.id, ready)
        except UserError:  # the key cannot pay for it: nothing of the batch goes on
            await asyncio.to_thread(service.state.batches.cancel, batch.id)
            raise
        batch = await asyncio.to_thread(service.state.batches.get, batch.id)
    return batch_body(batch)


@router.get("", responses=answers())
async def listing(
    request: Request, caller: Asking, limit: Limit = 100, pagination_token: str | None = None
) -> BatchList:
    """The key's batches, newest first."""
    service = service_of(request)
    await service.admit(caller, "batches")
    batches = service.state.batches
    found = await asyncio.to_thread(batches.page, caller.key.id, after=pagination_token, limit=limit + 1)
    token = found[limit - 1].id if len(found) > limit else None
    return BatchList(batches=list(map(batch_body, found[:limit])), pagination_token=token)


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
    await asyncio.to_thread(service.state.batches.get, batch_id, caller.key.id)
    await _add(service, caller, batch_id, await _ready(service, caller, asked.batch_requests))
    return batch_body(await asyncio.to_thread(service.state.batches.get, batch_id, caller.key.id))


@router.get("/{batch_id}/requests", responses=answers())
async def requests(
    request: Request, caller: Asking, batch_id: str, limit: Limit = 100, pagination_token: str | None = None
) -> BatchRequestStates:
    """A batch's requests in the order they were added."""
    page, token = await _page(request, caller, batch_id, limit, pagination_token)
    return BatchRequestStates(batch_request_metadata=list(map(_request_state, page)), pagination_token=token)


@router.get("/{batch_id}/results", responses=answers())
async def results(
    request: Request, caller: Asking, batch_id: str, limit: Limit = 100, pagination_token: str | None = None
) -> BatchResults:
    """The results of the requests that have ended."""
    page, token = await _page(request, caller, batch_id, limit, pagination_token)
    service = service_of(request)
    ended = [await result_of(service, job) for job in page if job.state in FINAL]
    return BatchResults(results=ended, pagination_token=token)


@router.post("/{batch_id}:cancel", responses=answers())
async def cancel(request: Request, caller: Asking, batch_id: str) -> BatchBody:
    """Cancel what has not ended."""
    service = service_of(request)
    await service.admit(caller, "batches")
    batch = await asyncio.to_thread(service.state.batches.cancel, batch_id, caller.key.id)
    service.workers.dismiss_batch(batch.id)
    return batch_body(batch)


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


def _request_state(job: Job) -> BatchRequestState:
    return BatchRequestState(
        batch_request_id=job.batch_request_id or "", endpoint=job.body["batch"]["endpoint"], model=job.model,
        state=job.state, create_time=iso(job.created_at),
        finish_time=None if job.finished_at is None else iso(job.finished_at),
    )  # fmt: skip


async def _ready(service: Service, caller: Caller, asked: list[BatchRequestBody]) -> list[BatchRequest]:
    """Requests that are checked in every respect but the price."""
    names = [each.batch_request_id for each in asked]
    if len(set(names)) < len(names):
        raise UserError("Two requests have the same batch_request_id.", fix="Name each request differently.")
    return [await prepared(service, caller, each) for each in asked]


async def _add(service: Service, caller: Caller, batch_id: str, ready: list[BatchRequest]) -> None:
    await asyncio.to_thread(service.state.batches.add, batch_id, ready, caller.key.id)
    service.workers.wake()


async def _page(
    request: Request, caller: Caller, batch_id: str, limit: int, after: str | None
) -> tuple[list[Job], str | None]:
    """A page of a batch's jobs, and where the next begins."""
    service = service_of(request)
    await service.admit(caller, "batches")
    found = await asyncio.to_thread(
        service.state.batches.requests, batch_id, caller.key.id, after=after, limit=limit + 1
    )
    return found[:limit], found[limit - 1].id if len(found) > limit else None
