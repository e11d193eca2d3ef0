"""The rows of jobs: what one is, how it is found, held and changed, and how its end settles its price."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import Connection, bindparam, select

from polarlight.base.errors import UserError

from . import tables
from .database import Clock, Row
from .ledger import Ledger
from .settings import Limits

FINAL = ("done", "failed", "cancelled", "expired")
ONE = select(tables.jobs).where(tables.jobs.c.id == bindparam("wanted"))  # statements are built once, see `ledger`
ONE_LOCKED = ONE.with_for_update()
NEW = tables.jobs.insert().returning(tables.jobs)


class NoSuchJob(UserError):
    """The job is unknown, forgotten, or somebody else's: 404."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id}.", fix="List the jobs to see their ids.")


class LeaseLost(Exception):
    """The worker no longer holds this job (it was silent too long, or the job was cancelled): drop the work."""

    def __init__(self, job_id: str, state: str) -> None:
        super().__init__(f"job {job_id} is no longer held by this worker; its state is {state}")
        self.state = state


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job. Times are seconds since 1970, amounts are ticks, progress is 0 to 100.

    `expires_at` is when a job that has not ended expires, and when one that has ended is forgotten.
    """

    number: int
    id: str
    key_id: str
    kind: str
    model: str
    body: dict[str, Any]
    idempotency_key: str | None
    batch_id: str | None
    batch_request_id: str | None
    state: str
    progress: int
    attempts: int
    worker: str | None
    lease_until: float | None
    result: dict[str, Any] | None
    error_code: str | None
    error_message: str | None
    reserved_ticks: int
    cost_ticks: int | None
    created_at: float
    started_at: float | None
    finished_at: float | None
    expires_at: float

    @property
    def ended(self) -> bool:
        return self.state in FINAL


class JobRows:
    """Changes of single jobs within a transaction that the caller has begun."""

    def __init__(self, ledger: Ledger, limits: Limits, clock: Clock = time.time) -> None:
        self.ledger = ledger
        self.limits = limits
        self.clock = clock

    def requeue(self, connection: Connection, job: Job, **values: Any) -> Job:
        """Put a job back into the queue."""
        return self.change(connection, job.number, state="queued", worker=None, lease_until=None, progress=0, **values)

    def end(self, connection: Connection, job: Job, state: str, cost: int | None, **values: Any) -> Job:
        """Settle with the ledger and set a final state; `cost` in ticks, None for what a done job has reserved."""
        if state == "done" or cost:
            cost = self.ledger.charge(job.id, cost, within=connection).cost_ticks
        else:
            self.ledger.release(job.id, within=connection)
        now = self.clock()
        values |= {"state": state, "cost_ticks": cost, "worker": None, "lease_until": None}
        return self.change(connection, job.number, finished_at=now, expires_at=now + self.limits.keep_s, **values)

    def hold(self, connection: Connection, held: Job) -> Job:
        """The job, its row locked, if the worker still holds it: the number of attempts tells one lease from the next.

        Raises:
            LeaseLost: it does not.
        """
        try:
            job = self.one(connection, held.id, None, lock=True)
        except NoSuchJob:
            raise LeaseLost(held.id, "deleted") from None
        if job.state != "running" or (job.worker, job.attempts) != (held.worker, held.attempts):
            raise LeaseLost(held.id, job.state)
        return job

    def one(self, connection: Connection, job_id: str, key_id: str | None, lock: bool = False) -> Job:
        """A job (of this API key); `lock` holds its row until the transaction ends.

        Raises:
            NoSuchJob: it is unknown or another key's.
        """
        found = connection.execute(ONE_LOCKED if lock else ONE, {"wanted": job_id}).first()
        if found is None or key_id not in (None, found.key_id):
            raise NoSuchJob(job_id)
        return job_of(found)

    def change(self, connection: Connection, number: int, **values: Any) -> Job:
        """Set columns of a job."""
        new = {f"new_{name}": value for name, value in values.items()}
        return job_of(connection.execute(changed(tuple(values)), new | {"wanted": number}).one())


@cache
def changed(names: tuple[str, ...]) -> Any:
    """The statement that sets these columns of a job."""
    chosen = tables.jobs.update().where(tables.jobs.c.number == bindparam("wanted"))
    return chosen.values({name: bindparam(f"new_{name}") for name in names}).returning(tables.jobs)


def job_of(row: Row) -> Job:
    """The job in a row."""
    return Job(**{name: value for name, value in row._mapping.items() if name != "body_hash"})
