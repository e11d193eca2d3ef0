"""Several processes of one model, each with its own copy: who asks next goes to the one that has the least to do.

A model of this size is short operations. A second core makes one process a tenth to a third faster; two processes of one thread
draw half as many pictures again, up to twice as many in quality mode, and the server beside them finds a core. So there is one
process a core, up to MOST. They share the cores: one that works alone has them all, so that a lone request is as fast as it can be.
The number of threads changes no picture.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Sequence

import numpy as np

from ..base.machine import this_machine
from .apart import EngineApart
from .engine import Engine, EngineClosed, ModelInfo, Permit, Task, Ticket, open_engine

log = logging.getLogger("polarlight.infer.pool")
APART = ("polarlight", "diffusers")  # kinds of specs whose models run on this machine, and not behind an address
MOST = 4  # processes of a model, unless somebody asks for more
MEMORY = 2 << 30  # bytes of the machine's memory for each; the shipped model takes a quarter of that


def open_apart(spec: str, processes: int | None = None) -> Engine:
    """The engine that a spec names (see `open_engine`): a model of this machine in processes of its own, others as they are.

    processes: of a model of the shipped kind; None: as many as suit the machine. A pipeline has one, which uses all cores.

    Raises:
        UserError: as `open_engine`.
    """
    kind = spec.partition(":")[0]
    if kind not in APART:
        return open_engine(spec)
    count = 1 if kind == "diffusers" else processes or processes_here()
    return EngineApart(spec) if count == 1 else EnginePool(spec, count)


def threads_here() -> int:
    """The cores that this process may use, or OMP_NUM_THREADS where that says less."""
    said, cores = os.environ.get("OMP_NUM_THREADS", ""), this_machine().cores
    return min(cores, int(said)) if said.isdecimal() and int(said) else cores


def processes_here() -> int:
    """How many processes of one model suit this machine."""
    return max(1, min(threads_here(), MOST, this_machine().memory // MEMORY))


class _Once:
    """A permit that may be asked for again where a process died with the task that it was spent for."""

    def __init__(self, permit: Permit) -> None:
        self._permit, self._spent = permit, False

    def spend(self, task: str, prompt: str, pictures: Sequence[np.ndarray] = ()) -> None:
        """See `Permit.spend`."""
        if not self._spent:
            self._permit.spend(task, prompt, pictures)
            self._spent = True


class EnginePool:
    """The engine of a spec in several processes, behind the engine protocol. It is ready when the first one is."""

    def __init__(self, spec: str, processes: int) -> None:
        """Start the first process and wait for it; the others are started one after the other meanwhile.

        Raises:
            UserError: as `open_engine`.
            EngineClosed: the first process ended before the model was ready.
        """
        self.spec, self._threads = spec, threads_here()
        self._sharing, self._closing = threading.Lock(), False
        self.members = list[EngineApart]()
        self.members.append(EngineApart(spec, self._share_threads))
        self._growing = threading.Thread(target=self._grow, args=(processes - 1,), name=f"more of {spec}", daemon=True)
        self._growing.start()

    @property
    def info(self) -> ModelInfo:
        """What the model says of itself."""
        return self.members[0].info

    async def submit(self, task: Task, permit: Permit | None, owner: str = "") -> Ticket:
        """See `Engine.submit`. Owners take turns in every process. A task that a process did not live to accept goes to another."""
        if self._closing:
            raise EngineClosed("This engine is shutting down.")
        permit, left = None if permit is None else _Once(permit), list(self.members)
        while True:
            member = min(left, key=lambda each: (not each.running, each.busy))
            try:
                return await member.submit(task, permit, owner)
            except EngineClosed:
                left.remove(member)
                if not left:
                    raise

    async def close(self) -> None:
        """Take no more tasks and return when the accepted ones are done."""
        self._closing = True
        await asyncio.to_thread(self._growing.join)
        await asyncio.gather(*(member.close() for member in self.members))

    def wait(self) -> None:
        """Return when every process is there that can be."""
        self._growing.join()

    def _grow(self, count: int) -> None:
        """Start so many more processes; one that does not start is done without."""
        for _ in range(count):
            if self._closing:
                return
            try:
                self.members.append(EngineApart(self.spec, self._share_threads))
            except Exception as error:
                log.error("another process of the model %s does not start: %s", self.spec, error)
                return

    def _share_threads(self) -> None:
        """A task came or went: share the threads among those who work."""
        with self._sharing:
            busy = [member for member in self.members if member.busy]
            for member in busy:
                member.use(max(1, self._threads // len(busy)))
