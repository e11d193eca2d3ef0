"""A durable queue of pictures and videos to make.

    queued → running → done | failed | cancelled          queued → expired | cancelled

A worker holds a job by a lease that it renews; a lease that runs out puts the job back, and after some attempts the job
has failed. Whatever ends a job (its files' rows, its charge, its state) is one transaction, and a worker's every word
counts only while it still holds the lease: killing any process at any moment loses no accepted job and charges none twice.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, func, select

from . import tables
from .database import Clock, Database
from .idempotency import digest_of, made_before
from .job_rows import FINAL, NEW, Job, JobRows, job_of
from .ledger import Ledger
from .pages import newest_first as listed
from .settings import Limits
from .stored_files import NewFile, StoredFiles

SOME_WAIT = select(tables.jobs.c.number).where(tables.jobs.c.state == "queued").limit(1)  # built once, see `ledger`


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
        self.rows = JobRows(ledger, limits, clock)
        self._turn = database.upsert(tables.turns, "key_id")

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
        job_id: str | None = None,
        worker: str | None = None,
        within: Connection | None = None,
    ) -> Job:
        """Accept a job and reserve its price. With an idempotency key, the same request again returns the same job.

        Args:
            kind: what to do, in the caller's words (`image`, `video`, `video.extend`, ...).
            body: everything the worker needs, as JSON values.
            ticks: the most it can cost.
            job_id: what it is to be called (default: a new id).
            worker: who takes it at once, as `claim` would, where no other job waits; None leaves it in the queue.

        Raises:
            CreditsUsedUp: the key cannot pay for it.
            IdempotencyConflict: the key used this idempotency key for another request.
        """
        digest = digest_of(kind, model, body)
        with self.database.write(within) as connection:
            self.database.lock_key(connection, key_id)
            before = made_before(connection, tables.jobs, key_id, idempotency_key, digest)
            if before is not None:
                return job_of(before)
            now, job_id = self.clock(), job_id or str(uuid.uuid4())
            self.ledger.reserve(key_id, ticks, request_id=job_id, model=model, within=connection)
            row = {
                "id": job_id, "key_id": key_id, "kind": kind, "model": model, "body": dict(body), "body_hash": digest,
                "idempotency_key": idempotency_key, "batch_id": batch_id, "batch_request_id": batch_request_id,
                "state": "queued", "progress": 0, "attempts": 0, "reserved_ticks": ticks,
                "created_at": now, "expires_at": now + self.limits.wait_s,
            }  # fmt: skip
            if worker is not None and connection.execute(SOME_WAIT).first() is None:
                self._note_turn(connection, key_id, now)
                row |= {"state": "running", "worker": worker, "attempts": 1, "started_at": now}
                row |= {"lease_until": now + self.limits.lease_s}
            return job_of(connection.execute(NEW, row).one())

    def claim(
        self,
        worker: str,
        *,
        lease_s: float | None = None,
        kinds: Sequence[str] = (),
        models: Sequence[str] | None = None,
    ) -> Job | None:
        """Take the next job: the oldest of the key that has waited longest since it last got one; None if none waits.

        Args:
            lease_s: how long the worker may stay silent (default: the limits').
            kinds: what the worker can do; nothing for every kind.
            models: the names of the models that it has; None for every model.
        """
        self.recover()
        row, turn, now = tables.jobs.c, tables.turns, self.clock()
        waiting = select(row.number, row.key_id, row.attempts).outerjoin_from(
            tables.jobs, turn, turn.c.key_id == row.key_id
        )
        waiting = waiting.where(row.state == "queued", row.expires_at > now)
        if kinds:
            waiting = waiting.where(row.kind.in_(kinds))
        if models is not None:
            waiting = waiting.where(row.model.in_(models))
        next_one = waiting.order_by(func.coalesce(turn.c.started_at, 0.0), row.number).limit(1)
        with self.database.read() as connection:  # an idle worker that asks must not hold up those who write
            if connection.execute(waiting.limit(1)).first() is None:
                return None
        with self.database.write() as connection:
            found = connection.execute(next_one.with_for_update(skip_locked=True, of=tables.jobs)).first()
            if found is None:
                return None
            self._note_turn(connection, found.key_id, now)
            until = now + (self.limits.lease_s if lease_s is None else lease_s)
            values = {"state": "running", "worker": worker, "attempts": found.attempts + 1, "progress": 0}
            return self.rows.change(connection, found.number, **values, started_at=now, lease_until=until)

    def beat(self, held: Job, *, progress: int | None = None, lease_s: float | None = None) -> Job:
        """Renew the lease, and say how far the work is (0 to 99).

        Raises:
            LeaseLost: the job is no longer this worker's; stop working on it.
        """
        assert progress is None or 0 <= progress < 100, "progress is a percentage, and 100 belongs to finished jobs"
        until = self.clock() + (self.limits.lease_s if lease_s is None else lease_s)
        with self.database.write() as connection:
            job = self.rows.hold(connection, held)
            shown = job.progress if progress is None else progress
            return self.rows.change(connection, job.number, lease_until=until, progress=shown)

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
            StoreUnavailable: the files cannot be stored now; nothing was charged, and the job is still the worker's.
        """
        uploads = [self.files.upload(file) for file in files]
        with self.files.entering(uploads) as connection:
            job = self.rows.hold(connection, held)
            stored = self.files.insert(connection, job.key_id, uploads, job.id)
            answer = {**(result or {}), "files": [file.id for file in stored]}
            return self.rows.end(connection, job, "done", cost_ticks, result=answer, progress=100)

    def fail(self, held: Job, code: str, message: str, *, cost_ticks: int = 0) -> Job:
        """End a job badly; it costs nothing unless the operator bills such cases.

        Raises:
            LeaseLost: the job is no longer this worker's.
        """
        with self.database.write() as connection:
            job = self.rows.hold(connection, held)
            said = message.encode("utf-8", "replace").decode().replace("\0", "")  # what no database stores as text
            return self.rows.end(connection, job, "failed", cost_ticks, error_code=code, error_message=said)

    def give_back(self, held: Job) -> Job:
        """Return a job unharmed to the queue, as a worker does that is told to stop.

        Raises:
            LeaseLost: the job is no longer this worker's.
        """
        with self.database.write() as connection:
            job = self.rows.hold(connection, held)
            return self.rows.requeue(connection, job, attempts=job.attempts - 1)

    def cancel(self, job_id: str, key_id: str | None = None) -> Job:
        """Stop a job and give its reservation back; a job that has ended stays as it is.

        Raises:
            NoSuchJob: it is unknown or another key's.
        """
        with self.database.write() as connection:
            job = self.rows.one(connection, job_id, key_id, lock=True)
            return job if job.ended else self.rows.end(connection, job, "cancelled", 0)

    def get(self, job_id: str, key_id: str | None = None) -> Job:
        """One job; with `key_id`, only if it is that key's.

        Raises:
            NoSuchJob: it is unknown or another key's.
        """
        with self.database.read() as connection:
            return self.rows.one(connection, job_id, key_id)

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
            last = None if after is None else self.rows.one(connection, after, key_id).number
            page = listed(chosen, row.number, before=last, limit=limit, reverse=not newest_first)
            return [job_of(found) for found in connection.execute(page)]

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
            self.rows.one(connection, job_id, key_id, lock=True)  # the job before its files, as everywhere
            self.files.remove(connection, made)
            connection.execute(tables.jobs.delete().where(tables.jobs.c.id == job_id))
        self.files.contents.drop_unnamed(file.object_key for file in made)

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

    def _note_turn(self, connection: Connection, key_id: str, now: float) -> None:
        """Write down when a key last got a job; keys that waited longer go first."""
        connection.execute(self._turn, {"key_id": key_id, "started_at": now})

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
                end(connection, job_of(found))
            return found is not None

    def _lost(self, connection: Connection, job: Job) -> None:
        if job.attempts < self.limits.attempts:
            self.rows.requeue(connection, job)
            return
        message = f"The worker was lost {job.attempts} times."
        self.rows.end(connection, job, "failed", 0, error_code="internal_error", error_message=message)

    def _expired(self, connection: Connection, job: Job) -> None:
        self.rows.end(connection, job, "expired", 0)
