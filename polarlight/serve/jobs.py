"""A durable queue of pictures and videos to make.

    queued → running → done | failed | cancelled          queued → expired | cancelled

A worker holds a job by a lease that it renews; a lease that runs out puts the job back, and after some attempts the job
has failed. Whatever ends a job (its files' rows, its charge, its state) is one transaction, and a worker's every word
counts only while it still holds the lease: killing any process at any moment loses no accepted job and charges none twice.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from polarlight.base.errors import UserError

from . import tables
from .database import Clock, Database, Row
from .ledger import Ledger
from .settings import Limits
from .stored_files import NewFile, StoredFiles

FINAL = ("done", "failed", "cancelled", "expired")


class IdempotencyConflict(UserError):
    """The idempotency key came before with another request: 409."""

    def __init__(self, idempotency_key: str) -> None:
        sentence = f"The idempotency key {idempotency_key!r} was used before with another request."
        super().__init__(sentence, fix="Use a new idempotency key for a new request.")


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


class Jobs:
    """The queue. Times come from `clock`; `limits` says how long leases, waiting and results last."""

    def __init__(
        self, database: Database, ledger: Ledger, files: StoredFiles, limits: Limits, clock: Clock = time.time
    ) -> None:
        self.database = database
        self.ledger = ledger
        self.files = files
        self.limits = limits
        self.clock = clock

    def submit(
        self,
        key_id: str,
        kind: str,
        model: str,
        body: Mapping[str, Any],
        *,
        ticks: int,
        idempotency_key: str | None = None,
        batch_id: str | None = None,
        batch_request_id: str | None = None,
        within: Connection | None = None,
    ) -> Job:
        """Accept a job and reserve its price. With an idempotency key, the same request again returns the same job.

        Args:
            kind: what to do, in the caller's words (`image`, `video`, `video.extend`, ...).
            body: everything the worker needs, as JSON values.
            ticks: the most it can cost.

        Raises:
            CreditsUsedUp: the key cannot pay for it.
            IdempotencyConflict: the key used this idempotency key for another request.
        """
        digest = body_hash(kind, model, body)
        with self.database.write(within) as connection:
            self.database.lock_key(connection, key_id)
            if (before := self._repeated(connection, key_id, idempotency_key, digest)) is not None:
                return before
            now, job_id = self.clock(), str(uuid.uuid4())
            self.ledger.reserve(key_id, ticks, request_id=job_id, model=model, within=connection)
            row = {
                "id": job_id, "key_id": key_id, "kind": kind, "model": model, "body": dict(body), "body_hash": digest,
                "idempotency_key": idempotency_key, "batch_id": batch_id, "batch_request_id": batch_request_id,
                "state": "queued", "progress": 0, "attempts": 0, "reserved_ticks": ticks,
                "created_at": now, "expires_at": now + self.limits.wait_s,
            }  # fmt: skip
            return _job(connection.execute(tables.jobs.insert().returning(tables.jobs), row).one())

    def claim(self, worker: str, *, lease_s: float | None = None, kinds: Sequence[str] = ()) -> Job | None:
        """Take the next job: the oldest of the key that has waited longest since it last got one; None if none waits.

        Args:
            lease_s: how long the worker may stay silent (default: the limits').
            kinds: what the worker can do; nothing for every kind.
        """
        self.recover()
        row, turn, now = tables.jobs.c, tables.turns, self.clock()
        waiting = select(row.number, row.key_id).outerjoin_from(tables.jobs, turn, turn.c.key_id == row.key_id)
        waiting = waiting.where(row.state == "queued", row.expires_at > now)
        if kinds:
            waiting = waiting.where(row.kind.in_(kinds))
        next_one = waiting.order_by(func.coalesce(turn.c.started_at, 0.0), row.number).limit(1)
        with self.database.read() as connection:  # an idle worker that asks must not hold up those who write
            if connection.execute(waiting.limit(1)).first() is None:
                return None
        with self.database.write() as connection:
            found = connection.execute(next_one.with_for_update(skip_locked=True, of=tables.jobs)).first()
            if found is None:
                return None
            taken = self.database.insert(turn).values(key_id=found.key_id, started_at=now)
            connection.execute(taken.on_conflict_do_update(index_elements=["key_id"], set_={"started_at": now}))
            until = now + (self.limits.lease_s if lease_s is None else lease_s)
            values = {"state": "running", "worker": worker, "attempts": row.attempts + 1, "progress": 0}
            return self._change(connection, found.number, **values, started_at=now, lease_until=until)

    def beat(self, held: Job, *, progress: int | None = None, lease_s: float | None = None) -> Job:
        """Renew the lease, and say how far the work is (0 to 99).

        Raises:
            LeaseLost: the job is no longer this worker's; stop working on it.
        """
        assert progress is None or 0 <= progress < 100, "progress is a percentage, and 100 belongs to finished jobs"
        until = self.clock() + (self.limits.lease_s if lease_s is None else lease_s)
        with self.database.write() as connection:
            job = self._hold(connection, held)
            shown = job.progress if progress is None else progress
            return self._change(connection, job.number, lease_until=until, progress=shown)

    def finish(
        self,
        held: Job,
        *,
        files: Sequence[NewFile] = (),
        result: Mapping[str, Any] | None = None,
        cost_ticks: int | None = None,
    ) -> Job:
        """End a job well: its files, its charge and its state in one transaction.

        Args:
            files: what it made; their ids come to stand in the result under `files`.
            cost_ticks: what it costs in the end, at most what was reserved (default: all of it).

        Raises:
            LeaseLost: the job is no longer this worker's; nothing was charged or stored.
        """
        uploads = [self.files.upload(file) for file in files]
        with self.database.write() as connection:
            job = self._hold(connection, held)
            stored = self.files.insert(connection, job.key_id, uploads, job.id)
            answer = {**(result or {}), "files": [file.id for file in stored]}
            return self._end(connection, job, "done", cost_ticks, result=answer, progress=100)

    def fail(self, held: Job, code: str, message: str, *, cost_ticks: int = 0) -> Job:
        """End a job badly; it costs nothing unless the operator bills such cases.

        Raises:
            LeaseLost: the job is no longer this worker's.
        """
        with self.database.write() as connection:
            job = self._hold(connection, held)
            said = message.encode("utf-8", "replace").decode().replace("\0", "")  # what no database stores as text
            return self._end(connection, job, "failed", cost_ticks, error_code=code, error_message=said)

    def give_back(self, held: Job) -> Job:
        """Return a job unharmed to the queue, as a worker does that is told to stop.

        Raises:
            LeaseLost: the job is no longer this worker's.
        """
        with self.database.write() as connection:
            job = self._hold(connection, held)
            return self._requeue(connection, job, attempts=job.attempts - 1)

    def cancel(self, job_id: str, key_id: str | None = None) -> Job:
        """Stop a job and give its reservation back; a job that has ended stays as it is.

        Raises:
            NoSuchJob: it is unknown or another key's.
        """
        with self.database.write() as connection:
            job = self._one(connection, job_id, key_id, lock=True)
            return job if job.ended else self._end(connection, job, "cancelled", 0)

    def get(self, job_id: str, key_id: str | None = None) -> Job:
        """One job; with `key_id`, only if it is that key's.

        Raises:
            NoSuchJob: it is unknown or another key's.
        """
        with self.database.read() as connection:
            return self._one(connection, job_id, key_id)

    def page(
        self,
        key_id: str,
        *,
        after: str | None = None,
        limit: int = 20,
        newest_first: bool = True,
        kinds: Sequence[str] = (),
        batch_id: str | None = None,
    ) -> list[Job]:
        """A key's jobs in the order they came, from the one after the job `after`.

        Raises:
            NoSuchJob: `after` is not one of them.
        """
        row = tables.jobs.c
        chosen = select(tables.jobs).where(row.key_id == key_id)
        if kinds:
            chosen = chosen.where(row.kind.in_(kinds))
        if batch_id is not None:
            chosen = chosen.where(row.batch_id == batch_id)
        with self.database.read() as connection:
            if after is not None:
                last = self._one(connection, after, key_id).number
                chosen = chosen.where(row.number < last if newest_first else row.number > last)
            ordered = chosen.order_by(row.number.desc() if newest_first else row.number).limit(limit)
            return [_job(found) for found in connection.execute(ordered)]

    def waiting(self) -> int:
        """How many jobs are queued."""
        return self._count(["queued"])

    def unfinished(self) -> int:
        """How many jobs are queued or running."""
        return self._count(["queued", "running"])

    def delete(self, job_id: str, key_id: str | None = None) -> None:
        """Forget a job and its files; one that has not ended is cancelled first.

        Raises:
            NoSuchJob: it is unknown or another key's.
        """
        made = self.files.of_job(self.cancel(job_id, key_id).id)
        with self.database.write() as connection:
            self.files.remove(connection, made)
            connection.execute(tables.jobs.delete().where(tables.jobs.c.id == job_id))
        self.files.drop_unnamed(file.object_key for file in made)

    def recover(self) -> int:
        """Put jobs whose lease ran out back into the queue, or fail them after too many attempts; returns how many."""
        recovered = 0
        while self._next_ended("running", tables.jobs.c.lease_until, self._lost):
            recovered += 1
        return recovered

    def purge(self) -> int:
        """Expire jobs that waited too long, and forget jobs that ended long ago; returns how many of both."""
        purged = 0
        while self._next_ended("queued", tables.jobs.c.expires_at, self._expired):
            purged += 1
        row = tables.jobs
        with self.database.write() as connection:
            old = row.delete().where(row.c.state.in_(FINAL), row.c.expires_at <= self.clock())
            return purged + connection.execute(old).rowcount

    def _count(self, states: Sequence[str]) -> int:
        chosen = select(func.count()).select_from(tables.jobs).where(tables.jobs.c.state.in_(states))
        with self.database.read() as connection:
            return connection.execute(chosen).scalar_one()

    def _next_ended(self, state: str, time_column: Any, end: Any) -> bool:
        """Apply `end` to one job in this state whose time is over; False where there is none.

        One transaction each, so that two processes doing this never wait for each other's keys in a circle.
        """
        row = tables.jobs.c
        over = select(tables.jobs).where(row.state == state, time_column <= self.clock()).limit(1)
        with self.database.read() as connection:
            if connection.execute(over).first() is None:
                return False
        with self.database.write() as connection:
            found = connection.execute(over.with_for_update(skip_locked=True)).first()
            if found is not None:
                end(connection, _job(found))
            return found is not None

    def _lost(self, connection: Connection, job: Job) -> None:
        if job.attempts < self.limits.attempts:
            self._requeue(connection, job)
            return
        message = f"The worker was lost {job.attempts} times."
        self._end(connection, job, "failed", 0, error_code="internal_error", error_message=message)

    def _expired(self, connection: Connection, job: Job) -> None:
        self._end(connection, job, "expired", 0)

    def _requeue(self, connection: Connection, job: Job, **values: Any) -> Job:
        return self._change(connection, job.number, state="queued", worker=None, lease_until=None, progress=0, **values)

    def _end(self, connection: Connection, job: Job, state: str, cost: int | None, **values: Any) -> Job:
        """Settle with the ledger and set a final state."""
        if state == "done" or cost:
            cost = self.ledger.charge(job.id, cost, within=connection).cost_ticks
        else:
            self.ledger.release(job.id, within=connection)
        now = self.clock()
        values |= {"state": state, "cost_ticks": cost, "worker": None, "lease_until": None}
        return self._change(connection, job.number, finished_at=now, expires_at=now + self.limits.keep_s, **values)

    def _hold(self, connection: Connection, held: Job) -> Job:
        """The job's row, locked, if the worker still holds it: the number of attempts tells one lease from the next."""
        try:
            job = self._one(connection, held.id, None, lock=True)
        except NoSuchJob:
            raise LeaseLost(held.id, "deleted") from None
        if job.state != "running" or (job.worker, job.attempts) != (held.worker, held.attempts):
            raise LeaseLost(held.id, job.state)
        return job

    def _one(self, connection: Connection, job_id: str, key_id: str | None, lock: bool = False) -> Job:
        chosen = select(tables.jobs).where(tables.jobs.c.id == job_id)
        found = connection.execute(chosen.with_for_update() if lock else chosen).first()
        if found is None or key_id not in (None, found.key_id):
            raise NoSuchJob(job_id)
        return _job(found)

    def _change(self, connection: Connection, number: int, **values: Any) -> Job:
        changed = tables.jobs.update().where(tables.jobs.c.number == number).values(values)
        return _job(connection.execute(changed.returning(tables.jobs)).one())

    def _repeated(self, connection: Connection, key_id: str, idempotency_key: str | None, digest: str) -> Job | None:
        if idempotency_key is None:
            return None
        row = tables.jobs.c
        chosen = select(tables.jobs).where(row.key_id == key_id, row.idempotency_key == idempotency_key)
        found = connection.execute(chosen).first()
        if found is not None and found.body_hash != digest:
            raise IdempotencyConflict(idempotency_key)
        return None if found is None else _job(found)


def body_hash(kind: str, model: str, body: Mapping[str, Any]) -> str:
    """What makes two requests the same: SHA-256 over their JSON with sorted names."""
    text = json.dumps([kind, model, body], sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _job(row: Row) -> Job:
    return Job(**{name: value for name, value in row._mapping.items() if name != "body_hash"})
