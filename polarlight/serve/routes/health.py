"""Whether the service is alive and ready, which is answered without a key, and what it counts."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from polarlight import __version__

from ..authentication import caller_of, service_of
from ..documentation import answers, openapi
from ..errors import Problem
from ..metrics import CONTENT_TYPE
from ..service import Caller

router = APIRouter(tags=["health"])
METRICS = "api-key:endpoint:metrics"


class Health(BaseModel):
    """The process is alive."""

    status: Literal["ok"] = "ok"
    version: str


class Readiness(BaseModel):
    """Whether requests are taken, and why not, where they are not."""

    status: Literal["ready", "not ready"]
    reason: str | None = None


@router.get("/health")
async def health() -> Health:
    """Alive."""
    return Health(version=__version__)


@router.get("/health/ready", responses={503: {"model": Readiness}}, response_model=Readiness)
async def ready(request: Request) -> Response:
    """Ready to take requests: the database answers, a model is loaded, the server is not stopping."""
    service, reason = service_of(request), None
    try:
        await asyncio.to_thread(service.in_queue)
    except Exception:
        reason = "The database does not answer."
    if service.draining:
        reason = "The server is shutting down."
    elif not list(service.engines):
        reason = "No model is loaded."
    status: Literal["ready", "not ready"] = "not ready" if reason else "ready"
    body = Readiness(status=status, reason=reason)
    return JSONResponse(body.model_dump(mode="json"), 503 if reason else 200)


@router.get("/metrics", response_class=Response, responses=answers())
async def metrics(request: Request, caller: Annotated[Caller, Depends(caller_of)]) -> Response:
    """Counters in Prometheus' text format, for the owner and for keys whose list names them."""
    service = service_of(request)
    if not caller.key.owner and METRICS not in caller.key.acls:
        raise Problem(403, f"Only the owner's key and keys with {METRICS} read the counters.", code="permission_denied")
    unfinished = await asyncio.to_thread(service.state.jobs.unfinished)
    return Response(service.metrics.text(unfinished, service.workers.under_way()), media_type=CONTENT_TYPE)


@router.get("/openapi.json", include_in_schema=False)
async def document(request: Request) -> dict[str, Any]:
    """What this API can do, for programs."""
    return openapi(request.app)
