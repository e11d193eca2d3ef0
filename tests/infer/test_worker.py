"""The queue before a model's thread: turns, bounds, cancelling and the end."""

import asyncio
import threading

import numpy as np
import pytest
from engines import OnePermit, run

from polarlight.infer.engine import (
    Cancelled,
    Done,
    EngineClosed,
    EngineFull,
    ImageResult,
    ImageTask,
    ModelInfo,
    Task,
    Ticket,
    UnsupportedTask,
)
from polarlight.infer.worker import FairQueue, WorkerEngine

PIXELS = np.zeros((4, 4, 3), np.uint8)


class SlowPainter(WorkerEngine):
    """Works on one task at a time, each as soon as the test opens the door for it."""

    info = ModelInfo(
        name="painter", owner="tests", modality="image", family="polarlight", tasks=("draw",),
        sizes={"1k": {"1:1": (4, 4)}}, modes=("speed",), max_prompt=100, max_inputs=0, created=0,
    )  # fmt: skip

    def __init__(self, waiting: int = 8) -> None:
        super().__init__(together=1, waiting=waiting)
        self.door, self.begun, self.order = threading.Semaphore(0), threading.Event(), list[str]()

    def _work(self) -> None:
        while (taken := self._take(1)) is not None:
            for ticket in taken:
                self.begun.set()
                self.door.acquire(timeout=20)
                self.order.append(ticket.task.prompt)
                result = ImageResult(pixels=PIXELS, seed=0, passes=1, metadata={})
                self._finished(0.5)
                ticket.post(Cancelled("cancelled") if ticket.cancelled else Done(result=result))

    async def busy(self) -> Ticket:
        """Give it a task and wait until it works on it."""
        ticket = await self.submit(ImageTask(prompt="first"), OnePermit())
        await asyncio.to_thread(self.begun.wait, 20)
        return ticket


def fill(queue: FairQueue, *pairs: tuple[str, str]) -> dict[str, Ticket]:
    tickets = {prompt: Ticket(ImageTask(prompt=prompt), lambda _: None) for _, prompt in pairs}
    for owner, prompt in pairs:
        queue.put(owner, tickets[prompt])
    return tickets


def test_owners_take_turns_and_an_owners_own_tasks_keep_their_order() -> None:
    async def order() -> list[str]:
        queue = FairQueue()
        fill(queue, ("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1"), ("c", "c1"), ("b", "b2"))
        return [queue.take().task.prompt for _ in range(len(queue))]

    assert run(order()) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_a_ticket_leaves_the_line_once() -> None:
    async def leave() -> None:
        queue = FairQueue()
        tickets = fill(queue, ("a", "a1"), ("a", "a2"))
        assert queue.remove(tickets["a1"])
        assert not queue.remove(tickets["a1"])
        assert queue.take() is tickets["a2"]
        assert len(queue) == 0

    run(leave())


def test_an_owner_with_much_to_do_does_not_hold_up_another() -> None:
    async def work() -> list[str]:
        engine = SlowPainter()
        tickets = [await engine.busy()]
        for owner, prompt in (("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "b1")):
            tickets.append(await engine.submit(ImageTask(prompt=prompt), OnePermit(), owner))
        engine.door.release(5)
        for ticket in tickets:
            await ticket.result()
        await engine.close()
        return engine.order

    assert run(work()) == ["first", "a1", "b1", "a2", "a3"]


def test_a_full_queue_says_when_to_come_back_and_leaves_the_permit_unspent() -> None:
    async def overfill() -> None:
        engine, permit = SlowPainter(waiting=1), OnePermit()
        await engine.busy()
        await engine.submit(ImageTask(prompt="a"), OnePermit())
        with pytest.raises(EngineFull) as raised:
            await engine.submit(ImageTask(prompt="b"), permit)
        assert raised.value.retry_after_s >= 1
        assert permit.spent_on == []
        engine.door.release(2)
        await engine.close()

    run(overfill())


def test_a_task_that_cannot_be_done_leaves_the_permit_unspent() -> None:
    async def ask() -> None:
        engine, permit = SlowPainter(), OnePermit()
        with pytest.raises(UnsupportedTask):
            await engine.submit(ImageTask(prompt="a", mode="best"), permit)
        assert permit.spent_on == []

    run(ask())


@pytest.mark.parametrize("task", [ImageTask(prompt="a"), ImageTask(prompt="a", mode="best")])
def test_without_a_permit_no_thread_even_starts(task: Task) -> None:
    async def ask() -> None:
        engine = SlowPainter()
        with pytest.raises(PermissionError):
            await engine.submit(task, None)
        assert engine._thread is None

    run(ask())


def test_a_waiting_task_is_cancelled_at_once_and_never_begun() -> None:
    async def cancel() -> list[str]:
        engine = SlowPainter()
        await engine.busy()
        ticket = await engine.submit(ImageTask(prompt="a"), OnePermit())
        ticket.cancel()
        with pytest.raises(Cancelled):
            await ticket.result()
        assert engine.waiting() == 0
        engine.door.release()
        await engine.close()
        return engine.order

    assert run(cancel()) == ["first"]


def test_an_idle_worker_survives_a_task_that_is_cancelled_before_it_begins() -> None:
    async def work() -> list[str]:
        engine = SlowPainter()
        engine.door.release(9)
        for number in range(5):
            ticket = await engine.submit(ImageTask(prompt=str(number)), OnePermit())
            ticket.cancel()
            with pytest.raises(Cancelled):
                await ticket.result()
        await (await engine.submit(ImageTask(prompt="last"), OnePermit())).result()
        await engine.close()
        return engine.order

    assert run(work())[-1] == "last"


def test_closing_finishes_what_was_accepted_and_takes_no_more() -> None:
    async def close() -> None:
        engine = SlowPainter()
        tickets = [await engine.busy(), await engine.submit(ImageTask(prompt="a"), OnePermit())]
        engine.door.release(2)
        await engine.close()
        with pytest.raises(EngineClosed):
            await engine.submit(ImageTask(prompt="b"), OnePermit())
        assert [(await ticket.result()).passes for ticket in tickets] == [1, 1]

    run(close())
