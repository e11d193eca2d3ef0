"""The HTTP application: routes, errors in the caller's dialect, the service's life."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from polarlight import __version__
from polarlight.base.errors import UserError
from polarlight.infer.engine import EngineClosed, EngineFull

from . import studio_account, studio_routes
from .dialects import known_dialect
from .documentation import openapi
from .envelope import Envelope
from .errors import CODES, Problem, problem_of
from .routes import account, batches, files, health, images, models, videos
from .service import Service

NOUNS = (images, videos, files, models, account, batches, health)
CLIENT_GONE = 499
Door = Callable[[Service], AbstractAsyncContextManager[None]]


def make_app(service: Service, doors: Sequence[Door] = ()) -> FastAPI:
    """An application over a service; `app.state.service` is the service, which starts and stops with the application.

    doors: other ways into the same service, opened after it has started and closed before it stops.
    """
    app = FastAPI(
        title="Polarlight", version=__version__, description="Pictures and clips, in the dialects of OpenAI and xAI.",
        lifespan=partial(_life, doors=doors), docs_url=None, redoc_url=None, openapi_url=None, redirect_slashes=False,
    )  # fmt: skip
    app.state.service = service
    for noun in NOUNS:
        app.include_router(noun.router)
    app.include_router(studio_routes.router)
    app.include_router(studio_account.router)
    app.openapi = partial(openapi, app)  # type: ignore[method-assign]
    for kind in (Problem, UserError, EngineFull, EngineClosed):
        app.add_exception_handler(kind, _answer_error)
    app.add_exception_handler(HTTPException, _answer_http_error)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(ClientDisconnect, _client_gone)
    app.add_middleware(Envelope, metrics=lambda: service.metrics, options=lambda: service.options)
    return app


@asynccontextmanager
async def _life(app: FastAPI, doors: Sequence[Door]) -> AsyncIterator[None]:
    service: Service = app.state.service
    await service.start()
    try:
        async with AsyncExitStack() as opened:
            for door in doors:
                await opened.enter_async_context(door(service))
            yield
    finally:
        await service.stop()


async def _answer_error(request: Request, error: Exception) -> Response:
    """What a user can act on; everything else goes up to the envelope."""
    return answer_problem(request, problem_of(error))


def answer_problem(request: Request, problem: Problem) -> Response:
    """A problem in the caller's dialect."""
    body = problem.body(known_dialect(request))
    if isinstance(body, str):
        return PlainTextResponse(body, problem.status, headers=problem.headers())
    return JSONResponse(body, problem.status, headers=problem.headers())


async def _answer_http_error(request: Request, error: Exception) -> Response:
    """What the framework refuses: unknown paths, wrong methods."""
    assert isinstance(error, HTTPException)
    sentences = {404: "There is nothing at this address.", 405: "This address does not take this method."}
    status = error.status_code if error.status_code in CODES else 400
    answer = answer_problem(request, Problem(status, sentences.get(status, "The request cannot be read.")))
    answer.headers.update(error.headers or {})
    return answer


async def _answer_invalid(request: Request, error: Exception) -> Response:
    """A query that does not fit."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = str(first["loc"][-1])
    status = 422 if known_dialect(request) == "xai" else 400
    return answer_problem(request, Problem(status, f"Invalid value for '{name}': {first['msg']}.", param=name))


async def _client_gone(request: Request, error: Exception) -> Response:
    """Nobody reads this; the log shows it."""
    return Response(status_code=CLIENT_GONE)
