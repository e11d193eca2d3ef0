"""An image engine for the studio's tests: pictures that anyone can tell apart, in as many passes as asked for, at a chosen pace."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import numpy as np
from engines import FakeEngine

from polarlight.infer.engine import Done, ImageResult, ImageTask, ModelInfo, Preview, Task, Ticket

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


class SceneryEngine(FakeEngine):
    """Draws and edits sceneries, and makes pictures larger where `learn_to_upscale` was called. `pace_s`: seconds a pass."""

    def __init__(self, name: str = "scenery", pace_s: float = 0.0) -> None:
        super().__init__()
        self.info = ModelInfo(
            name=name, owner="tests", modality="image", family="polarlight", tasks=("draw", "edit"), sizes={"128": SIDES},
            modes=("speed", "quality"), max_prompt=400, max_inputs=1, created=0, negative_prompt=True, masks=True,
        )  # fmt: skip
        self.pace_s = pace_s

    def learn_to_upscale(self) -> None:
        """From now on it says that it can."""
        self.info = replace(self.info, tasks=(*self.info.tasks, "upscale"))

    def learn_to_plan(self) -> None:
        """From now on it takes plans, and says by which one a picture was drawn: one of its own where none was given."""
        self.info = replace(self.info, plans=True)

    @property
    def begun(self) -> int:
        """How many pictures were begun."""
        return len(self.tasks)

    async def _work(self, ticket: Ticket) -> None:
        made = self.make(ticket.task)
        for number in range(1, made.passes + 1):
            await asyncio.sleep(self.pace_s)
            if ticket.cancelled:
                return
            if number < made.passes:
                picture = blocks(made.pixels, 32 >> number)
                ticket.post(Preview(number=number, passes=made.passes, picture=picture))
        ticket.post(Done(result=made))

    def make(self, task: Task) -> ImageResult:
        assert isinstance(task, ImageTask)
        size = self.info.size_of(task)
        picture = scenery(task.prompt, task.seed, size.width, size.height)
        if task.task == "edit":
            given = task.pictures[0]
            picture = scenery(task.prompt, task.seed, given.shape[1], given.shape[0])
            if task.mask is not None:
                picture = np.where(task.mask[..., None], picture, given)
        if task.task == "upscale":
            picture = task.pictures[0].repeat(task.factor, 0).repeat(task.factor, 1)
        passes = task.previews + 1
        about = {"prompt": task.prompt, "seed": task.seed, "mode": task.mode, "passes": passes, "model": self.info.name}
        about |= {"plan": task.plan or "sun @ 4 4 11 11"} if self.info.plans and task.task == "draw" else {}
        return ImageResult(pixels=picture, seed=task.seed, passes=passes, metadata=about)
