"""Requests about batches and their answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from .shared import Body, Name


class BatchCreation(Body):
    """`POST /v1/batches`; the file has one request a line."""

    name: Name
    input_file_id: str | None = None


class BatchRequestBody(Body):
    """One request: the client's name for it, and `{image_generation | image_edit | image_upscale | video_generation: body}`."""

    batch_request_id: Name
    batch_request: dict[str, Any]


class BatchRequests(Body):
    """`POST /v1/batches/{id}/requests`."""

    batch_requests: list[BatchRequestBody] = Field(min_length=1, max_length=1000)


class BatchState(BaseModel):
    """How many requests are where."""

    num_requests: int
    num_pending: int
    num_success: int
    num_error: int
    num_cancelled: int


class BatchCost(BaseModel):
    """What the ended requests cost, in ticks ($1 = 10^10)."""

    total_cost_usd_ticks: int


class BatchBody(BaseModel):
    """A batch; times are in ISO 8601."""

    batch_id: str
    name: str
    create_time: str
    expire_time: str
    cancel_time: str | None
    state: BatchState
    cost_breakdown: BatchCost
    input_file_id: str | None


class BatchList(BaseModel):
    """A page of batches."""

    batches: list[BatchBody]
    pagination_token: str | None


class BatchRequestState(BaseModel):
    """Where one request is."""

    batch_request_id: str
    endpoint: str
    model: str
    state: str
    create_time: str
    finish_time: str | None


class BatchRequestStates(BaseModel):
    """A page of requests in the order they were added."""

    batch_request_metadata: list[BatchRequestState]
    pagination_token: str | None


class BatchResult(BaseModel):
    """One ended request: `batch_result` is `{response: {endpoint: body}}` or `{error: {code, message}}`."""

    batch_request_id: str
    batch_result: dict[str, Any]


class BatchResults(BaseModel):
    """A page of results; requests that have not ended are not among them."""

    results: list[BatchResult]
    pagination_token: str | None
