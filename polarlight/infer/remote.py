"""Any OpenAI- or xAI-compatible image service as an engine, on one address or on several that serve the same.

The least busy replica gets the next task; one that cannot be reached rests and is asked for its health before it is used again.
A request is sent again after 429, 503 and failed connections, with growing pauses; after other failures only where requests cost
nothing, because there the picture may have been made and billed. Every attempt of a task carries the same Idempotency-Key.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import uuid
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import httpx

from ..base.errors import UserError
from .dialects import DIALECTS, Dialect, Outgoing, complaint, from_base64, outgoing, pixels, server_events
from .engine import (
    Cancelled,
    Done,
    EngineClosed,
    EngineFull,
    ImageResult,
    ImageTask,
    ModelInfo,
    Permit,
    Preview,
    Task,
    Ticket,
    spend,
)
from .replicas import Replica, Replicas
from .worker import FairQueue

EACH = 4  # requests at once to one replica
WAITING = 256
ATTEMPTS = 4
PAUSE_S = 0.5  # before the second attempt; doubles with each
LONGEST_PAUSE_S = 30.0
MOST_BYTES = 64 << 20  # of a picture file
TIMEOUT = httpx.Timeout(600.0, connect=5.0)
KEYS = {"api.openai.com": "OPENAI_API_KEY", "api.x.ai": "XAI_API_KEY"}  # a key goes to its own service only
ANY_KEY = "POLARLIGHT_REMOTE_KEY"


class RemoteError(Exception):
    """The service failed, or refused for a reason that is not the user's."""


class _Again(Exception):
    """An attempt failed and another may succeed. `pause_s`: what the service asked for; `full`: it was too busy."""

    def __init__(self, sentence: str, pause_s: float | None = None, *, full: bool = False) -> None:
        super().__init__(sentence)
        self.pause_s, self.full = pause_s, full


def open_remote(spec: str) -> RemoteEngine:
    """The service at "[DIALECT:]URL[,URL...][#MODEL]", for example "vllm-omni:http://gpu1:8000,http://gpu2:8000#Qwen/Qwen-Image".

    DIALECT: openai (the default), xai (the default for api.x.ai), vllm-omni, sglang or localai. An address without a path gets
    "/v1". The key comes from OPENAI_API_KEY or XAI_API_KEY for the services of those names, from POLARLIGHT_REMOTE_KEY for others.

    Raises:
        UserError: an address is not http(s), or the key of a service that bills is missing.
    """
    head, _, rest = spec.partition(":")
    name, places = (head, rest) if head in DIALECTS else ("", spec)
    places, _, model = places.partition("#")
    urls = [place.strip() for place in places.split(",") if place.strip()]
    for url in urls:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise UserError(
                f"The address {url!r} is not one of a service.", fix="Write http://HOST:PORT or https://HOST."
            )
    if not urls:
        raise UserError("The remote service has no address.", fix="Write remote:https://HOST#MODEL.")
    hosts = {urlsplit(url).hostname or "" for url in urls}
    host = min(hosts)
    if len(hosts) > 1 and hosts & set(KEYS):
        raise UserError("A service that bills cannot be a replica of another.", fix="Open each by itself.")
    dialect = DIALECTS[name or ("xai" if host == "api.x.ai" else "openai")]
    variable = KEYS.get(host, ANY_KEY)
    key = os.environ.get(variable, "")
    if host in KEYS and not key:
        raise UserError(f"The service {host} needs a key.", fix=f"Set {variable}.")
    return RemoteEngine(urls, dialect, model or dialect.model, key)


class RemoteEngine:
    """A service. Belongs to the event loop that first submits to it."""

    def __init__(
        self, urls: list[str], dialect: Dialect, model: str, key: str = "", *, pause_s: float = PAUSE_S
    ) -> None:
        """pause_s: before the second attempt of a request."""
        paths = [url if urlsplit(url).path.strip("/") else f"{url.rstrip('/')}/v1" for url in urls]
        self._replicas = Replicas([httpx.URL(f"{path.rstrip('/')}/") for path in paths], dialect.health)
        self.dialect, self.model, self._key, self._pause_s = dialect, model, key, pause_s
        self._info = dialect.info(model, urls[0])
        self._queue, self._running, self._closing = FairQueue(), dict[Ticket, asyncio.Task](), False

    @property
    def info(self) -> ModelInfo:
        """What the dialect can do."""
        return self._info

    async def submit(self, task: Task, permit: Permit | None, owner: str = "") -> Ticket:
        """See `Engine.submit`."""
        if self._closing:
            raise EngineClosed("This engine is shutting down.")
        if permit is not None:
            self.info.check(task)
            self.info.size_of(task)
            if len(self._queue) >= WAITING:
                raise EngineFull(1.0)
        spend(permit, task)
        ticket = Ticket(task, self._cancel)
        self._queue.put(owner, ticket)
        self._start()
        return ticket

    async def close(self) -> None:
        """Take no more tasks and return when the accepted ones are done."""
        self._closing = True
        while self._running:
            await asyncio.gather(*self._running.values(), return_exceptions=True)
        if "_client" in vars(self):
            await self._client.aclose()

    async def health(self) -> dict[str, bool]:
        """Ask every replica whether it is well; those that are not rest."""
        return await self._replicas.check(self._client, self._headers())

    @cached_property
    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(timeout=TIMEOUT)

    def _start(self) -> None:
        """Run waiting tasks while there is room."""
        while len(self._queue) and len(self._running) < EACH * len(self._replicas):
            ticket = self._queue.take()
            work = asyncio.create_task(self._serve(ticket))
            self._running[ticket] = work
            work.add_done_callback(lambda work, ticket=ticket: self._ended(ticket, work))

    def _ended(self, ticket: Ticket, work: asyncio.Task) -> None:
        del self._running[ticket]
        if work.cancelled():
            ticket.post(Cancelled("Cancelled; the service may have worked, and billed, all the same."))
        self._start()

    def _cancel(self, ticket: Ticket) -> None:
        if self._queue.remove(ticket):
            ticket.post(Cancelled("Cancelled while waiting."))
        elif ticket in self._running:
            self._running[ticket].cancel()

    async def _serve(self, ticket: Ticket) -> None:
        """A ticket's life outside the queue; how it ends becomes its last event."""
        try:
            ticket.post(Done(result=await self._with_patience(ticket)))
        except Exception as error:
            ticket.post(error)

    async def _with_patience(self, ticket: Ticket) -> ImageResult:
        """Attempts until one succeeds, at least once at every replica where need be."""
        task = ticket.task
        size = self.info.size_of(task)
        request = outgoing(self.dialect, self.model, task, size)
        key, tried = str(uuid.uuid4()), set[Replica]()
        attempts = max(ATTEMPTS, len(self._replicas))
        for number in range(attempts):
            replica = await self._replicas.least_busy(self._client, self._headers(), tried)
            tried.add(replica)
            replica.busy += 1
            try:
                content = await self._attempt(ticket, request, replica, key)
                break
            except _Again as failure:
                pause = self._pause_s * 2**number * random.uniform(0.75, 1.25)
                pause = min(LONGEST_PAUSE_S, failure.pause_s if failure.pause_s is not None else pause)
                if number + 1 == attempts:
                    raise (EngineFull(pause) if failure.full else RemoteError(str(failure))) from failure
                if len(tried) == len(self._replicas):  # all have failed once: wait, then start over
                    tried.clear()
                    await asyncio.sleep(pause)
            finally:
                replica.busy -= 1
        return self._result(task, content, size.note)

    def _result(self, task: ImageTask, content: bytes, note: str) -> ImageResult:
        try:
            picture = pixels(content)
        except OSError as error:
            raise RemoteError("The service answered with something that is no picture.") from error
        height, width = picture.shape[:2]
        about: dict[str, Any] = {"prompt": task.prompt, "task": task.task, "model": self.info.name, "seed": task.seed}
        about |= {"width": width, "height": height}
        if task.negative_prompt:
            about["negative_prompt"] = task.negative_prompt
        unseeded = "" if self.dialect.seeds else "This service takes no seed, so the picture cannot be made again."
        if notes := " ".join(filter(None, (note, unseeded))):
            about["note"] = notes
        return ImageResult(pixels=picture, seed=task.seed, passes=1, metadata=about)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._key}"} if self._key else {}

    async def _attempt(self, ticket: Ticket, request: Outgoing, replica: Replica, key: str) -> bytes:
        """One request to one replica; the bytes of the picture."""
        served = False
        try:
            async with self._client.stream(
                "POST", replica.url.join(request.path), json=request.json, data=request.data, files=request.files,
                headers=self._headers() | {"Idempotency-Key": key},
            ) as answer:  # fmt: skip
                served = answer.is_success
                if not served:
                    await answer.aread()
                    self._refused(answer)
                if answer.headers.get("content-type", "").startswith("text/event-stream"):
                    return await self._stream(ticket, answer)
                body = json.loads(await answer.aread())
            return await self._content(body, replica)
        except (httpx.HTTPError, ValueError, KeyError, OSError) as error:
            if not served and isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout)):
                replica.rest()
                raise _Again(f"The service at {replica.url} cannot be reached.") from error
            sentence = f"The service at {replica.url} broke off: {error or type(error).__name__}."
            if self.dialect.bills or served:  # the picture may have been made
                raise RemoteError(sentence) from error
            raise _Again(sentence) from error

    def _refused(self, answer: httpx.Response) -> None:
        """Raise what a status of 300 or more means."""
        try:
            body = answer.json()
        except ValueError:
            body = answer.text
        status, said = answer.status_code, complaint(answer.status_code, body)
        if status in (429, 503):
            after = answer.headers.get("retry-after", "")
            raise _Again(f"The service is too busy: {said}", float(after) if after.isdigit() else None, full=True)
        if status >= 500 and not self.dialect.bills:
            raise _Again(f"The service failed: {said}")
        if status in (400, 413, 422):
            raise UserError(f"The service refused the task: {said}", fix="Change it and try again.")
        raise RemoteError(f"The service answered {status}: {said}")

    async def _content(self, body: Any, replica: Replica) -> bytes:
        """The picture of an answer, from inside it or from the address it names."""
        data = body.get("data") if isinstance(body, dict) else None
        first = data[0] if isinstance(data, list) and data else {}
        if first.get("respect_moderation") is False:
            raise UserError("The service's moderation blocked the picture.", fix="Change the prompt.")
        if first.get("b64_json"):
            return from_base64(first["b64_json"])
        if not first.get("url"):
            raise RemoteError(f"The service answered without a picture: {complaint(200, body)}")
        if first["url"].startswith("data:"):
            return from_base64(first["url"])
        url, content = replica.url.join(first["url"]), b""
        own = (url.host, url.port) == (replica.url.host, replica.url.port)
        async with self._client.stream("GET", url, headers=self._headers() if own else {}) as answer:
            answer.raise_for_status()
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > MOST_BYTES:
                    raise RemoteError(f"The service answered with a file of more than {MOST_BYTES >> 20} MiB.")
        return content

    async def _stream(self, ticket: Ticket, answer: httpx.Response) -> bytes:
        """Partial pictures as previews, then the whole one."""
        passes = min(ticket.task.previews, self.dialect.partials) + 1
        async for event in server_events(answer.aiter_lines()):
            if event.get("error"):
                raise RemoteError(f"The service failed: {complaint(200, event)}")
            kind = str(event.get("type"))
            if kind.endswith(".partial_image"):
                number = int(event.get("partial_image_index", 0)) + 1
                ticket.post(Preview(number=number, passes=passes, picture=pixels(from_base64(event["b64_json"]))))
            elif kind.endswith(".completed"):
                return from_base64(event["b64_json"])
        raise RemoteError("The service ended its stream without a picture.")
