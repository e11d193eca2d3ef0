"""What the studio's page and the server say to each other while pictures are made.

One WebSocket a page carries any number of requests. The page says how many tiles it has room for, and never more are begun: nothing
is drawn that nobody scrolls to. A tile is one job of the service: gate, price, mark and signature are the same as at every door.

    page    {type: start, request, prompt, ..., count, allowed}  {type: allow, request, tiles}  {type: stop, request}
    server  {type: begun | draft | made | failed, request, slot, ...}  {type: ended, request, reason, message, consent}

`consent` is there, and true, where the request was refused for want of the consent of a person shown: asked again with
`subject_consent` it may pass.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from polarlight.base.errors import UserError
from polarlight.infer.policy import CONSENT, Refused

from .accounts import Key
from .errors import Problem, problem_of
from .gallery import Gallery, NewTile, as_json
from .service import Service
from .studio_orders import SEEDS, Plan, Start
from .work import Shown

log = logging.getLogger("polarlight.serve.studio")
TOGETHER = 4  # tiles of one request under way at the same time
REQUESTS = 8  # requests of one page under way at the same time
PATIENCE = 5  # a full queue is asked again this often before a tile fails
FAILURES = 3  # so many tiles failing in a row end a request
Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(eq=False, kw_only=True)
class Making:
    """One request under way. `run` is its life; cancelling that cancels what is being drawn."""

    service: Service
    gallery: Gallery
    key: Key
    start: Start
    send: Send
    allowed: int = 0
    begun: int = 0
    made: int = 0
    failures: int = 0
    problem: Problem | None = None
    wants_consent: bool = False
    room: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def run(self) -> None:
        """Make tiles until there are as many as wanted, or until too many failed; the last message says which."""
        self.allowed = max(self.allowed, self.start.allowed)
        try:
            plan = await asyncio.to_thread(Plan.read, self.service, self.gallery, self.key, self.start)
            await self._make_all(plan)
        except Exception as error:
            self.problem = problem_of(error)
            if self.problem.status == 500:
                log.exception("a request of the studio failed")
        ending: dict[str, Any] = {"reason": "done"}
        if self.problem is not None and (self.made == 0 or self.failures >= FAILURES):
            ending = {"reason": "failed", "message": self.problem.sentence}
            ending |= {"consent": True} if self.wants_consent else {}
        await self._say("ended", **ending)

    async def allow(self, tiles: int) -> None:
        """The page has room for so many tiles of this request in all."""
        async with self.room:
            self.allowed = max(self.allowed, tiles)
            self.room.notify_all()

    async def _make_all(self, plan: Plan) -> None:
        skipped = await asyncio.to_thread(self.gallery.unwanted_seeds, self.key.id, self.start.prompt)
        count = min(TOGETHER, self.start.count or TOGETHER)
        lines = [asyncio.create_task(self._line(plan, skipped)) for _ in range(count)]
        try:
            await asyncio.gather(*lines)
        finally:
            for line in lines:
                line.cancel()
            await asyncio.gather(*lines, return_exceptions=True)

    async def _say(self, kind: str, **what: Any) -> None:
        await self.send({"type": kind, "request": self.start.request, **what})

    async def _line(self, plan: Plan, skipped: set[int]) -> None:
        """One tile after another, as long as there is room and reason."""
        while (slot := await self._next_slot()) is not None:
            seed = seed_at(self.start.seed, slot, skipped)
            await self._say("begun", slot=slot, seed=seed, prompt=self.start.prompt, mode=self.start.mode)
            try:
                await self._tile(plan, slot, seed)
                self.failures, self.made = 0, self.made + 1
            except Exception as error:
                self.failures, self.problem = self.failures + 1, problem_of(error)
                self.wants_consent = isinstance(error, Refused) and error.rule == CONSENT
                await self._say("failed", slot=slot, message=self.problem.sentence)
                await self.allow(self.allowed)  # those who wait for room look again

    async def _next_slot(self) -> int | None:
        """The next tile's place once the page has room for it; None when no more are wanted."""
        async with self.room:
            while True:
                wanted = self.start.count is None or self.begun < self.start.count
                if not wanted or self.failures >= FAILURES:
                    return None
                if self.begun < self.allowed:
                    self.begun += 1
                    return self.begun - 1
                await self.room.wait()

    async def _tile(self, plan: Plan, slot: int, seed: int) -> None:
        """One tile from its first draft to its place in the gallery; a full queue is waited for."""
        for attempt in range(PATIENCE):
            try:
                async with aclosing(plan.make(seed)) as events:
                    async for event in events:
                        await self._show(slot, event)
                return
            except Exception as error:
                wait_s = problem_of(error).retry_after_s
                if wait_s is None or attempt == PATIENCE - 1 or self.service.draining:
                    raise
                await asyncio.sleep(min(wait_s, 10.0))

    async def _show(self, slot: int, event: Shown | NewTile) -> None:
        if isinstance(event, NewTile):
            tile = await asyncio.to_thread(self.gallery.add, self.key.id, event)
            await self._say("made", slot=slot, tile=as_json([tile])[0])
            return
        picture = f"data:{event.file.media_type};base64,{base64.b64encode(event.file.content).decode()}"
        await self._say("draft", slot=slot, number=event.number, passes=event.passes, picture=picture)


class Conversation:
    """Everything one page has under way."""

    def __init__(self, service: Service, gallery: Gallery, key: Key, send: Send) -> None:
        self.service, self.gallery, self.key, self.send = service, gallery, key, send
        self._makings: dict[str, tuple[Making, asyncio.Task[None]]] = {}

    async def hear(self, message: Any) -> None:
        """Do what a message of the page says.

        Raises:
            UserError: it says nothing that is known here.
        """
        kind = message.get("type") if isinstance(message, dict) else None
        name = str(message.get("request", "")) if isinstance(message, dict) else ""
        if kind == "start":
            self._begin(message)
        elif kind == "stop":
            await self._stop(name)
        elif kind == "allow" and isinstance(message.get("tiles"), int):
            if name in self._makings:
                await self._makings[name][0].allow(message["tiles"])
        else:
            raise UserError("The page sent a message that is not known.", fix="Reload the page.")

    async def close(self) -> None:
        """Cancel everything."""
        for name in list(self._makings):
            await self._stop(name)

    def _begin(self, message: dict[str, Any]) -> None:
        try:
            start = Start.model_validate(message)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise UserError(f"The request is not valid: {place}: {first['msg']}.", fix="Reload the page.") from error
        if start.request in self._makings or len(self._makings) >= REQUESTS:
            raise UserError("Too much is under way in this page.", fix="Wait for something to end, or stop it.")
        making = Making(service=self.service, gallery=self.gallery, key=self.key, start=start, send=self.send)
        task = asyncio.create_task(making.run())
        self._makings[start.request] = (making, task)
        task.add_done_callback(lambda _: self._makings.pop(start.request, None))

    async def _stop(self, name: str) -> None:
        if name not in self._makings:
            return
        task = self._makings[name][1]
        task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])
        await self.send({"type": "ended", "request": name, "reason": "stopped"})


def seed_at(first: int, slot: int, skipped: set[int]) -> int:
    """The seed of a stream's tile: they count up from the first, those that were not liked left out."""
    seed = first
    while True:
        if seed not in skipped:
            if slot == 0:
                return seed
            slot -= 1
        seed = (seed + 1) % SEEDS
