"""Permits: the gate's word for one request, used once, bound to all that decides what the request makes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np

from .engine import Engine, Task, Ticket
from .policy_request import Contents, GateRequest, Refused

SPENT_SECONDS = 86_400.0  # how long outputs of a spent permit are taken


@runtime_checkable
class Issuer(Protocol):
    """Who gave a permit: the gate."""

    def spend(self, permit: Permit, contents: Contents) -> None:
        """Use the permit up for these contents, or raise `Refused`."""


@dataclass(frozen=True, kw_only=True)
class Permit:
    """The gate's word for one request: single use, for these very contents, until it expires.

    An engine is given a task and its permit by `submit`, which binds the whole task. `spend` alone would not open an engine.
    """

    id: str
    gate: Issuer = field(repr=False)

    async def submit(self, engine: Engine, task: Task, owner: str = "") -> Ticket:
        """Have an engine do the task that this permit was given for. A full engine raises, and the permit stays good.

        Raises:
            Refused: it was used before, has expired, was given for something else or by another gate, or the capability
                was switched off in the meantime.
            UnsupportedTask, EngineFull, EngineClosed: as `Engine.submit`.
        """
        return await engine.submit(task, TaskPermit(permit=self, task=task), owner)

    def spend(
        self,
        task: str,
        prompt: str,
        *,
        negative_prompt: str = "",
        pictures: Sequence[np.ndarray] = (),
        roles: Sequence[str] | None = None,
        mask: np.ndarray | None = None,
        source: bytes | None = None,
    ) -> None:
        """Use the permit up where no engine does. See `Contents` for the fields; without `roles` each picture has none.

        Raises:
            Refused: as `submit`.
        """
        contents = Contents(
            task=task, prompt=prompt, negative_prompt=negative_prompt, pictures=tuple(pictures), mask=mask, source=source,
            roles=("",) * len(pictures) if roles is None else tuple(roles),
        )  # fmt: skip
        self.gate.spend(self, contents)


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskPermit:
    """A permit together with the task it shall open: what an engine is given."""

    permit: Permit
    task: Task

    def spend(self, task: str, prompt: str, pictures: Sequence[np.ndarray] = ()) -> None:
        """Use the permit up. What the engine names must be the task's own, as must everything it does not name.

        Raises:
            Refused: as `Permit.submit`.
        """
        contents = replace(Contents.of(self.task), task=task, prompt=prompt, pictures=tuple(pictures))
        self.permit.gate.spend(self.permit, contents)


@dataclass(frozen=True, kw_only=True)
class Issued:
    """A request that was allowed, without its pictures; the digest of its contents; when its permit ends (seconds since 1970)."""

    request: GateRequest
    digest: str
    expires: float


class PermitBook:
    """The permits that stand and those that were spent. Safe to use from many threads."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._issued: dict[str, Issued] = {}
        self._spent: dict[str, Issued] = {}

    def issue(self, permit: Permit, request: GateRequest, seconds: float) -> None:
        """Enter a new permit, and strike out what has expired."""
        now = self._clock()
        light = replace(request, pictures=(), mask=None, source=None, frames=())  # no pictures are held for a day
        issued = Issued(request=light, digest=request.contents.digest(), expires=now + seconds)
        with self._lock:
            for old in (self._issued, self._spent):
                for name in [name for name, one in old.items() if one.expires < now]:
                    del old[name]
            self._issued[permit.id] = issued

    def spend(self, permit: Permit, contents: Contents) -> GateRequest:
        """Use a permit up, whatever comes of it; returns the request it was given for.

        Raises:
            Refused: it is unknown, was used before, has expired, or was given for other contents.
        """
        with self._lock:
            issued = self._issued.pop(permit.id, None)
        if issued is None:
            raise permit_error("The permit is unknown, was used before or has expired.", "unknown")
        if issued.expires < self._clock():
            raise permit_error("The permit has expired.", "expired")
        if issued.digest != contents.digest():
            raise permit_error("The permit was given for another request.", "other request")
        with self._lock:
            self._spent[permit.id] = replace(issued, expires=self._clock() + SPENT_SECONDS)
        return issued.request

    def spent(self, permit: Permit) -> GateRequest:
        """The request of a spent permit.

        Raises:
            Refused: the permit was never spent here.
        """
        issued = self._spent.get(permit.id)
        if issued is None:
            raise permit_error("No picture may be made without a spent permit.", "not spent")
        return issued.request


def permit_error(sentence: str, rule: str) -> Refused:
    """The refusal of a permit that does not hold."""
    return Refused(sentence, category="permit", rule=rule, code="permit", fix="Ask the gate for a new permit.")
