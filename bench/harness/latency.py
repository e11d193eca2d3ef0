"""How long clients wait: for the first partial picture and for the finished one, from the server and from the engine itself."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from harness.processes import Client
from polarlight.infer.engine import Done, ImageTask, Permit
from polarlight.infer.shipped import ShippedEngine

Wait = tuple[float, float]  # seconds to the first partial picture, and to the finished one
Answer = TypeVar("Answer")


async def http_wait(client: Client, body: Mapping[str, Any]) -> Wait:
    """Read one answer as server-sent events, each of them to its end.

    Raises:
        SystemExit: the stream ended with an error, or showed nothing on the way.
    """
    start, first, finished = time.perf_counter(), None, None
    async with client.http.stream("POST", "/v1/images/generations", json=body) as answer:
        async for line in answer.aiter_lines():  # to the end: a connection left early is not used again
            kind = json.loads(line.removeprefix("data: "))["type"] if line.startswith("data: ") else ""
            if kind == "image_generation.partial_image":
                first = first or time.perf_counter() - start
            elif kind == "image_generation.completed":
                finished = time.perf_counter() - start
            elif kind:
                raise SystemExit(f"The stream of a picture showed {line[:400]}")
    if first is None or finished is None:
        raise SystemExit(f"The stream of a picture ended early, with status {answer.status_code}.")
    return first, finished


async def engine_wait(engine: ShippedEngine, task: ImageTask, permit: Permit) -> Wait:
    """The same of a task that goes straight to the engine: pixels, not files."""
    start, first = time.perf_counter(), None
    async for event in await engine.submit(task, permit):
        if isinstance(event, Done):
            assert first is not None, "a task with previews shows one before its end"
            return first, time.perf_counter() - start
        first = first or time.perf_counter() - start
    raise AssertionError("a ticket ends with Done")


async def closed_loop(ask: Callable[[int], Awaitable[Answer]], clients: int, each: int, begin: int) -> list[Answer]:
    """The answers to `clients` who begin together and ask `each` times, one after the other; requests count from `begin`."""

    async def client(number: int) -> list[Answer]:
        return [await ask(begin + number * each + turn) for turn in range(each)]

    return [answer for answers in await asyncio.gather(*map(client, range(clients))) for answer in answers]


def summary(waits: Sequence[Wait]) -> dict[str, float]:
    """Milliseconds: medians and 95th percentiles."""
    result: dict[str, float] = {"requests": len(waits)}
    for name, seconds in zip(("first_partial", "finished"), zip(*waits, strict=True), strict=True):
        result[f"{name}_median"] = 1e3 * statistics.median(seconds)
        result[f"{name}_p95"] = 1e3 * statistics.quantiles(seconds, n=20, method="inclusive")[-1]
    return result
