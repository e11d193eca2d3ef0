"""What is around every call: an id, the caller, errors as statuses, a log line, counts. The counterpart of `serve.envelope`."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc

from ..envelope import REQUEST_ID
from ..service import Service
from .authentication import CALLER, caller_of
from .errors import code_of, problem_in_call, trailers

log = logging.getLogger("polarlight.serve.requests")
CLIENT_GONE = 499
Handler = grpc.RpcMethodHandler


class Envelope(grpc.aio.ServerInterceptor):
    """No method is reached without a key; `authentication.CALLER` holds its owner while the call lasts."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def intercept_service(
        self, continuation: Callable[..., Awaitable[Handler | None]], details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """The method's handler within the envelope; None where there is no such method."""
        handler = await continuation(details)
        if handler is None:
            return None
        name = details.method

        async def answer(request: Any, context: grpc.aio.ServicerContext) -> Any:
            async with self.around(name, context):
                return await (handler.stream_unary or handler.unary_unary)(request, context)

        async def stream(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
            async with self.around(name, context):
                async for part in handler.unary_stream(request, context):
                    yield part

        coding = (handler.request_deserializer, handler.response_serializer)
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(stream, *coding)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(answer, *coding)
        return grpc.unary_unary_rpc_method_handler(answer, *coding)

    @asynccontextmanager
    async def around(self, method: str, context: grpc.aio.ServicerContext) -> AsyncIterator[None]:
        """Find out the caller, let the method answer, and tell, log and count how that ended.

        The status in the log and in the counts is the one that REST would have answered with.
        """
        since, status, key_id = time.perf_counter(), 200, None
        metadata = dict(context.invocation_metadata() or ())
        given = str(metadata.get("x-request-id", ""))
        request_id = given if REQUEST_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"
        about = (("x-request-id", request_id),)
        context.set_trailing_metadata(about)
        try:
            caller = await caller_of(self.service, metadata, request_id)
            CALLER.set(caller)
            key_id = caller.key.id
            yield
        except asyncio.CancelledError:
            status = CLIENT_GONE
            raise
        except Exception as error:
            problem = problem_in_call(error)
            status = problem.status
            if status == 500:
                log.error("request %s failed", request_id, exc_info=error)
            await context.abort(code_of(problem), problem.sentence, about + trailers(problem))
        finally:
            seconds = time.perf_counter() - since
            self.service.metrics.answered("GRPC", method, status, seconds)
            line = {
                "request_id": request_id, "method": "GRPC", "path": method, "status": status,
                "ms": round(seconds * 1000, 1), "key": key_id,
            }  # fmt: skip
            log.info(json.dumps(line))
