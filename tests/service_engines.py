"""Engines without a model, behind the engine protocol: pictures of one colour, clips of a few frames."""

from __future__ import annotations

import numpy as np
from engines import FakeEngine

from polarlight.infer.engine import ImageResult, ImageTask, ModelInfo, Task, VideoResult, VideoTask
from polarlight.media.clips import encode_clip

SIZES = {"128": {"1:1": (128, 128), "16:9": (176, 96)}, "1k": {"1:1": (256, 256), "16:9": (352, 192)}}

WITHHELD = 80  # the tests' classifier withholds pictures of this grey, which no other seed gives
WITHHELD_SEED = 6


class FakeImages(FakeEngine):
    """Pictures in a colour that the seed chooses."""

    def __init__(self, name: str = "fake-image", family: str = "polarlight") -> None:
        super().__init__()
        self.info = ModelInfo(
            name=name, owner="tests", modality="image", family=family, sizes=SIZES,
            tasks=("draw", "edit", "variation", "upscale"), modes=("speed", "quality"), max_prompt=1000, max_inputs=3,
            created=1, negative_prompt=True, masks=True,
        )  # fmt: skip

    def make(self, task: Task) -> ImageResult:
        assert isinstance(task, ImageTask)
        size = self.info.size_of(task)
        grey = WITHHELD if task.seed == WITHHELD_SEED else task.seed * 10 % 200 + 25
        pixels = np.full((size.height, size.width, 3), grey, np.uint8)
        about = {"prompt": task.prompt, "seed": task.seed, "mode": task.mode}
        if size.note:
            about["note"] = size.note
        return ImageResult(pixels=pixels, seed=task.seed, passes=2, metadata=about)


class FakeClips(FakeEngine):
    """Clips of four grey frames, all of one grey where `grey` says so."""

    grey: int | None = None

    def __init__(self, name: str = "fake-video", family: str = "openai") -> None:
        super().__init__()
        sizes = {"480p": {"16:9": (128, 96)}, "720p": {"16:9": (256, 192)}}
        self.info = ModelInfo(
            name=name, owner="tests", modality="video", family=family, tasks=("generate", "edit", "extend"), sizes=sizes,
            modes=("speed",), max_prompt=1000, max_inputs=7, created=2,
        )  # fmt: skip

    def make(self, task: Task) -> VideoResult:
        assert isinstance(task, VideoTask)
        size = self.info.size_of(task)
        frames = np.stack([np.full((size.height, size.width, 3), self.grey or 30 * n, np.uint8) for n in range(1, 5)])
        return VideoResult(
            content=encode_clip(frames, 8), seconds=task.seconds, size=(size.width, size.height), seed=task.seed,
            metadata={"prompt": task.prompt},
        )  # fmt: skip
