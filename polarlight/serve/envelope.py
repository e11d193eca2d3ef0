"""What is around every request: an id, a log line, counts, bounds on the body's size and on the client's silence."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import uuid
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .dialects import XAI_PATHS
from .errors import Dialect, Problem, problem_of
from .metrics import Metrics
from .options import Options

log = logging.getLogger("polarlight.serve.requests")
REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)


class Envelope:
    """ASGI middleware; a plain one, so that streams and disconnections pass through untouched."""

    def __init__(self, app: ASGIApp, metrics: Callable[[], Metrics], options: Callable[[], Options]) -> None:
        """`metrics` and `options` are asked for at each request: the service may be opened after the application is made."""
        self.app, self.metrics, self.options = app, metrics, options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request = _Request(scope, receive, send, self.options())
        try:
            await request.check_head()
            if not request.status:
                await request.answer_by(self.app)
        finally:
            seconds = time.perf_counter() - request.since
            route = getattr(scope.get("route"), "path", "unknown")
            self.metrics().answered(scope["method"], route, request.status or 499, seconds)
            line = {
                "request_id": request.id, "method": scope["method"], "path": shown_path(scope["path"]),
                "status": request.status or 499, "ms": round(seconds * 1000, 1),
                "key": scope.get("state", {}).get("key_id"),
            }  # fmt: skip
            log.info(json.dumps(line))


def shown_path(path: str) -> str:
    """A path as it is logged: a public address is as good as a key, so its token is left out."""
    return "/public/***" if path.startswith("/public/") else path


class _Request:
    """One request's bounds, and what became of it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, options: Options) -> None:
        self.scope, self._receive, self._send, self.options = scope, receive, send, options
        self.since, self.status, self._size, self._complete = time.perf_counter(), 0, 0, False
        given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
        self.id = given if REQUEST_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"
        scope["request_id"] = self.id

    async def check_head(self) -> None:
        """Answer at once where the body is announced to be too large, or an address has what no database stores."""
        if "\0" in self.scope["path"] or b"%00" in self.scope["query_string"]:
            await self._refuse(Problem(400, "The address has a character that means nothing."))
            return
        length = dict(self.scope["headers"]).get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.options.body_bytes:
            await self._refuse(self._too_large())

    async def answer_by(self, app: ASGIApp) -> None:
        """Let the application answer; what it does not handle itself is logged, and told without details."""
        try:
            await app(self.scope, self.receive, self.send)
        except Exception as error:
            if self.status:  # the answer is half sent: only breaking it off says that it is not whole
                raise
            problem = problem_of(error)
            if problem.status == 500:
                log.error("request %s failed", self.id, exc_info=error)
            await self._refuse(problem)

    async def receive(self) -> Message:
        if self._complete:  # from here on only the end of the connection is waited for
            return await self._receive()
        try:
            async with asyncio.timeout(self.options.body_s):
                message = await self._receive()
        except TimeoutError as error:
            raise Problem(408, "The request's body did not arrive in time.") from error
        self._size += len(message.get("body", b""))
        self._complete = not message.get("more_body", False)
        if self._size > self.options.body_bytes:
            raise self._too_large()
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), (b"x-request-id", self.id.encode())]
        await self._send(message)

    def _too_large(self) -> Problem:
        return Problem(413, f"The request is larger than {self.options.body_bytes} bytes.")

    async def _refuse(self, problem: Problem) -> None:
        dialect: Dialect = "xai" if XAI_PATHS.match(self.scope["path"]) else "openai"
        body = problem.body(self.scope.get("state", {}).get("dialect", dialect))
        plain = isinstance(body, str)
        kind = b"text/plain; charset=utf-8" if plain else b"application/json"
        headers = [(b"content-type", kind), (b"connection", b"close")]
        headers += [(name.encode(), value.encode()) for name, value in problem.headers().items()]
        await self.send({"type": "http.response.start", "status": problem.status, "headers": headers})
        text = body if plain else json.dumps(body)
        await self.send({"type": "http.response.body", "body": text.encode()})
