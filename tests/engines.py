"""Engines and permits for tests: the same protocols, no model."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import numpy as np

from polarlight.infer.engine import (
    Cancelled,
    Done,
    EngineClosed,
    EngineFull,
    ImageResult,
    ModelInfo,
    Permit,
    Preview,
    Task,
    Ticket,
    VideoResult,
    VideoTask,
    spend,
)


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Its result, on an event loop of its own; whoever hangs fails."""
    return asyncio.run(asyncio.wait_for(coroutine, 60))


class OnePermit:
    """Holds for one task of any kind, once."""

    def __init__(self) -> None:
        self.spent_on: list[tuple[str, str, int]] = []

    def spend(self, task: str, prompt: str, pictures: Sequence[np.ndarray] = ()) -> None:
        if self.spent_on:
            raise PermissionError("This permit is spent.")
        self.spent_on.append((task, prompt, len(pictures)))


class FakeEngine:
    """The common half of every fake: takes tasks, posts grey previews, ends each with what `make` makes of it.

    full: refuses; error: ends with it; go: nothing ends before it is set; tasks, owners: all that were taken;
    cancelled: how many were given up; working: what is under way.
    """

    info: ModelInfo

    def __init__(self) -> None:
        self.closed, self.full, self.error = False, False, None
        self.go = asyncio.Event()
        self.go.set()
        self.tasks, self.owners, self.cancelled = list[Task](), list[str](), 0
        self.working = set[asyncio.Task]()

    async def submit(self, task: Task, permit: Permit | None, owner: str = "") -> Ticket:
        if self.closed:
            raise EngineClosed("closed")
        self.info.check(task)
        if self.full:
            raise EngineFull(1.0)
        spend(permit, task)
        self.tasks.append(task)
        self.owners.append(owner)
        ticket = Ticket(task, self._cancel)
        work = asyncio.create_task(self._work(ticket))
        self.working.add(work)
        work.add_done_callback(self.working.discard)
        return ticket

    def _cancel(self, ticket: Ticket) -> None:
        self.cancelled += 1
        ticket.post(Cancelled("cancelled"))

    async def _work(self, ticket: Ticket) -> None:
        frame = np.full((128, 128, 3), 99, np.uint8)
        for number in range(1, ticket.task.previews + 1):
            ticket.post(Preview(number=number, passes=ticket.task.previews + 1, picture=frame))
        await self.go.wait()
        if not ticket.cancelled:
            ticket.post(self.error or Done(result=self.make(ticket.task)))

    def make(self, task: Task) -> ImageResult | VideoResult:
        raise NotImplementedError

    async def close(self) -> None:
        self.closed = True
        self.go.set()
        await asyncio.gather(*self.working)


class FakeVideoEngine(FakeEngine):
    """Makes clips that hold their own description instead of frames."""

    def __init__(self, name: str = "fake-video") -> None:
        super().__init__()
        self.info = ModelInfo(
            name=name, owner="tests", modality="video", family="grok", tasks=("generate", "extend"),
            sizes={"480p": {"16:9": (848, 480)}, "720p": {"16:9": (1280, 720)}}, modes=("speed",), max_prompt=100,
            max_inputs=2, created=0,
        )  # fmt: skip

    def make(self, task: Task) -> VideoResult:
        assert isinstance(task, VideoTask)
        size = self.info.native_size(task.size, task.resolution)
        return VideoResult(
            content=f"a clip of {task.prompt}".encode(), seconds=task.seconds, size=(size.width, size.height),
            seed=task.seed, metadata={"prompt": task.prompt},
        )  # fmt: skip
