"""What every model is plugged in by: a task goes in, a ticket comes out, and models are found by name.

Nothing here knows a model: the shipped one (`shipped`), any diffusers pipeline (`pipelines`) and any remote service (`remote`)
stand behind the same three calls. This file imports no torch, so that a server can list its models before it loads them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ..base.errors import UserError
from .tasks import Done, ImageResult, ImageTask, ModelInfo, Preview, Task, UnsupportedTask, VideoResult, VideoTask

__all__ = [
    "Cancelled",
    "Done",
    "Engine",
    "EngineClosed",
    "EngineFull",
    "Engines",
    "ImageResult",
    "ImageTask",
    "ModelInfo",
    "Permit",
    "Preview",
    "Task",
    "Ticket",
    "UnsupportedTask",
    "VideoResult",
    "VideoTask",
    "open_engine",
    "spend",
]


class EngineFull(Exception):
    """The engine's queue is full. `retry_after_s` says when a place is likely to be free (seconds)."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"The queue is full; try again in {retry_after_s:.0f} s.")
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[Any, ...]:
        return EngineFull, (self.retry_after_s,), self.__dict__


class EngineClosed(Exception):
    """The engine is shutting down and takes no more tasks."""


class Cancelled(Exception):
    """The ticket was cancelled before its task was done."""


@runtime_checkable
class Permit(Protocol):
    """What the policy gate issues for one task."""

    def spend(self, task: str, prompt: str, pictures: Sequence[np.ndarray] = ()) -> None:
        """Use the permit up. Raises where it was issued for something else, is spent, or has expired."""


def spend(permit: Permit | None, task: Task) -> None:
    """Use up the permit of a task; every engine calls this before it accepts one. What the permit raises goes on as it is.

    Raises:
        PermissionError: there is no permit.
    """
    if not isinstance(permit, Permit):
        raise PermissionError("This task has no permit. Ask the policy gate for one.")
    permit.spend(task.gate_task, task.words, task.pictures)


class Ticket:
    """An accepted task: iterate over it for its events, a `Done` last. What went wrong is raised from the iteration.

    Made on the event loop that reads it; `post` may be called from any thread. As a context manager it cancels the task when the
    block is left before the task is done.
    """

    def __init__(self, task: Task, on_cancel: Callable[[Ticket], None]) -> None:
        self.task, self.cancelled = task, False
        self._on_cancel, self._over = on_cancel, False
        self._loop, self._events = asyncio.get_running_loop(), asyncio.Queue[Preview | Done | Exception]()

    def post(self, event: Preview | Done | Exception) -> None:
        """Hand an event, or the error that ends the task, to the reader."""
        with suppress(RuntimeError):  # the loop is closed: nobody reads any more
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    def cancel(self) -> None:
        """Stop the task as soon as its engine can; the iteration then raises `Cancelled`. Nothing happens when it is over."""
        if not self.cancelled and not self._over:
            self.cancelled = True
            self._on_cancel(self)

    async def result(self) -> ImageResult | VideoResult:
        """Read to the end, previews unseen.

        Raises:
            Cancelled: the ticket was cancelled.
        """
        async for event in self:
            if isinstance(event, Done):
                return event.result
        raise Cancelled("The ticket has been read to its end before.")

    def __aiter__(self) -> AsyncIterator[Preview | Done]:
        return self

    async def __anext__(self) -> Preview | Done:
        if self._over:
            raise StopAsyncIteration
        event = await self._events.get()
        self._over = not isinstance(event, Preview)
        if isinstance(event, Exception):
            raise event
        return event

    async def __aenter__(self) -> Ticket:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()


@runtime_checkable
class Engine(Protocol):
    """A model that is ready to work."""

    @property
    def info(self) -> ModelInfo:
        """What it is and can do."""

    async def submit(self, task: Task, permit: Permit | None, owner: str = "") -> Ticket:
        """Accept a task. Waiting tasks of different owners take turns.

        Raises:
            PermissionError: no permit. A permit that does not hold for this task raises by itself.
            UnsupportedTask: the model cannot do it.
            EngineFull: too many tasks wait; the permit is not spent.
            EngineClosed: `close` was called.
        """

    async def close(self) -> None:
        """Take no more tasks and return when the accepted ones are done."""


@dataclass
class Engines:
    """Engines by name, in the order they were added; the first of a modality is its default."""

    _engines: dict[str, Engine] = field(default_factory=dict)
    _aliases: dict[str, str] = field(default_factory=dict)

    def add(self, engine: Engine, *aliases: str) -> None:
        """Register an engine under its own name and others.

        Raises:
            UserError: a name is taken.
        """
        for name in (engine.info.name, *aliases):
            if name in self._engines or name in self._aliases:
                raise UserError(f"There are two models named {name!r}.", fix="Give one of them another name.")
        self._engines[engine.info.name] = engine
        self._aliases |= dict.fromkeys(aliases, engine.info.name)

    def get(self, name: str) -> Engine:
        """The engine of a name or an alias.

        Raises:
            UserError: there is none; the sentence lists those there are.
        """
        engine = self._engines.get(self._aliases.get(name, name))
        if engine is None:
            raise UserError(f"There is no model {name!r}.", fix=f"Choose one of {', '.join(self.names())}.")
        return engine

    def default(self, modality: str) -> Engine:
        """The first engine of a modality, "image" or "video".

        Raises:
            UserError: there is none.
        """
        for engine in self:
            if engine.info.modality == modality:
                return engine
        raise UserError(f"No model here makes {modality}s.", fix="Start the server with one.")

    def names(self) -> list[str]:
        """All names, aliases last."""
        return [*self._engines, *self._aliases]

    def aliases(self, name: str) -> list[str]:
        """The other names of an engine."""
        return [alias for alias, own in self._aliases.items() if own == name]

    def __iter__(self) -> Iterator[Engine]:
        return iter(self._engines.values())

    async def close(self) -> None:
        """Close every engine."""
        await asyncio.gather(*(engine.close() for engine in self))


def open_engine(spec: str) -> Engine:
    """The engine that a spec names.

    "polarlight" or "polarlight:FOLDER": the shipped model, or one of the same kind. "diffusers:PATH_OR_ID": a pipeline in a folder
    or on a hub. "remote:[DIALECT:]URL[,URL...][#MODEL]": a service and its replicas (see `remote`).

    Raises:
        UserError: an unknown kind, or what the engine says of its files, packages or addresses.
    """
    kind, _, rest = spec.partition(":")
    if kind == "polarlight":
        from .shipped import ShippedEngine

        return ShippedEngine.load(Path(rest) if rest else None)
    if kind == "diffusers" and rest:
        from .pipelines import open_pipeline

        return open_pipeline(rest)
    if kind == "remote" and rest:
        from .remote import open_remote

        return open_remote(rest)
    raise UserError(
        f"Cannot open a model by {spec!r}.",
        fix="Write polarlight, polarlight:FOLDER, diffusers:PATH_OR_ID or remote:URL#MODEL.",
    )
