"""An engine in a process of its own: the thread that owns the model shares its interpreter with nobody.

A model of this size is thousands of short operations a second, each of which must get the interpreter's lock back; a server beside
them that seals pictures and speaks to a database takes it away. So the server keeps the doors, and the model gets a process:

    here (`EngineApart`)                        there (`_Worker`)
      submit: a task, its owner    ------->     Engine.submit
      the gate                     <------>     the engine spends the permit, before it accepts
      ticket                       <-------     accepted or not; previews, the picture or the error
      cancel, threads, close       ------->

The permit never travels: the engine asks for it, and the gate here answers. A process that dies is started again and given once
more what it had accepted (one seed gives one picture); a task that was there at two deaths fails. Where the server dies, the pipe
ends, and so does the process.
"""

from __future__ import annotations

import asyncio
import atexit
import itertools
import logging
import os
import pickle
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from .engine import Engine, EngineClosed, ModelInfo, Permit, Preview, Task, Ticket, open_engine
from .worker import WorkerEngine

log = logging.getLogger("polarlight.infer.apart")
SWITCH_S = 0.0005  # Python's own 5 ms let each of a model's many short steps wait that long for another thread
DEATHS = 2  # of the process, after which a task that was there fails
PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # before another start, where one failed
PROCESSES = get_context("spawn")


@dataclass(kw_only=True, eq=False)
class Call:
    """A task that was sent, until its last event. life: the process that it was sent to, counted from 1; deaths: how
    often one ended under it."""

    number: int
    task: Task
    owner: str
    permit: Permit | None
    ticket: Ticket
    accepted: Future[None] = field(default_factory=Future)
    spent: bool = False
    refusal: Exception | None = None
    life: int = 0
    deaths: int = 0


class EngineApart:
    """The engine of a spec, in a process of its own (`process`), behind the engine protocol."""

    def __init__(self, spec: str, on_change: Callable[[], None] = lambda: None) -> None:
        """Start the process and wait until its model is ready. on_change: called when a task has come or gone, from any thread.

        Raises:
            UserError: as `open_engine`.
            EngineClosed: the process ended before the model was ready.
        """
        self.spec, self._on_change = spec, on_change
        self._threads: int | None = None  # as the process was told
        self._calls: dict[int, Call] = {}
        self._numbers, self._change = itertools.count(), threading.Lock()
        self._life, self._closing = 1, False
        self.running = True  # whether there is a process whose model is ready
        self._pipe, self._info = self._started()
        self._over = Future[None]()
        threading.Thread(target=self._read, name=f"engine {self._info.name}", daemon=True).start()

    @property
    def info(self) -> ModelInfo:
        """What the model there says of itself."""
        return self._info

    @property
    def busy(self) -> int:
        """Tasks that were sent and are not over."""
        return len(self._calls)

    def use(self, threads: int) -> None:
        """Have the model work with so many threads, from its next pass on."""
        if threads != self._threads:
            self._threads = threads
            self._tell("threads", threads)

    async def submit(self, task: Task, permit: Permit | None, owner: str = "") -> Ticket:
        """See `Engine.submit`."""
        number = next(self._numbers)
        ticket = Ticket(task, lambda _: self._tell("cancel", number))
        call = Call(number=number, task=task, owner=owner, permit=permit, ticket=ticket)
        with self._change:
            if self._closing:
                raise EngineClosed("This engine is shutting down.")
            self._calls[number] = call
        self._on_change()
        try:
            await asyncio.to_thread(self._send, call)  # pictures may be more than a pipe holds
            await asyncio.wrap_future(call.accepted)
        except asyncio.CancelledError:
            ticket.cancel()
            raise
        return ticket

    async def close(self) -> None:
        """Take no more tasks and return when the accepted ones are done."""
        with self._change:
            self._closing = True
        self._tell("close")
        await asyncio.wrap_future(self._over)

    def _started(self) -> tuple[Connection, ModelInfo]:
        """A new process whose model is ready, by its pipe, and what the model says of itself."""
        here, there = PROCESSES.Pipe()
        process = PROCESSES.Process(target=_run, args=(self.spec, there), name=f"engine {self.spec}", daemon=True)
        process.start()
        there.close()
        self.process = process
        atexit.register(_end, here)  # comes before the interpreter's own wait for a process that ignores SIGTERM
        try:
            kind, value = here.recv()
        except EOFError:
            raise EngineClosed(f"The process of the model {self.spec} ended before it was ready.") from None
        if kind == "failed":
            raise value
        return here, value

    def _send(self, call: Call) -> None:
        """Send a task to the process there is; where that has died, the reader does so when there is a new one."""
        with self._change:
            if call.life == self._life or call.number not in self._calls:
                return
            call.life = self._life
            with suppress(OSError):
                self._pipe.send(("submit", call.number, call.task, call.owner, call.permit is not None))

    def _tell(self, *message: Any) -> None:
        with self._change, suppress(OSError):
            self._pipe.send(message)

    def _read(self) -> None:
        """The reader's body: hand on what the process says, for as many processes as it takes."""
        while True:
            with suppress(EOFError, OSError):
                while True:
                    self._hear(*self._pipe.recv())
            if self._closing:
                break
            self._again()
        for call in self._take_calls():
            self._lose(call, EngineClosed("This engine is shutting down."))
        self._over.set_result(None)

    def _hear(self, kind: str, number: int, value: Any = None) -> None:
        """One word of the process."""
        call = self._calls.get(number)
        if call is None:
            return
        if kind == "permit":
            self._tell("permit", number, self._spend(call, *value))
        elif kind == "accepted":
            if not call.accepted.done():  # else a second process accepted it again
                call.accepted.set_result(None)
        elif kind == "refused":
            self._drop(call)
            self._lose(call, call.refusal or value)
        else:
            if not isinstance(value, Preview):
                self._drop(call)
            call.ticket.post(value)

    def _spend(self, call: Call, task: str, prompt: str) -> bool:
        """Spend a call's permit for what the engine names, once."""
        if not call.spent:
            assert call.permit is not None, "only who has a permit is asked for it"
            try:
                call.permit.spend(task, prompt, call.task.pictures)
            except Exception as error:
                call.refusal = error
                return False
            call.spent = True
        return True

    def _again(self) -> None:
        """Start another process after one that died, and give it what was under way."""
        self.running = False
        log.error("the process of the model %s died with %d tasks; it is started again", self.spec, len(self._calls))
        pause = PAUSE_S
        for call in list(self._calls.values()):
            call.deaths += call.life == self._life
            if call.deaths >= DEATHS:
                self._drop(call)
                self._lose(call, EngineClosed(f"The model's process ended {DEATHS} times while it did this."))
        while not self._closing:
            try:
                pipe, info = self._started()
                break
            except Exception as error:
                log.error("the process of the model %s does not start: %s", self.spec, error)
                for call in self._take_calls():
                    self._lose(call, EngineClosed("The model does not start."))
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
        else:
            return
        with self._change:
            self._pipe, self._info, self._life = pipe, info, self._life + 1
        self.running = True
        if self._threads is not None:
            self._tell("threads", self._threads)
        for call in list(self._calls.values()):
            self._send(call)

    def _drop(self, call: Call) -> None:
        with self._change:
            self._calls.pop(call.number, None)
        self._on_change()

    def _take_calls(self) -> list[Call]:
        with self._change:
            calls = list(self._calls.values())
            self._calls.clear()
        self._on_change()
        return calls

    def _lose(self, call: Call, error: Exception) -> None:
        """Tell whoever waits for a call that it has come to nothing."""
        if call.accepted.done():
            call.ticket.post(error)
        else:
            call.accepted.set_exception(error)


class _AskedFor:
    """A permit, there: the engine spends it, and the gate here decides."""

    def __init__(self, ask: Callable[[str, str], bool]) -> None:
        self._ask = ask

    def spend(self, task: str, prompt: str, pictures: Sequence[np.ndarray] = ()) -> None:
        """Ask for it and wait for the answer; the pictures are those of the task, which the gate has."""
        if not self._ask(task, prompt):
            raise PermissionError("The gate said no.")  # why, it says to who asked


class _Worker:
    """The engine's side of the pipe: its event loop, and a thread that listens."""

    def __init__(self, engine: Engine, pipe: Connection) -> None:
        self.engine, self.pipe = engine, pipe
        self.sending = threading.Lock()
        self.tickets: dict[int, Ticket] = {}
        self.answers: dict[int, Future[bool]] = {}
        self.tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Until the other side says close, and everything accepted is done."""
        self.loop, self.over = asyncio.get_running_loop(), asyncio.Event()
        threading.Thread(target=self._listen, name="pipe", daemon=True).start()
        await self.over.wait()
        await self.engine.close()
        await asyncio.gather(*self.tasks)

    def _listen(self) -> None:
        while True:
            try:
                kind, *rest = self.pipe.recv()
            except (EOFError, OSError):
                os._exit(0)  # the server is gone, and nobody waits for anything
            if kind == "permit":  # the event loop waits for it
                self.answers.pop(rest[0]).set_result(rest[1])
            elif kind == "end":
                os._exit(0)
            else:
                self.loop.call_soon_threadsafe(self._hear, kind, *rest)

    def _hear(self, kind: str, *rest: Any) -> None:
        if kind == "submit":
            task = asyncio.create_task(self._do(*rest))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
        elif kind == "cancel":
            if (ticket := self.tickets.get(rest[0])) is not None:
                ticket.cancel()
        elif kind == "threads":
            if isinstance(self.engine, WorkerEngine):
                self.engine.threads = rest[0]
        else:
            self.over.set()

    async def _do(self, number: int, task: Task, owner: str, permitted: bool) -> None:
        """One task from its acceptance to its last event."""
        permit = _AskedFor(lambda *named: self._ask(number, named)) if permitted else None
        try:
            ticket = self.tickets[number] = await self.engine.submit(task, permit, owner)
        except Exception as error:
            self._send("refused", number, portable(error))
            return
        self._send("accepted", number)
        try:
            async for event in ticket:
                self._send("event", number, event)
        except Exception as error:
            self._send("event", number, portable(error))
        finally:
            del self.tickets[number]

    def _ask(self, number: int, named: tuple[str, str]) -> bool:
        answer = self.answers[number] = Future[bool]()
        self._send("permit", number, named)
        return answer.result()

    def _send(self, *message: Any) -> None:
        with self.sending, suppress(OSError):
            self.pipe.send(message)


def _run(spec: str, pipe: Connection) -> None:
    """The body of the process. Signals go to the server, which knows what is to be ended and when."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.setswitchinterval(SWITCH_S)
    with suppress(BrokenPipeError):  # the server went away meanwhile
        try:
            engine = open_engine(spec)
        except Exception as error:
            pipe.send(("failed", portable(error)))
            return
        pipe.send(("ready", engine.info))
        asyncio.run(_Worker(engine, pipe).run())


def _end(pipe: Connection) -> None:
    """Have the process at the other end of a pipe leave at once."""
    with suppress(OSError, ValueError):
        pipe.send(("end",))


def portable(error: Exception) -> Exception:
    """An error that survives the way through a pipe, with the place where it happened among its notes."""
    place, sent = "".join(traceback.format_exception(error)), error
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        sent = RuntimeError(f"{type(error).__name__}: {error}")
    sent.add_note(place)
    return sent
