"""Batches: many requests, worked off when there is time."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from google.protobuf.empty_pb2 import Empty
from google.rpc.code_pb2 import Code
from google.rpc.status_pb2 import Status
from xai_sdk.proto import batch_pb2, batch_pb2_grpc

from polarlight.infer.engine import UnsupportedTask

from ..accounts import random_text
from ..batch_orders import MOST_LISTED, PAGE, add_requests, cancel_batch, open_batch, results_in
from ..batches import Batch
from ..bodies import checked
from ..job_rows import Job
from ..pages import Page, read_page
from ..schemas.batches import BatchCreation, BatchRequests, BatchResult
from ..schemas.images import ImageAnswerBody
from ..schemas.videos import VideoStatus
from ..service import Caller, Service
from .authentication import CALLER
from .images import image_body, image_message
from .messages import page_limit, stamp
from .videos import generation_body, video_message

Context = grpc.aio.ServicerContext
State = batch_pb2.BatchRequestMetadata.State
STATES = {"done": State.STATE_SUCCEEDED, "cancelled": State.STATE_CANCELLED} | dict.fromkeys(
    ("failed", "expired"), State.STATE_FAILED
)
ERRORS = {
    "invalid_argument": Code.INVALID_ARGUMENT,
    "failed_precondition": Code.FAILED_PRECONDITION,
    "permission_denied": Code.PERMISSION_DENIED,
    "service_unavailable": Code.UNAVAILABLE,
}  # everything else: INTERNAL


class Batches(batch_pb2_grpc.BatchMgmtServicer):
    """The batches of the calling key."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def CreateBatch(self, request: batch_pb2.CreateBatchRequest, context: Context) -> batch_pb2.Batch:
        """Open a batch, empty or with the requests of an uploaded file; the same idempotency key again is the same batch."""
        caller = await self._admitted()
        asked = checked(BatchCreation, {"name": request.name, "input_file_id": request.input_file_id or None}, "openai")
        return batch_message(await open_batch(self.service, caller, asked))

    async def AddBatchRequests(self, request: batch_pb2.AddBatchRequestsRequest, context: Context) -> Empty:
        """Add requests, all or none. With an idempotency key, the same again adds nothing, not even what has no name."""
        caller = await self._admitted()
        prefix = caller.idempotency_key or random_text(16)
        bodies = [request_body(each, f"request-{prefix}-{n}") for n, each in enumerate(request.batch_requests)]
        asked = checked(BatchRequests, {"batch_requests": bodies}, "openai")
        await add_requests(self.service, caller, request.batch_id, asked.batch_requests)
        return Empty()

    async def GetBatch(self, request: batch_pb2.GetBatchRequest, context: Context) -> batch_pb2.Batch:
        """One batch and where its requests are."""
        caller = await self._admitted()
        return batch_message(await asyncio.to_thread(self.service.state.batches.get, request.batch_id, caller.key.id))

    async def ListBatches(
        self, request: batch_pb2.ListBatchesRequest, context: Context
    ) -> batch_pb2.ListBatchesResponse:
        """The key's batches, newest first."""
        caller, limit = await self._admitted(), page_limit(request.limit, PAGE, MOST_LISTED)
        batches, after = self.service.state.batches, request.pagination_token or None
        page = await read_page(batches.page, caller.key.id, after=after, limit=limit)
        return batch_pb2.ListBatchesResponse(batches=map(batch_message, page.items), pagination_token=page.token)

    async def CancelBatch(self, request: batch_pb2.CancelBatchRequest, context: Context) -> batch_pb2.Batch:
        """Cancel what has not ended."""
        caller = await self._admitted()
        return batch_message(await cancel_batch(self.service, caller, request.batch_id))

    async def ListBatchRequestMetadata(
        self, request: batch_pb2.ListBatchRequestMetadataRequest, context: Context
    ) -> batch_pb2.ListBatchRequestMetadataResponse:
        """A batch's requests in the order they were added; of a page, those with one of the states asked for."""
        page = await self._page(request)
        states = [_state_of(job) for job in page.items]
        wanted = [each for each in states if not request.status or each.state in request.status]
        return batch_pb2.ListBatchRequestMetadataResponse(batch_request_metadata=wanted, pagination_token=page.token)

    async def ListBatchResults(
        self, request: batch_pb2.ListBatchResultsRequest, context: Context
    ) -> batch_pb2.ListBatchResultsResponse:
        """The results of the requests that have ended."""
        page = await self._page(request)
        results = map(result_message, await results_in(self.service, page))
        return batch_pb2.ListBatchResultsResponse(results=results, pagination_token=page.token)

    async def _admitted(self) -> Caller:
        caller = CALLER.get()
        await self.service.admit(caller, "batches")
        return caller

    async def _page(self, request: Any) -> Page[Job]:
        """A page of a batch's jobs."""
        caller, limit = await self._admitted(), page_limit(request.limit, PAGE, MOST_LISTED)
        batches, after = self.service.state.batches, request.pagination_token or None
        return await read_page(batches.requests, request.batch_id, caller.key.id, after=after, limit=limit)


def request_body(request: batch_pb2.BatchRequest, name: str) -> dict[str, Any]:
    """A request of a batch as REST would have received it, under its own name or else the given one.

    Raises:
        UnsupportedTask: it is a chat, an edit or an extension of a clip.
        UserError: an enum has a number that is not known here.
    """
    kind = request.WhichOneof("request")
    if kind == "image_request":
        endpoint, body = image_body(request.image_request)
    elif kind == "video_request" and not request.video_request.HasField("video"):
        endpoint, body = "video_generation", generation_body(request.video_request)
    else:
        fix = "Send chats elsewhere, and edits and extensions of clips one by one."
        raise UnsupportedTask("Batches take pictures, edits of pictures, and clips.", fix=fix)
    return {"batch_request_id": request.batch_request_id or name, "batch_request": {endpoint: body}}


def batch_message(batch: Batch) -> batch_pb2.Batch:
    """A batch as xAI shows it."""
    return batch_pb2.Batch(
        batch_id=batch.id, name=batch.name, create_time=stamp(batch.created_at), expire_time=stamp(batch.expires_at),
        create_api_key_id=batch.key_id, cancel_time=stamp(batch.cancelled_at), input_file_id=batch.input_file_id,
        state=batch_pb2.BatchState(
            num_requests=batch.requests, num_pending=batch.pending, num_success=batch.successes,
            num_error=batch.errors, num_cancelled=batch.cancelled,
        ),
        cost_breakdown=batch_pb2.BatchCostBreakdown(total_cost_usd_ticks=batch.cost_ticks),
    )  # fmt: skip


def result_message(result: BatchResult) -> batch_pb2.BatchResult:
    """The result of one ended request."""
    message = batch_pb2.BatchResult(batch_request_id=result.batch_request_id)
    if (error := result.batch_result.get("error")) is not None:
        message.error.CopyFrom(Status(code=ERRORS.get(error["code"], Code.INTERNAL), message=error["message"]))
        return message
    ((endpoint, body),) = result.batch_result["response"].items()
    if endpoint == "video_generation":
        message.response.video_response.CopyFrom(video_message(VideoStatus.model_validate(body)))
    else:
        message.response.image_response.CopyFrom(image_message(ImageAnswerBody.model_validate(body)))
    return message


def _state_of(job: Job) -> batch_pb2.BatchRequestMetadata:
    return batch_pb2.BatchRequestMetadata(
        batch_request_id=job.batch_request_id or "", endpoint=job.body["batch"]["endpoint"], model=job.model,
        state=STATES.get(job.state, State.STATE_PENDING), create_time=stamp(job.created_at),
        finish_time=stamp(job.finished_at),
    )  # fmt: skip
