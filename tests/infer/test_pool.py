"""Several processes of one model: who gets a task, who has how many threads, and what becomes of them at the end."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engines import OnePermit, run

from polarlight.base.errors import UserError
from polarlight.base.machine import this_machine
from polarlight.infer import pool
from polarlight.infer.apart import EngineApart
from polarlight.infer.engine import Engine, EngineClosed, ImageTask, open_engine
from polarlight.infer.pool import EnginePool, open_apart, processes_here
from polarlight.infer.remote import RemoteEngine
from polarlight.infer.shipped import ShippedEngine

TASK = ImageTask(prompt="two blue dogs", seed=3, mode="quality", previews=63)


@pytest.fixture(scope="module")
def engine(folder: Path) -> Iterator[EnginePool]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pool, "threads_here", lambda: 2)
        made = EnginePool(f"polarlight:{folder}", 2)
    made.wait()
    yield made
    run(made.close())
    for member in made.members:
        member.process.join(30)
        assert member.process.exitcode == 0


def here(folder: Path, task: ImageTask) -> np.ndarray:
    """A task's picture from an engine in this process."""

    async def drawn() -> np.ndarray:
        return (await (await open_engine(f"polarlight:{folder}").submit(task, OnePermit())).result()).pixels

    return run(drawn())


def test_the_pictures_are_those_of_one_engine(engine: EnginePool, folder: Path) -> None:
    tasks = [replace(TASK, seed=seed) for seed in range(4)]

    async def four() -> list[np.ndarray]:
        tickets = [await engine.submit(task, OnePermit()) for task in tasks]
        return [(await ticket.result()).pixels for ticket in tickets]

    assert isinstance(engine, Engine)
    for task, pixels in zip(tasks, run(four()), strict=True):
        assert np.array_equal(pixels, here(folder, task))
    assert [member.busy for member in engine.members] == [0, 0]


class Member:
    """A process that is never done. fails: it spends the permit, and dies before it accepts."""

    def __init__(self, spec: str, on_change: Any) -> None:
        self.spec, self.on_change, self.busy, self.threads = spec, on_change, 0, list[int]()
        self.running, self.fails = True, False

    async def submit(self, task: ImageTask, permit: OnePermit, owner: str) -> None:
        permit.spend("draw", task.prompt)
        if self.fails:
            raise EngineClosed("The model does not start.")
        self.change(1)

    def change(self, by: int) -> None:
        self.busy += by
        self.on_change()

    def use(self, threads: int) -> None:
        self.threads = [*self.threads, threads]


def test_tasks_go_to_who_has_the_least_to_do_and_those_who_work_share_the_cores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "EngineApart", Member)
    monkeypatch.setattr(pool, "threads_here", lambda: 5)
    engine = EnginePool("some", 3)
    engine.wait()
    members: list[Any] = engine.members
    for number, (busy, threads) in enumerate(
        [([1, 0, 0], [5]), ([1, 1, 0], [2, 2]), ([1, 1, 1], [1, 1, 1]), ([2, 1, 1], [1, 1, 1])]
    ):
        run(engine.submit(replace(TASK, seed=number), OnePermit()))
        assert [member.busy for member in members] == busy
        assert [member.threads[-1] for member in members if member.busy] == threads
    members[0].change(-2)
    assert [member.threads[-1] for member in members] == [1, 2, 2]
    members[1].change(-1)
    assert members[2].threads[-1] == 5


def test_a_process_that_is_down_gets_nothing_and_what_it_did_not_accept_goes_to_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "EngineApart", Member)
    engine = EnginePool("some", 3)
    engine.wait()
    members: list[Any] = engine.members
    members[0].running, members[1].fails = False, True
    permit = OnePermit()
    run(engine.submit(TASK, permit))
    run(engine.submit(TASK, OnePermit()))
    assert [member.busy for member in members] == [0, 0, 2]
    assert len(permit.spent_on) == 1
    members[0].running, members[0].fails, members[2].fails = True, True, True
    with pytest.raises(EngineClosed, match="does not start"):
        run(engine.submit(TASK, OnePermit()))


def test_where_one_dies_the_tasks_of_all_are_done(engine: EnginePool, folder: Path) -> None:
    async def two() -> list[np.ndarray]:
        tickets = [await engine.submit(TASK, OnePermit()) for _ in range(2)]
        os.kill(engine.members[0].process.pid, signal.SIGKILL)
        return [(await ticket.result()).pixels for ticket in tickets]

    for pixels in run(two()):
        assert np.array_equal(pixels, here(folder, TASK))


def test_an_engine_works_with_the_threads_it_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, set_to = open_engine(f"polarlight:{folder}"), list[int]()
    assert isinstance(engine, ShippedEngine)
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    engine.threads = torch.get_num_threads() + 1

    async def drawn() -> None:
        await (await engine.submit(TASK, OnePermit())).result()

    run(drawn())
    assert set(set_to) == {engine.threads}


def test_closing_waits_for_what_was_accepted_and_for_who_still_starts(folder: Path) -> None:
    engine = EnginePool(f"polarlight:{folder}", 2)

    async def close() -> np.ndarray:
        ticket = await engine.submit(TASK, OnePermit())
        await engine.close()
        with pytest.raises(EngineClosed):
            await engine.submit(TASK, OnePermit())
        return (await ticket.result()).pixels

    assert np.array_equal(run(close()), here(folder, TASK))
    for member in engine.members:
        member.process.join(30)
        assert member.process.exitcode == 0


def test_a_further_process_that_does_not_start_is_done_without(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    started = list[str]()

    def once(spec: str, on_change: Any) -> EngineApart:
        started.append(spec)
        if len(started) > 1:
            raise EngineClosed("No memory is left.")
        return EngineApart(spec, on_change)

    monkeypatch.setattr(pool, "EngineApart", once)
    engine = EnginePool(f"polarlight:{folder}", 4)
    engine.wait()

    async def drawn() -> np.ndarray:
        pixels = (await (await engine.submit(TASK, OnePermit())).result()).pixels
        await engine.close()
        return pixels

    assert np.array_equal(run(drawn()), here(folder, TASK))
    assert len(started) == 2
    assert "No memory is left." in caplog.text


def test_a_model_that_cannot_be_opened_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError) as missing:
        open_apart(f"polarlight:{tmp_path}", 2)
    with pytest.raises(UserError) as same:
        open_engine(f"polarlight:{tmp_path}")
    assert str(missing.value) == str(same.value)


def test_one_process_needs_no_pool_and_a_service_elsewhere_no_process(folder: Path) -> None:
    one = open_apart(f"polarlight:{folder}", 1)
    assert isinstance(one, EngineApart)
    run(one.close())
    assert isinstance(open_apart("remote:http://127.0.0.1:1#mine", 3), RemoteEngine)


@pytest.mark.parametrize(
    ("cores", "gigabytes", "said", "count"),
    [
        (2, 24, "", 2),
        (16, 64, "", 4),
        (2, 3, "", 1),
        (1, 1, "", 1),
        (8, 64, "1", 1),
        (2, 24, "8", 2),
        (2, 24, "2,1", 2),
    ],
)
def test_there_is_a_process_a_core_within_bounds(
    monkeypatch: pytest.MonkeyPatch, cores: int, gigabytes: int, said: str, count: int
) -> None:
    machine = replace(this_machine(), cores=cores, memory=gigabytes << 30)
    monkeypatch.setattr(pool, "this_machine", lambda: machine)
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert processes_here() == count
