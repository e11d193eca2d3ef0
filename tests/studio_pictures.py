"""An image engine for the studio's tests: pictures that anyone can tell apart, in as many passes as asked for, at a chosen pace."""

from __future__ import annotations

import asyncio

import numpy as np

from polarlight.infer.engine import (
    Cancelled,
    Done,
    EngineClosed,
    ImageResult,
    ImageTask,
    ModelInfo,
    Permit,
    Preview,
    Task,
    Ticket,
    spend,
)

SIDES = {"1:1": (128, 128), "3:2": (144, 96), "2:3": (96, 144), "16:9": (176, 96), "9:16": (96, 176)}


def scenery(prompt: str, seed: int, width: int, height: int) -> np.ndarray:
    """A sky, a sun and hills whose colours and places follow from the prompt and the seed; uint8 [height, width, 3]."""
    rng = np.random.default_rng([seed, *prompt.encode()])
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    top, low, ground, sun = rng.uniform(0, 1, (4, 3)) * [
        [0.5, 0.5, 0.9],
        [1, 0.8, 0.7],
        [0.35, 0.5, 0.3],
        [1, 0.7, 0.3],
    ]
    shade = (y / y.max())[..., None]
    picture = top * (1 - shade) + (low * 0.6 + 0.4) * shade
    at_x, at_y, radius = rng.uniform(0.2, 0.8) * x.max(), rng.uniform(0.15, 0.45) * y.max(), rng.uniform(0.06, 0.14)
    glow = np.clip(1 - np.hypot(x - at_x, y - at_y) / radius, 0, 1)[..., None]
    picture = picture * (1 - np.clip(glow * 6, 0, 1)) + (sun * 0.4 + 0.6) * np.clip(glow * 6, 0, 1)
    for hill in range(3):
        waves = sum(np.sin(x * rng.uniform(4, 18) + rng.uniform(0, 7)) * 0.05 for _ in range(3))
        picture = np.where(
            (y > y.max() * (0.55 + hill * 0.14) + waves)[..., None], ground * (1.1 - hill * 0.35), picture
        )
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def blocks(picture: np.ndarray, side: int) -> np.ndarray:
    """The same picture in squares of `side` pixels: a draft."""
    height, width = picture.shape[:2]
    return picture[::side, ::side].repeat(side, 0).repeat(side, 1)[:height, :width]


class SceneryEngine:
    """Draws and edits sceneries. `pace_s`: seconds a pass; `cancelled` counts tickets that were given up, `begun` all of them."""

    def __init__(self, name: str = "scenery", pace_s: float = 0.0, refuses: str = "") -> None:
        self.info = ModelInfo(
            name=name, owner="tests", modality="image", family="polarlight", tasks=("draw", "edit"), sizes={"128": SIDES},
            modes=("speed", "quality"), max_prompt=400, max_inputs=1, created=0, negative_prompt=True, masks=True,
        )  # fmt: skip
        self.pace_s, self.refuses, self.closed = pace_s, refuses, False
        self.begun, self.cancelled, self.working = 0, 0, set[asyncio.Task]()

    async def submit(self, task: Task, permit: Permit | None, owner: str = "") -> Ticket:
        if self.closed:
            raise EngineClosed("closed")
        self.info.check(task)
        spend(permit, task)
        self.begun += 1
        ticket = Ticket(task, self._cancel)
        work = asyncio.create_task(self._make(ticket))
        self.working.add(work)
        work.add_done_callback(self.working.discard)
        return ticket

    def _cancel(self, ticket: Ticket) -> None:
        self.cancelled += 1
        ticket.post(Cancelled("cancelled"))

    async def _make(self, ticket: Ticket) -> None:
        task = ticket.task
        assert isinstance(task, ImageTask)
        size = self.info.size_of(task)
        picture = scenery(task.prompt, task.seed, size.width, size.height)
        if task.task == "edit":
            given = task.pictures[0]
            picture = scenery(task.prompt, task.seed, given.shape[1], given.shape[0])
            if task.mask is not None:
                picture = np.where(task.mask[..., None], picture, given)
        passes = task.previews + 1
        for number in range(1, passes + 1):
            await asyncio.sleep(self.pace_s)
            if ticket.cancelled:
                return
            if number < passes:
                ticket.post(Preview(number=number, passes=passes, picture=blocks(picture, 32 >> number)))
        about = {"prompt": task.prompt, "seed": task.seed, "mode": task.mode, "passes": passes, "model": self.info.name}
        ticket.post(Done(result=ImageResult(pixels=picture, seed=task.seed, passes=passes, metadata=about)))

    async def close(self) -> None:
        self.closed = True
        await asyncio.gather(*self.working)
