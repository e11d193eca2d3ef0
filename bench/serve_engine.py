"""Drawing for many at once: the engine's continuous batching beside one direct batch and beside one picture after the other.

    python bench/serve_engine.py                     eight draws: of each mode, arriving together; and mixed
    python bench/serve_engine.py --cases mixed       aspects and modes mixed, arrivals spread at random over 0.3 s

The ceiling is the bare decode: the passes of one running batch over all requests, with no queue, no thread and no pixels. The
direct batch knows all its requests beforehand too, but takes those of one shape and mode at a time, as `polarlight imagine` does.
Recorded beside the times: the share of pictures that equal, pixel for pixel, those that the same engine draws one at a time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from harness.ledger import prepare, record
from harness.timing import Race, race

from polarlight.infer.continuous import Drawing, RunningBatch
from polarlight.infer.engine import Engine, ImageResult, ImageTask
from polarlight.infer.images import GRIDS, MODES, ImageGenerator, ImageRequest
from polarlight.infer.sampling import Job
from polarlight.infer.shipped import POSITIONS, ShippedEngine
from polarlight.ops.orders import group_sizes

SPREAD_S = 0.3  # over which mixed requests arrive; it counts in wall time and not in processor time
BARS = {"over_direct": 0.95, "over_one_by_one": 1.5}
PROMPTS = ("a red car left of a yellow house", "two blue dogs", "a glass bottle on a wooden table at night", "a cat")


class OpenGate:
    """A permit for everything: what is measured is the engine, not the gate."""

    def spend(self, task: str, prompt: str, pictures: Sequence[np.ndarray] = ()) -> None:
        """Nothing to use up."""


def new_request(seed: int, mode: str, aspect: str = "1:1") -> ImageRequest:
    """The draw of a seed; prompts take turns."""
    return ImageRequest(prompt=PROMPTS[seed % len(PROMPTS)], seed=seed, mode=mode, aspect=aspect)


def new_requests(count: int, mode: str) -> list[ImageRequest]:
    """Draws of one mode and shape."""
    return [new_request(seed, mode) for seed in range(count)]


def mixed_requests(count: int) -> list[ImageRequest]:
    """Draws that share neither mode nor shape."""
    modes, aspects = list(MODES), list(GRIDS)
    return [new_request(seed, modes[seed % 2], aspects[seed % len(aspects)]) for seed in range(count)]


def served(engine: Engine, requests: list[ImageRequest], spread_s: float = 0.0) -> list[ImageResult]:
    """All requests through the engine, each sent after a random moment of at most `spread_s` seconds."""
    moments = random.Random(0)

    async def one(request: ImageRequest, wait_s: float) -> ImageResult:
        await asyncio.sleep(wait_s)
        task = ImageTask(prompt=request.prompt, seed=request.seed, size=request.aspect, mode=request.mode)
        return await (await engine.submit(task, OpenGate())).result()

    async def all_of_them() -> list[ImageResult]:
        return await asyncio.gather(*(one(request, moments.uniform(0, spread_s)) for request in requests))

    return asyncio.run(all_of_them())


def one_by_one(generator: ImageGenerator, requests: list[ImageRequest]) -> list[np.ndarray]:
    """Each request as a batch of its own."""
    return [generator.draw([request])[0].pixels for request in requests]


@torch.inference_mode()
def bare_decode(generator: ImageGenerator, requests: Sequence[ImageRequest], jobs: Sequence[Job]) -> None:
    """The passes of one running batch over prepared jobs, which begin together; pixels are not decoded."""
    batch, modes = RunningBatch(generator.decoder, len(jobs), POSITIONS), [MODES[request.mode] for request in requests]
    newcomers = [
        Drawing(job, group_sizes(len(job.order), mode.passes), mode.sampling)
        for job, mode in zip(jobs, modes, strict=True)
    ]
    while newcomers or batch.drawings:
        batch.step(newcomers)
        newcomers = []
        for drawing in [drawing for drawing in batch.drawings if drawing.finished]:
            batch.remove(drawing)


def identical(engine: ShippedEngine, requests: list[ImageRequest]) -> float:
    """Share of pictures that are the same under load, arriving at random, and one at a time."""
    alone, together = [served(engine, [one])[0] for one in requests], served(engine, requests, SPREAD_S)
    return float(np.mean([np.array_equal(one.pixels, two.pixels) for one, two in zip(alone, together, strict=True)]))


def measure(requests: list[ImageRequest], spread_s: float, rounds: int, clock: str) -> tuple[dict[str, Any], Race]:
    """The ways of drawing, interleaved."""
    generator = ImageGenerator.load()
    generator.chooser = None  # every picture is drawn once: what is measured is the batch
    engine = ShippedEngine(generator, slots=len(requests))
    contenders = {
        "bare decode": partial(bare_decode, generator, requests, [generator.prepare(each).job for each in requests]),
        "direct": partial(generator.draw, requests),
        "engine": partial(served, engine, requests, spread_s),
        "one by one": partial(one_by_one, generator, requests),
    }
    share = identical(engine, requests)  # also the warm-up
    run = race(contenders, rounds, clock)
    asyncio.run(engine.close())
    count = len(requests)
    return {
        "pictures": count, "arrivals_over_s": spread_s, "clock": clock, "rounds": rounds, "dropped": run.dropped,
        "dtype": str(generator.dtype).removeprefix("torch."),
        "pictures_per_second": {name: count / run.median(name) for name in contenders},
        "share_of_bare_decode": {name: run.median("bare decode") / run.median(name) for name in contenders},
        "over_direct": run.ratio("direct", "engine"),
        "over_one_by_one": run.ratio("one by one", "engine"),
        "identical_to_alone": share,
    }, run  # fmt: skip


def main() -> None:
    options = prepare(
        __doc__ or "", ("--cases", {"nargs": "+", "choices": [*MODES, "mixed"], "default": [*MODES, "mixed"]}),
        ("--count", {"type": int, "default": 8}), ("--rounds", {"type": int, "default": 15}),
    )  # fmt: skip
    for name in options.cases:
        mixed = name == "mixed"
        requests = mixed_requests(options.count) if mixed else new_requests(options.count, name)
        spread_s = SPREAD_S if mixed else 0.0
        with torch.inference_mode():
            result, run = measure(requests, spread_s, options.rounds, options.clock)
        record("serve_engine", {"case": name, "bars": BARS, **result}, run.others)


if __name__ == "__main__":
    main()
