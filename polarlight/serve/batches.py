"""Batches: a name over many jobs, with counters that are counted and not kept."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from polarlight.base.errors import UserError

from . import tables
from .accounts import random_text
from .database import Clock, Database, Row
from .idempotency import digest_of, made_before
from .job_rows import FINAL, Job, NoSuchJob
from .jobs import Jobs
from .pages import newest_first

ERRORS = ("failed", "expired")
UNSHOWN = ("number", "idempotency_key", "body_hash")  # columns that are no part of a `Batch`


class NoSuchBatch(UserError):
    """The batch is unknown, forgotten, or somebody else's: 404."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(f"There is no batch {batch_id}.", fix="List the batches to see their ids.")


@dataclass(frozen=True, kw_only=True)
class BatchRequest:
    """One request of a batch: `request_id` is the client's own name for it, once in a batch."""

    request_id: str
    kind: str
    model: str
    body: Mapping[str, Any]
    ticks: int


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch and where its jobs stand; `cost_ticks` is what the ended ones cost."""

    id: str
    key_id: str
    name: str
    input_file_id: str | None
    created_at: float
    expires_at: float
    cancelled_at: float | None
    requests: int
    pending: int
    successes: int
    errors: int
    cancelled: int
    cost_ticks: int


class Batches:
    """Batches of all keys."""

    def __init__(self, database: Database, jobs: Jobs, clock: Clock = time.time) -> None:
        self.database = database
        self.jobs = jobs
        self.clock = clock

    def create(
        self,
        key_id: str,
        name: str,
        *,
        input_file_id: str | None = None,
        requests: Sequence[BatchRequest] = (),
        idempotency_key: str | None = None,
    ) -> Batch:
        """Open a batch with its first requests, or none at all. With an idempotency key, the same again returns the same batch.

        It takes requests until it expires, and is forgotten when its last job is.

        Args:
            input_file_id: where the requests came from; with the name it tells one batch from another.

        Raises:
            CreditsUsedUp: the key cannot pay for all of them.
            IdempotencyConflict: the key used this idempotency key for another batch.
        """
        now, digest = self.clock(), digest_of(name, input_file_id)
        with self.database.write() as connection:
            self.database.lock_key(connection, key_id)
            before = made_before(connection, tables.batches, key_id, idempotency_key, digest)
            if before is not None:
                return self._batch(connection, before)
            row = {
                "id": f"batch_{random_text(24)}", "key_id": key_id, "name": name, "input_file_id": input_file_id,
                "idempotency_key": idempotency_key, "body_hash": digest,
                "created_at": now, "expires_at": now + self.jobs.limits.keep_s,
            }  # fmt: skip
            stored = connection.execute(tables.batches.insert().returning(tables.batches), row).one()
            self._submit(connection, stored, requests)
            return self._batch(connection, stored)

    def opened_before(
        self, key_id: str, name: str, input_file_id: str | None, idempotency_key: str | None
    ) -> Batch | None:
        """The batch that `create` made of the same with this idempotency key; None where there is none.

        Raises:
            IdempotencyConflict: the key used this idempotency key for another batch.
        """
        digest = digest_of(name, input_file_id)
        with self.database.read() as connection:
            before = made_before(connection, tables.batches, key_id, idempotency_key, digest)
            return None if before is None else self._batch(connection, before)

    def add(self, batch_id: str, requests: Sequence[BatchRequest], key_id: str | None = None) -> list[Job]:
        """Submit requests as jobs, all or none; a request id that came before returns its job.

        Raises:
            NoSuchBatch: it is unknown or another key's.
            UserError: the batch is cancelled or expired.
            CreditsUsedUp: the key cannot pay for all of them.
            IdempotencyConflict: a request id came before with another request.
        """
        with self.database.write() as connection:
            batch = self._one(connection, batch_id, key_id, lock=True)
            if batch.cancelled_at is not None or batch.expires_at <= self.clock():
                ended = "expired" if batch.cancelled_at is None else "cancelled"
                raise UserError(f"The batch {batch_id} is {ended}.", fix="Create a new batch.")
            return self._submit(connection, batch, requests)

    def get(self, batch_id: str, key_id: str | None = None) -> Batch:
        """One batch with its counters.

        Raises:
            NoSuchBatch: it is unknown or another key's.
        """
        with self.database.read() as connection:
            return self._batch(connection, self._one(connection, batch_id, key_id))

    def page(self, key_id: str, *, after: str | None = None, limit: int = 20) -> list[Batch]:
        """A key's batches, newest first, from the one after the batch `after`.

        Raises:
            NoSuchBatch: `after` is not one of them.
        """
        row = tables.batches.c
        chosen = select(tables.batches).where(row.key_id == key_id)
        with self.database.read() as connection:
            before = None if after is None else self._one(connection, after, key_id).number
            found = connection.execute(newest_first(chosen, row.number, before=before, limit=limit)).all()
            return [self._batch(connection, each) for each in found]

    def requests(
        self, batch_id: str, key_id: str | None = None, *, after: str | None = None, limit: int = 100
    ) -> list[Job]:
        """A batch's jobs in the order they were added, from the one after the job `after`.

        Raises:
            NoSuchBatch: the batch is unknown or another key's.
            NoSuchJob: `after` is not a job of this key.
        """
        batch = self.get(batch_id, key_id)
        return self.jobs.page(batch.key_id, after=after, limit=limit, newest_first=False, batch_id=batch_id)

    def cancel(self, batch_id: str, key_id: str | None = None) -> Batch:
        """Take no more requests and cancel the jobs that have not ended.

        Raises:
            NoSuchBatch: it is unknown or another key's.
        """
        row = tables.batches
        with self.database.write() as connection:
            batch = self._one(connection, batch_id, key_id, lock=True)
            if batch.cancelled_at is None:
                connection.execute(row.update().where(row.c.id == batch_id).values(cancelled_at=self.clock()))
            job = tables.jobs.c
            open_jobs = select(job.id).where(job.batch_id == batch_id, job.state.not_in(FINAL))
            unfinished = connection.execute(open_jobs).scalars().all()
        for job_id in unfinished:
            with suppress(NoSuchJob):  # deleted since
                self.jobs.cancel(job_id)
        return self.get(batch_id)

    def purge(self) -> int:
        """Forget batches past their time that have no jobs left; returns how many."""
        row, job = tables.batches, tables.jobs.c
        empty = row.c.id.not_in(select(job.batch_id).where(job.batch_id.is_not(None)))
        with self.database.write() as connection:
            return connection.execute(row.delete().where(row.c.expires_at <= self.clock(), empty)).rowcount

    def _one(self, connection: Connection, batch_id: str, key_id: str | None, lock: bool = False) -> Row:
        chosen = select(tables.batches).where(tables.batches.c.id == batch_id)
        found = connection.execute(chosen.with_for_update(key_share=True) if lock else chosen).first()
        if found is None or key_id not in (None, found.key_id):
            raise NoSuchBatch(batch_id)
        return found

    def _submit(self, connection: Connection, batch: Row, requests: Sequence[BatchRequest]) -> list[Job]:
        return [
            self.jobs.submit(
                batch.key_id, request.kind, request.model, request.body, ticks=request.ticks,
                idempotency_key=f"{batch.id}/{request.request_id}",
                batch_id=batch.id, batch_request_id=request.request_id, within=connection,
            )
            for request in requests
        ]  # fmt: skip

    def _batch(self, connection: Connection, row: Row) -> Batch:
        job = tables.jobs.c
        counted = select(job.state, func.count(), func.coalesce(func.sum(job.cost_ticks), 0))
        lines = connection.execute(counted.where(job.batch_id == row.id).group_by(job.state)).all()
        counts = {state: count for state, count, _ in lines}
        values = {name: value for name, value in row._mapping.items() if name not in UNSHOWN}
        return Batch(
            **values,
            requests=sum(counts.values()),
            pending=sum(count for state, count in counts.items() if state not in FINAL),
            successes=counts.get("done", 0),
            errors=sum(counts.get(state, 0) for state in ERRORS),
            cancelled=counts.get("cancelled", 0),
            cost_ticks=int(sum(ticks for _, _, ticks in lines)),
        )
