"""Engines and permits for tests: the same protocols, no model."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from polarlight.infer.engine import (
    Cancelled,
    Done,
    EngineClosed,
    ModelInfo,
    Permit,
    Preview,
    Task,
    Ticket,
    VideoResult,
    VideoTask,
    spend,
)


class OnePermit:
    """Holds for one task of any kind, once."""

    def __init__(self) -> None:
        self.spent_on: list[tuple[str, str, int]] = []

    def spend(self, task: str, prompt: str, pictures: Sequence[np.ndarray] = ()) -> None:
        if self.spent_on:
            raise PermissionError("This permit is spent.")
        self.spent_on.append((task, prompt, len(pictures)))


class FakeVideoEngine:
    """Makes clips that hold their own description instead of frames."""

    def __init__(self, name: str = "fake-video") -> None:
        self.info = ModelInfo(
            name=name, owner="tests", modality="video", family="grok", tasks=("generate", "extend"),
            sizes={"480p": {"16:9": (848, 480)}, "720p": {"16:9": (1280, 720)}}, modes=("speed",), max_prompt=100,
            max_inputs=2, created=0,
        )  # fmt: skip
        self.closed, self.working = False, set[asyncio.Task]()

    async def submit(self, task: Task, permit: Permit | None, owner: str = "") -> Ticket:
        if self.closed:
            raise EngineClosed("closed")
        self.info.check(task)
        spend(permit, task)
        ticket = Ticket(task, lambda ticket: ticket.post(Cancelled("cancelled")))
        work = asyncio.create_task(self._make(ticket))
        self.working.add(work)
        work.add_done_callback(self.working.discard)
        return ticket

    async def _make(self, ticket: Ticket) -> None:
        task = ticket.task
        assert isinstance(task, VideoTask)
        size = self.info.native_size(task.size, task.resolution)
        for number in range(1, task.previews + 1):
            await asyncio.sleep(0)
            if ticket.cancelled:
                return
            frame = np.full((size.height, size.width, 3), number, np.uint8)
            ticket.post(Preview(number=number, passes=task.previews + 1, picture=frame))
        result = VideoResult(
            content=f"a clip of {task.prompt}".encode(), seconds=task.seconds, size=(size.width, size.height),
            seed=task.seed, metadata={"prompt": task.prompt},
        )  # fmt: skip
        ticket.post(Done(result=result))

    async def close(self) -> None:
        self.closed = True
        await asyncio.gather(*self.working)
