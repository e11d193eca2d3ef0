"""An engine in a process of its own: the same pictures, the same refusals, and what becomes of tasks when a process dies."""

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines import OnePermit, run

from polarlight.base.errors import UserError
from polarlight.infer.apart import EngineApart, portable
from polarlight.infer.engine import (
    Cancelled,
    Done,
    Engine,
    EngineClosed,
    EngineFull,
    ImageTask,
    Preview,
    UnsupportedTask,
    open_engine,
)

TASK = ImageTask(prompt="two blue dogs", seed=3, mode="quality", previews=3)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[EngineApart]:
    made = EngineApart(f"polarlight:{folder}")
    yield made
    run(made.close())
    made.process.join(30)
    assert made.process.exitcode == 0


async def drawn(engine: Engine, task: ImageTask = TASK, permit: OnePermit | None = None) -> np.ndarray:
    return (await (await engine.submit(task, permit or OnePermit())).result()).pixels


def here(folder: Path) -> np.ndarray:
    """TASK's picture from an engine in this process."""
    return run(drawn(open_engine(f"polarlight:{folder}")))


def died(process: Any) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)


def test_it_is_an_engine_that_draws_the_same_picture_and_shows_it_on_the_way(engine: EngineApart, folder: Path) -> None:
    permit = OnePermit()

    async def events() -> list[Preview | Done]:
        return [event async for event in await engine.submit(TASK, permit)]

    assert isinstance(engine, Engine)
    assert engine.info == open_engine(f"polarlight:{folder}").info
    *previews, done = run(events())
    assert [type(event) for event in previews] == [Preview] * 3
    assert np.array_equal(done.result.pixels, here(folder))
    assert permit.spent_on == [("draw", TASK.prompt, 0)]


def test_what_is_refused_here_and_there_is_raised_as_what_it_is(engine: EngineApart) -> None:
    spent = OnePermit()
    spent.spend("draw", "before")
    with pytest.raises(PermissionError, match=r"This permit is spent\."):
        run(engine.submit(TASK, spent))
    with pytest.raises(PermissionError, match="no permit"):
        run(engine.submit(TASK, None))
    with pytest.raises(UserError) as empty:
        run(engine.submit(ImageTask(prompt=""), OnePermit()))
    assert "The prompt is empty" in empty.value.sentence
    assert empty.value.fix
    unspent = OnePermit()
    with pytest.raises(UnsupportedTask):
        run(engine.submit(ImageTask(prompt="a cat", task="upscale"), unspent))
    assert not unspent.spent_on


def test_a_cancelled_task_ends_and_the_engine_goes_on(engine: EngineApart) -> None:
    async def cancel() -> np.ndarray:
        ticket = await engine.submit(TASK, OnePermit())
        async for _ in ticket:  # the first preview
            ticket.cancel()
            break
        with pytest.raises(Cancelled):
            async for _ in ticket:
                pass
        return await drawn(engine)

    assert run(cancel()).shape == (128, 128, 3)


def test_a_process_that_dies_is_started_again_and_does_what_it_had_taken(engine: EngineApart, folder: Path) -> None:
    permits = [OnePermit(), OnePermit()]

    async def two_lives() -> list[np.ndarray]:
        first = engine.process
        ticket = await engine.submit(TASK, permits[0])
        assert isinstance(await anext(ticket), Preview)
        os.kill(first.pid, signal.SIGSTOP)  # it cannot take another task
        unheard = asyncio.create_task(drawn(engine, permit=permits[1]))
        await asyncio.sleep(0.1)
        await asyncio.to_thread(died, first)
        pictures = [(await ticket.result()).pixels, await unheard]
        assert engine.process.pid != first.pid
        return pictures

    for picture in run(two_lives()):
        assert np.array_equal(picture, here(folder))
    assert [len(permit.spent_on) for permit in permits] == [1, 1]


def test_a_task_that_was_there_at_two_deaths_fails(engine: EngineApart) -> None:
    async def two_deaths() -> None:
        ticket = await engine.submit(replace(TASK, previews=63), OnePermit())
        for _ in range(2):
            while (await anext(ticket)).number != 1:  # what the process before had shown
                pass
            os.kill(engine.process.pid, signal.SIGSTOP)
            await asyncio.to_thread(died, engine.process)
        with pytest.raises(EngineClosed, match="ended 2 times"):
            async for _ in ticket:
                pass
        assert (await drawn(engine)).shape == (128, 128, 3)

    run(two_deaths())


def test_closing_waits_for_what_was_accepted(folder: Path) -> None:
    engine = EngineApart(f"polarlight:{folder}")

    async def close() -> np.ndarray:
        ticket = await engine.submit(TASK, OnePermit())
        await engine.close()
        with pytest.raises(EngineClosed):
            await engine.submit(TASK, OnePermit())
        return (await ticket.result()).pixels

    assert np.array_equal(run(close()), here(folder))


def test_signals_for_all_processes_of_a_server_are_its_own_business(engine: EngineApart) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(engine.process.pid, number)
    assert run(drawn(engine)).shape == (128, 128, 3)


HOLDER = """
import sys, time
from polarlight.infer.apart import EngineApart
engine = EngineApart(sys.argv[1])
print(engine.process.pid, flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("killed", [False, True])
def test_the_process_ends_with_who_started_it(folder: Path, killed: bool) -> None:
    seconds = "600" if killed else "0"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, f"polarlight:{folder}", seconds], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    pid = int(holder.stdout.readline())
    if killed:
        holder.kill()
    assert holder.wait(30) == (-signal.SIGKILL if killed else 0)
    holder.stdout.close()
    deadline = time.monotonic() + 30
    with suppress(ProcessLookupError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.05)
        pytest.fail("the engine's process is still there")


def test_a_model_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError) as missing:
        EngineApart(f"polarlight:{tmp_path}")
    with pytest.raises(UserError) as same:
        open_engine(f"polarlight:{tmp_path}")
    assert str(missing.value) == str(same.value)


class Odd(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (EngineFull(2.5), "The queue is full; try again in 2 s."),
        (UserError("No.", fix="Yes."), "No. Yes."),
        (Odd(1, 2), "Odd: 1 and 2"),
    ],
)
def test_errors_travel_with_the_place_where_they_happened(error: Exception, seen: str) -> None:
    try:
        raise error
    except Exception as caught:
        there = pickle.loads(pickle.dumps(portable(caught)))
    assert str(there) == seen
    assert type(there) is (RuntimeError if isinstance(error, Odd) else type(error))
    assert any("test_errors_travel" in note for note in there.__notes__)
