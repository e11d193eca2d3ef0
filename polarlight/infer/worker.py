"""An engine whose model belongs to one thread: the queue before it, its tickets, and its end.

Waiting tasks of different owners take turns, each owner's own in order. The event loop never waits for the model, and the model
never for the event loop.
"""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections import OrderedDict, deque
from collections.abc import Callable

from .engine import Cancelled, EngineClosed, EngineFull, ModelInfo, Permit, Task, Ticket, spend

FIRST_GUESS_S = 1.0  # seconds a task, before any was measured
MEMORY = 0.8  # weight of the past in the running mean of seconds a task


class FairQueue:
    """Waiting tickets by owner; owners take turns, an owner's own tickets keep their order. Not thread-safe by itself."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, deque[Ticket]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    def put(self, owner: str, ticket: Ticket) -> None:
        """At the end of the owner's line."""
        self._lines.setdefault(owner, deque()).append(ticket)

    def take(self) -> Ticket:
        """The first ticket of the owner whose turn it is; an owner with more goes to the back."""
        owner, line = self._lines.popitem(last=False)
        ticket = line.popleft()
        if line:
            self._lines[owner] = line
        return ticket

    def remove(self, ticket: Ticket) -> bool:
        """Take a ticket out of its line; whether it was waiting."""
        for owner, line in self._lines.items():
            if ticket in line:
                line.remove(ticket)
                if not line:
                    del self._lines[owner]
                return True
        return False


class WorkerEngine(ABC):
    """The queue and the thread. A subclass says what it is (`info`) and works (`_work`) until `_take` gives None."""

    def __init__(self, *, together: int, waiting: int) -> None:
        """together: tasks that run at once; waiting: how many may wait."""
        self._together, self._most_waiting = together, waiting
        self.threads: int | None = None  # of the model's operations; None: as many as they take by themselves
        self._queue, self._change = FairQueue(), threading.Condition()
        self._running, self._closing, self._seconds = 0, False, FIRST_GUESS_S
        self._thread: threading.Thread | None = None

    @property
    @abstractmethod
    def info(self) -> ModelInfo:
        """What the model is and can do."""

    @abstractmethod
    def _work(self) -> None:
        """The thread's body."""

    async def submit(self, task: Task, permit: Permit | None, owner: str = "") -> Ticket:
        """See `Engine.submit`."""
        if permit is not None:  # without one nothing is said about the task
            self._check(task)
        with self._change:
            if self._closing:
                raise EngineClosed("This engine is shutting down.")
            if permit is not None and len(self._queue) >= self._most_waiting:
                raise EngineFull(self._retry_after())
            spend(permit, task)
            ticket = Ticket(task, self._cancel)
            self._queue.put(owner, ticket)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name=f"engine {self.info.name}", daemon=True)
                self._thread.start()
            self._change.notify_all()
        return ticket

    def _check(self, task: Task) -> None:
        """Whether the task can be done, before its permit is spent."""
        self.info.check(task)

    async def close(self) -> None:
        """Take no more tasks and return when the accepted ones are done."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)

    def waiting(self) -> int:
        """How many tasks wait now."""
        with self._change:
            return len(self._queue)

    def _cancel(self, ticket: Ticket) -> None:
        """Answer for a ticket that still waits; one that runs is stopped by the worker, which sees `ticket.cancelled`."""
        with self._change:
            if self._queue.remove(ticket):
                ticket.post(Cancelled("Cancelled while waiting."))

    def _take(
        self, free: int, company_s: float = 0.0, size: Callable[[Ticket], int] = lambda ticket: 1
    ) -> list[Ticket] | None:
        """Waiting tickets until they fill `free` places, the last one perhaps more; for an idle worker it waits for the first, then
        `company_s` for others to join it. size: the places that a ticket takes.

        None when the engine is closing and nothing waits or runs.
        """
        with self._change:
            while self._running == 0 and not self._queue:
                if self._closing:
                    return None
                self._change.wait()
                if company_s:
                    self._change.wait_for(lambda: len(self._queue) >= free or self._closing, company_s)
            taken = list[Ticket]()
            while free > 0 and self._queue:
                taken.append(self._queue.take())
                free -= size(taken[-1])
            self._running += len(taken)
            return taken

    def _finished(self, seconds: float) -> None:
        """One running task is over, for whatever reason, after so many seconds."""
        with self._change:
            self._running -= 1
            self._seconds = MEMORY * self._seconds + (1 - MEMORY) * seconds

    def _retry_after(self) -> float:
        """Seconds until a place in the queue is likely to be free."""
        return max(1.0, self._seconds / self._together)
